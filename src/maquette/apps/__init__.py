"""Front ends: each a reader of the same stream of events."""
