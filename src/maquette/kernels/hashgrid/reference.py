"""The specification of the hash encoding in plain torch: eight look-ups a level. Any float type, any device."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core.errors import BadInput

FEATURES = 2
"""Numbers in an entry of the table, as in all experiments of the paper."""
PRIMES = (1, 2654435761, 805459861)
"""The first is 1 so that neighbours along x stay neighbours in the table."""


@dataclass(frozen=True)
class GridShape:
    """How many grids of which resolutions share a table (Müller et al. 2022, table 1)."""

    levels: int = 16
    base: int = 16
    """Cells along a side of the coarsest level."""
    finest: int = 4096
    """The same of the finest; the levels between grow by one factor (eq. 2 and 3)."""
    log2_entries: int = 19
    """No level takes more than 2 ** this entries of the table: finer ones are hashed."""

    def __post_init__(self) -> None:
        if not (self.levels >= 1 and 2 <= self.base <= self.finest <= 2**19 and 3 <= self.log2_entries <= 24):
            raise BadInput(
                f"hash grid of {self}; expected levels >= 1, 2 <= base <= finest <= 524288, 3 <= log2_entries <= 24",
                "GridShape() has the values of the paper",
            )

    @property
    def width(self) -> int:
        """Numbers that encode a point."""
        return self.levels * FEATURES

    @cached_property
    def scales(self) -> tuple[float, ...]:
        """Cells along the unit cube's side, less one; a position on a level is x * scale + 0.5 (as tiny-cuda-nn)."""
        step = math.log(self.finest / self.base) / max(self.levels - 1, 1)
        return tuple(self.base * math.exp(level * step) - 1 for level in range(self.levels))

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Grid points along a side, by level; the rounding errors of `scales` must not add one."""
        return tuple(math.ceil(scale - 1e-6 * self.finest) + 1 for scale in self.scales)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where each level starts in the table; the last number is the size of the table."""
        rows = [0]
        for resolution in self.resolutions:
            rows.append(rows[-1] + min(-(-(resolution**3) // 8) * 8, 2**self.log2_entries))
        return tuple(rows)

    @property
    def entries(self) -> int:
        """Rows of the table."""
        return self.offsets[-1]

    def is_hashed(self, level: int) -> bool:
        """Whether the grid of a level has more points than its part of the table has entries."""
        return self.resolutions[level] ** 3 > self.offsets[level + 1] - self.offsets[level]


def encode(
    points: Float[Tensor, "points 3"], table: Float[Tensor, "entries 2"], shape: GridShape
) -> Float[Tensor, "points features"]:
    """Trilinear interpolation of the entries at the corners of each point's cell, level after level (section 3)."""
    inside = points.clamp(0, 1)
    codes = []
    for level, (scale, resolution) in enumerate(zip(shape.scales, shape.resolutions, strict=True)):
        position = inside * scale + 0.5
        base = position.detach().floor()
        share = position - base
        code = torch.zeros(len(points), FEATURES, dtype=table.dtype, device=table.device)
        for corner in range(8):
            step = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2], device=points.device)
            weight = torch.where(step.bool(), share, 1 - share).prod(-1)
            cell = (base.long() + step).clamp(max=resolution - 1)  # x = 1 may lie half a cell beyond the last point
            code = code + weight[:, None] * table[shape.offsets[level] + row(cell, shape, level)]
        codes.append(code)
    return torch.cat(codes, dim=-1)


def row(cell: Int[Tensor, "*points 3"], shape: GridShape, level: int) -> Int[Tensor, "*points"]:
    """Where a grid point lies in its level's part of the table (eq. 4); coarse levels are stored as they are."""
    x, y, z = cell.unbind(-1)
    if not shape.is_hashed(level):
        return x + shape.resolutions[level] * (y + shape.resolutions[level] * z)
    # In 64 bits and not in 32 as in the paper: the low bits, which are all that count, are the same.
    return (x * PRIMES[0] ^ y * PRIMES[1] ^ z * PRIMES[2]) & (2**shape.log2_entries - 1)
