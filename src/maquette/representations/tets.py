"""Surfaces that learn: marching tetrahedra on a Kuhn grid, and DMTet (Shen et al. 2021), distances and offsets.

Distances are negative inside, faces count counter-clockwise from outside. This module does not know pictures.
"""

from itertools import permutations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from maquette.core.errors import BadInput, NonFinite
from maquette.representations.mesh import Mesh
from maquette.representations.sdf_grid import SdfGrid
from maquette.representations.topology import weld

REACH = 0.5
"""Cells that an offset may move a grid point along each axis (nvdiffrec)."""
DEPTH = 1.75
"""Cells to which distances are cut when learning starts: a surface that moves must first climb what lies before it.
The longest edge of a tetrahedron has the square root of 3, so that cutting distances there moves no vertex."""
SHELL = 0.1
"""Cells that the border of the grid lies outside, at least, so that every surface is closed."""
ON_A_POINT = 1e-3
"""Share of an edge, or of a cell: a surface that comes nearer to a grid point goes through it."""
EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
TRIANGLES = {
    1: (0, 1, 2), 2: (0, 4, 3), 3: (1, 2, 4, 1, 4, 3), 4: (1, 3, 5), 5: (0, 5, 2, 0, 3, 5), 6: (0, 4, 5, 0, 5, 1),
    7: (2, 4, 5), 8: (2, 5, 4), 9: (0, 1, 5, 0, 5, 4), 10: (0, 5, 3, 0, 2, 5), 11: (1, 5, 3), 12: (1, 3, 4, 1, 4, 2),
    13: (0, 3, 4), 14: (0, 2, 1),
}  # fmt: skip
"""Edges of a positive tetrahedron that its triangles join, by which corners are inside: the sum of 2^corner."""
KUHN_EDGES = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))
"""All directions of the edges of a Kuhn grid."""


def kuhn_tets(shape: tuple[int, int, int]) -> Int[Tensor, "tets 4"]:
    """Tetrahedra over a grid of `shape` points, numbered in row-major order: six for each cell, all positive.

    Each goes from the cell's low corner to its high one along the axes in another order (Kuhn 1960), so that neighbours
    share whole faces and no table is downloaded. Positive: det[p1 - p0, p2 - p0, p3 - p0] > 0.
    """
    return _tets_of(torch.ones(tuple(side - 1 for side in shape), dtype=torch.bool))


def marching_tetrahedra(
    vertices: Float[Tensor, "vertices 3"], sdf: Float[Tensor, " vertices"], tets: Int[Tensor, "tets 4"]
) -> tuple[Float[Tensor, "points 3"], Int[Tensor, "faces 3"]]:
    """The surface where `sdf` changes sign, differentiable in both floats; points on an edge are one and the same.

    A vertex lies at (p_a s_b - p_b s_a) / (s_b - s_a), where the distance is 0 along the edge (a, b). `tets` are
    positive; the surface is closed unless it reaches the border of the tetrahedra. 0 counts as outside.
    """
    edges, faces = _topology(sdf.detach() < 0, tets)
    return _crossing(vertices[edges], sdf[edges]), faces


def grid_to_mesh(grid: SdfGrid) -> Mesh:
    """The surface of a grid; open where it reaches the border. Differentiable in `grid.values`.

    Where it goes through a grid point, all the edges that meet there cross it at that one place: those crossings are
    one vertex, their mean, and the faces between them, which have no area, are left out.
    """
    sdf = grid.values.reshape(-1)
    edges, faces = _topology(sdf.detach() < 0, _tets_of(_mixed(grid.values.detach() < 0)))
    points = _crossing(grid.points.reshape(-1, 3)[edges], sdf[edges])
    share = sdf.detach()[edges].abs() / sdf.detach()[edges].abs().sum(1, keepdim=True)  # of the edge, from each end
    place = torch.where(share < ON_A_POINT, edges, -1).amax(1)
    kept, stands_for = weld(faces.cpu().numpy(), place.cpu().numpy())
    used, kept = np.unique(kept, return_inverse=True)
    row = torch.from_numpy(np.searchsorted(used, stands_for)).to(faces.device)
    is_used = torch.from_numpy(np.isin(stands_for, used)).to(faces.device)
    row, points = row[is_used], points[is_used]
    mean = points.new_zeros(len(used), 3).index_add(0, row, points) / row.bincount(minlength=len(used))[:, None]
    return Mesh(mean, torch.from_numpy(kept.reshape(-1, 3)).to(faces.device))


