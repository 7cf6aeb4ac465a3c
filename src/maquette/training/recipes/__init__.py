"""One file per pocket model."""
