"""Losses on rendered images. Nothing here knows what made the image."""