class TetField(nn.Module):
    """DMTet: a learnable distance and a bounded offset at every point of a Kuhn grid; `mesh()` is its closed surface.

    `sdf` is in cells, so that one learning rate serves all resolutions, and starts within 1.75, but not within 0.001
    of 0, where faces without area would learn nothing. `offsets` are before the tanh that bounds them to half a cell
    (nvdiffrec). Past a sixth of a cell, tetrahedra may fold: the surface then still has no holes, but may cut itself.
    """

    def __init__(self, grid: SdfGrid):
        super().__init__()
        if not torch.isfinite(grid.values).all():
            raise NonFinite("the distances are NaN or infinite at some points", "check what made the grid")
        self.step = grid.step
        self.register_buffer("origin", grid.origin.clone())
        sdf = (grid.values.detach() / grid.step).clamp(-DEPTH, DEPTH)
        self.sdf = nn.Parameter(torch.where(sdf < 0, sdf.clamp(max=-ON_A_POINT), sdf.clamp(min=ON_A_POINT)))
        self.offsets = nn.Parameter(torch.zeros(*grid.values.shape, 3).to(grid.values))

    def closed(self) -> Float[Tensor, "x y z"]:
        """The distances in cells, the border of the grid outside."""
        inner = F.pad(torch.zeros_like(self.sdf.detach()[1:-1, 1:-1, 1:-1]), (1,) * 6, value=1.0)
        return torch.where(inner > 0, self.sdf.clamp(min=SHELL), self.sdf)

    def mesh(self) -> Mesh:
        """Its surface, differentiable in `sdf` and `offsets`.

        Raises BadInput if all distances have the same sign, as then there is no surface to learn from.
        """
        sdf = self.closed()
        inside = sdf.detach() < 0
        if not inside.any():
            raise BadInput(
                "no point of the tetrahedra is inside; expected both signs", "start anew from a larger shape"
            )
        edges, faces = _topology(inside.reshape(-1), _tets_of(_mixed(inside)))
        place = torch.stack(torch.unravel_index(edges, inside.shape), dim=-1)
        moved = place + REACH * self.offsets.reshape(-1, 3)[edges].tanh()
        return Mesh(self.origin + self.step * _crossing(moved, sdf.reshape(-1)[edges]), faces)

    def grid(self) -> SdfGrid:
        """The distances in world units, without the offsets."""
        return SdfGrid(self.closed().detach() * self.step, self.origin, self.step)


def sign_changes(sdf: Float[Tensor, "x y z"]) -> Float[Tensor, ""]:
    """How hard neighbours of different sign contradict each other: what removes inner walls (nvdiffrec).

    The mean of BCE(sigmoid(s_a), s_b > 0) + BCE(sigmoid(s_b), s_a > 0) over the edges of the tetrahedra on which the
    sign changes, with `sdf` in cells; 0 without any.
    """
    total, count = sdf.new_zeros(()), 0
    for direction in KUHN_EDGES:
        a = sdf[tuple(slice(0, side - move) for side, move in zip(sdf.shape, direction, strict=True))]
        b = sdf[tuple(slice(move, side) for side, move in zip(sdf.shape, direction, strict=True))]
        differs = (a.detach() < 0) != (b.detach() < 0)
        a, b = a[differs], b[differs]
        is_a_out, is_b_out = (a.detach() >= 0).to(a), (b.detach() >= 0).to(b)
        total = total + F.binary_cross_entropy_with_logits(a, is_b_out, reduction="sum")
        total = total + F.binary_cross_entropy_with_logits(b, is_a_out, reduction="sum")
        count += len(a)
    return total / max(count, 1)


def _mixed(inside: Bool[Tensor, "x y z"]) -> Bool[Tensor, "cells_x cells_y cells_z"]:
    """The cells with corners inside and outside: only they hold surface."""
    count = inside.to(torch.int8)
    for axis, side in enumerate(inside.shape):
        count = count.narrow(axis, 0, side - 1) + count.narrow(axis, 1, side - 1)
    return (count > 0) & (count < 8)


def _tets_of(cells: Bool[Tensor, "cells_x cells_y cells_z"]) -> Int[Tensor, "tets 4"]:
    """The Kuhn tetrahedra of the chosen cells, as row-major indices of grid points."""
    _, y, z = (side + 1 for side in cells.shape)
    stride = torch.tensor([y * z, z, 1])
    paths = []
    for order in permutations(range(3)):
        steps = torch.eye(3, dtype=torch.long)[list(order)]
        corners = torch.cat([torch.zeros(1, 3, dtype=torch.long), steps.cumsum(0)])
        if torch.linalg.det((corners[1:] - corners[0]).double()) < 0:
            corners = corners[[0, 1, 3, 2]]
        paths.append(corners @ stride)
    low = cells.nonzero() @ stride.to(cells.device)
    return (low[:, None, None] + torch.stack(paths).to(cells.device)).reshape(-1, 4)


def _topology(
    inside: Bool[Tensor, " vertices"], tets: Int[Tensor, "tets 4"]
) -> tuple[Int[Tensor, "points 2"], Int[Tensor, "faces 3"]]:
    """The edges that the surface crosses, each once, the lower vertex first; and the faces between them."""
    corner_inside = inside[tets]
    code = (corner_inside * torch.tensor([1, 2, 4, 8], device=tets.device)).sum(1)
    active = (code > 0) & (code < 15)
    tets, code = tets[active], code[active]
    table = torch.full((16, 6), -1)
    for which, row in TRIANGLES.items():
        table[which, : len(row)] = torch.tensor(row)
    slots = table.to(tets.device)[code].reshape(-1, 3)  # two triangles for each tetrahedron, the second maybe none
    owner = torch.arange(len(tets), device=tets.device).repeat_interleave(2)
    owner, slots = owner[slots[:, 0] >= 0], slots[slots[:, 0] >= 0]
    ends = tets[owner[:, None, None], torch.tensor(EDGES, device=tets.device)[slots]].sort(-1).values
    keys, faces = torch.unique(ends[..., 0] * len(inside) + ends[..., 1], return_inverse=True)
    return torch.stack([keys // len(inside), keys % len(inside)], dim=-1), faces


def _crossing(ends: Float[Tensor, "points 2 3"], sdf: Float[Tensor, "points 2"]) -> Float[Tensor, "points 3"]:
    """Where the distance is 0 between the two ends."""
    a, b = sdf.unbind(1)
    weights = torch.stack([b, -a], dim=1) / (b - a)[:, None]
    return (ends * weights[..., None]).sum(1)
