"""Scores of finished assets, by an encoder that never guided them."""
