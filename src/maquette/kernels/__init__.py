"""Tensors in, tensors out: one folder per operation. Nothing here knows what a Gaussian cloud or a mesh is."""
