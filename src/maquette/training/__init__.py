"""Loops, optimisers and density control: everything that learns."""
