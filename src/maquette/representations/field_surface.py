"""Where a radiance field has its surface: as deep as light comes. Knows no pictures and no hash tables.

Fields that were fitted to pictures are fog near their surface and noise inside, where no ray ever taught them anything;
no level of the density itself is the surface then. The optical depth between a place and the outside, by the clearest
of 26 directions, grows inward whatever the density does, so its levels are closed and without hollows.
"""

from collections.abc import Callable
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.representations.isosurface import DensityGrid


def depth_grid(
    field: Callable[
        [Float[Tensor, "points 3"], Float[Tensor, "points 3"]],
        tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]],
    ],
    half_size: float,
    resolution: int,
) -> DensityGrid:
    """Optical depth from outside at the points of a grid over [-half_size, half_size]^3, 0 on its border.

    Raises BadInput where the field answers with NaN or infinity, with the number of points.
    """
    step = 2 * half_size / (resolution - 1)
    axis = torch.arange(resolution) * step - half_size
    density = torch.zeros(resolution, resolution, resolution)
    forward = torch.tensor([0.0, 0.0, -1.0]).expand(resolution**2, 3)
    y, z = torch.meshgrid(axis, axis, indexing="ij")
    for i in range(resolution):
        points = torch.stack([torch.full_like(y, float(axis[i])), y, z], dim=-1).reshape(-1, 3)
        density[i] = field(points, forward)[0].reshape(resolution, resolution)
    if not torch.isfinite(density).all():
        wrong = int((~torch.isfinite(density)).sum())
        raise BadInput(
            f"the field answers with NaN or infinity at {wrong:,} of {density.numel():,} points",
            "check what made it, or fit it again with a lower learning rate",
        )
    for side in range(3):
        density.select(side, 0).zero_()
        density.select(side, -1).zero_()
    return DensityGrid(depth_from_outside(density, step), torch.full((3,), -half_size), step, torch.zeros(0, 3).numpy())


def depth_from_outside(density: Float[Tensor, "x y z"], step: float) -> Float[Tensor, "x y z"]:
    """The least optical depth between each point and the outside, over the 26 directions to neighbours.

    `density` is per world unit with a border of zeros, `step` the distance of points in world units.
    """
    least = torch.full_like(density, torch.inf)
    for direction in product((-1, 0, 1), repeat=3):
        if direction != (0, 0, 0):
            least = torch.minimum(least, _along(density, direction, step))
    return least


def _along(density: Tensor, direction: tuple[int, int, int], step: float) -> Tensor:
    """The integral of the density against `direction` up to the border, by the trapezoid rule, slice by slice."""
    main = next(axis for axis in range(3) if direction[axis])
    others = [axis for axis in range(3) if axis != main]
    slices = density.movedim(main, 0)
    shift = [direction[axis] for axis in others]
    length = step * sum(abs(part) for part in direction) ** 0.5
    order = range(len(slices)) if direction[main] > 0 else range(len(slices) - 1, -1, -1)
    depth, before, value = torch.zeros_like(slices), None, None
    for i in order:
        if before is not None:
            came, was = _shifted(before, shift), _shifted(value, shift)
            depth[i] = came + length * (was + slices[i]) / 2
        before, value = depth[i], slices[i]
    return depth.movedim(0, main)


def _shifted(flat: Tensor, shift: list[int]) -> Tensor:
    """A slice moved by -1, 0 or 1 along each axis, zeros where nothing comes from."""
    moved = torch.zeros_like(flat)
    here = [slice(max(s, 0), size + min(s, 0)) for s, size in zip(shift, flat.shape, strict=True)]
    there = [slice(max(-s, 0), size + min(-s, 0)) for s, size in zip(shift, flat.shape, strict=True)]
    moved[tuple(here)] = flat[tuple(there)]
    return moved
