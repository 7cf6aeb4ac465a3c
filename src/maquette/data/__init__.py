"""Where training objects, their captions and their views come from."""
