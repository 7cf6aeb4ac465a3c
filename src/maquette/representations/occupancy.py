"""Where a field has any matter at all: a coarse grid that lets a renderer skip the rest. Knows only densities.

State in the open: `grid = update(grid, density, step=..., generator=...)`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from maquette.core.errors import BadInput

DECAY = 0.95
"""Factor on what a cell remembers at every update, so that cells that have become empty are left in the end."""
THRESHOLD = 0.01
"""A cell counts as occupied above this optical thickness of one step, or above the mean if that is lower."""


@dataclass(frozen=True)
class OccupancyGrid:
    """Cells of the cube [-half_size, half_size]^3; outside of it a field has no density."""

    thickness: Float[Tensor, "x y z"]
    """The largest recent density times the length of a step: how opaque one step through the cell was."""
    half_size: float
    """World units."""
    mask: Bool[Tensor, "x y z"]
    """The cells that a renderer looks into."""

    @staticmethod
    def full(resolution: int, half_size: float) -> "OccupancyGrid":
        """Every cell counts as occupied until the first update."""
        if resolution < 1 or not half_size > 0:
            raise BadInput(f"occupancy of {resolution} cells a side over {half_size}", "give 1 or more, and a size > 0")
        sides = (resolution,) * 3
        return OccupancyGrid(torch.zeros(sides), half_size, torch.ones(sides, dtype=torch.bool))

    @property
    def resolution(self) -> int:
        """Cells along a side."""
        return len(self.mask)

    def index(self, points: Float[Tensor, "*points 3"]) -> Int[Tensor, "*points"]:
        """The flat index of the cell of each point; of the nearest cell for points outside."""
        cell = (points + self.half_size) * (self.resolution / (2 * self.half_size))
        x, y, z = cell.to(torch.int32).clamp(0, self.resolution - 1).unbind(-1)
        return (x * self.resolution + y) * self.resolution + z

    def is_occupied(self, points: Float[Tensor, "*points 3"]) -> Bool[Tensor, "*points"]:
        """Whether the cell of each point is in the mask."""
        return self.mask.flatten()[self.index(points)]


def update(
    grid: OccupancyGrid,
    density: Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]],
    *,
    step: float,
    generator: torch.Generator,
    every_cell: bool = False,
) -> OccupancyGrid:
    """Ask `density` (per world unit) at a random point of some cells, and draw the mask anew (as instant-ngp).

    thickness <- max(0.95 thickness, density * step), with `step` the length of the renderer's steps in world units;
    occupied is what exceeds min(mean, 0.01). Asked are as many random cells as a quarter of the grid holds, and as many
    of the occupied ones; or every cell, which is for the first steps of a fit.
    """
    total = grid.resolution**3
    if every_cell:
        cells = torch.arange(total)
    else:
        occupied = grid.mask.flatten().nonzero()[:, 0]
        if len(occupied) > total // 4:
            occupied = occupied[torch.randint(len(occupied), (total // 4,), generator=generator)]
        cells = torch.cat([torch.randint(total, (total // 4,), generator=generator), occupied]).unique()
    corner = torch.stack(torch.unravel_index(cells, grid.mask.shape), dim=-1)
    inside = corner + torch.rand(len(cells), 3, generator=generator)
    with torch.no_grad():
        found = density(inside * (2 * grid.half_size / grid.resolution) - grid.half_size)
    thickness = (DECAY * grid.thickness).flatten()
    thickness[cells] = torch.maximum(thickness[cells], found.float() * step)
    thickness = thickness.view(grid.mask.shape)
    return replace(grid, thickness=thickness, mask=thickness > thickness.mean().clamp(max=THRESHOLD))


def grown(mask: Bool[Tensor, "x y z"], cells: int = 1) -> Bool[Tensor, "x y z"]:
    """The mask and everything within so many cells of it (also across corners)."""
    wide = torch.nn.functional.max_pool3d(mask[None, None].float(), 2 * cells + 1, stride=1, padding=cells)
    return wide[0, 0] > 0
