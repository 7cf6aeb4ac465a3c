"""Maquette: a sentence or a picture becomes a 3D asset, on whatever machine one has."""

__version__ = "0.1.0"
