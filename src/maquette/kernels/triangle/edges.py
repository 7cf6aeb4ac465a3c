"""The edges of a triangle mesh, each with the corners that face it: all that silhouettes need to know of topology."""

from typing import NamedTuple

import torch
from torch import Tensor


class Edges(NamedTuple):
    """Every edge once; edge `e` is faced by `opposite[first[e] : first[e + 1]]`, one corner for each of its faces."""

    ends: Tensor
    """(edges, 2) int64 vertices, the lower index first."""
    first: Tensor
    """(edges + 1,) int64."""
    opposite: Tensor
    """(3 faces,) int64 vertices."""
    face: Tensor
    """(3 faces,) int64: whose corner that is."""


def edges_of(faces: Tensor) -> Edges:
    """The edges of `faces` (faces, 3), sorted; an edge may have one face, two, or more."""
    faces = faces.detach().long()
    if faces.device.type != "cpu" or len(faces) == 0:
        return sorted_edges(faces)
    from maquette.kernels.triangle.cpu_edges import group

    return Edges(*(torch.from_numpy(part) for part in group(faces.contiguous().numpy(), int(faces.max()) + 1)))


def sorted_edges(faces: Tensor) -> Edges:
    """The same in plain torch: sort all pairs of vertices."""
    start, end = faces.reshape(-1), faces.roll(-1, dims=1).reshape(-1)
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    base = int(high.max()) + 1 if len(faces) else 1
    key, order = torch.sort(low * base + high, stable=True)
    unique, count = torch.unique_consecutive(key, return_counts=True)
    first = torch.cat([count.new_zeros(1), count.cumsum(0)])
    ends = torch.stack([unique // base, unique % base], dim=1)
    return Edges(ends, first, faces.roll(-2, dims=1).reshape(-1)[order], order // 3)
