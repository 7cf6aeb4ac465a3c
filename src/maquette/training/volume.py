"""A radiance field that is being made from nothing: where to look, what is behind it, its light, what is asked of it.

One module, so that a checkpoint is its state. It knows no prior and no prompt; `maquette.training.module_descent` is
the loop.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from maquette.core import Camera, Constant, Linear
from maquette.kernels.splat3d.spherical_harmonics import sh_basis
from maquette.render.field import march
from maquette.render.shading import Shading
from maquette.representations.field import FieldShape, HashField
from maquette.representations.occupancy import OccupancyGrid, update
from maquette.training.optim import Rate

CELLS = 32
"""Along a side of the occupancy grid, as threestudio."""


@dataclass(frozen=True)
class Rates:
    """Learning rates of a volume."""

    table: Rate = field(default_factory=lambda: Constant(1e-2))
    networks: Rate = field(default_factory=lambda: Constant(1e-2))
    surroundings: Rate = field(default_factory=lambda: Constant(1e-3))


@dataclass(frozen=True)
class Penalties:
    """Weights of what is asked of a field besides likeness, against the sum over one view's latents (threestudio)."""

    orientation: Rate = field(default_factory=lambda: Linear(10.0, 1000.0, 5000))
    """Of matter that one sees and that faces away (DreamFusion); only in steps that have normals."""
    opacity: Rate = field(default_factory=lambda: Constant(1.0))
    """Of coverage, the mean of sqrt(alpha^2 + 0.01) (DreamFusion)."""
    entropy: Rate = field(default_factory=lambda: Constant(0.0))
    """Of coverage that is neither 0 nor 1."""
    emptiness: Rate = field(default_factory=lambda: Constant(0.0))
    """Of coverage, the mean of log(1 + 10 alpha), which presses hardest on what is faint (as Score Jacobian Chaining,
    which asks it of the samples of rays)."""


class Volume(nn.Module):
    """A `HashField`, its occupancy as buffers, and white or a learned color of each direction behind it."""

    def __init__(self, shape: FieldShape, *, learned_background: bool, generator: torch.Generator):
        super().__init__()
        self.field = HashField(shape, generator=generator)
        self.surroundings = _Surroundings(generator) if learned_background else None
        full = OccupancyGrid.full(CELLS, shape.half_size)
        self.register_buffer("thickness", full.thickness)
        self.register_buffer("mask", full.mask)

    @property
    def occupancy(self) -> OccupancyGrid:
        """Where a renderer looks."""
        return OccupancyGrid(self.thickness, self.field.shape.half_size, self.mask)

    def watch(self, samples: int, generator: torch.Generator, *, every_cell: bool) -> None:
        """Update the occupancy for a renderer of `samples` steps along the diagonal."""
        step = 2 * math.sqrt(3) * self.field.shape.half_size / samples
        grid = update(self.occupancy, self.field.density, step=step, generator=generator, every_cell=every_cell)
        self.thickness, self.mask = grid.thickness, grid.mask

    def groups(self, rates: Rates) -> list[tuple[list[nn.Parameter], Rate]]:
        """All parameters with their rates."""
        networks = [*self.field.density_net.parameters(), *self.field.color_net.parameters()]
        groups = [([self.field.table], rates.table), (networks, rates.networks)]
        if self.surroundings is not None:
            groups.append((list(self.surroundings.parameters()), rates.surroundings))
        return groups


class _Surroundings(nn.Module):
    """A color for each direction: harmonics of degree 3, then two hidden layers of 16 (threestudio)."""

    def __init__(self, generator: torch.Generator):
        super().__init__()
        widths = [16, 16, 16, 3]
        self.layers = nn.ModuleList(
            nn.utils.skip_init(nn.Linear, fan_in, fan_out, bias=False)
            for fan_in, fan_out in zip(widths[:-1], widths[1:], strict=True)
        )
        for layer in self.layers:
            layer.weight.data.uniform_(-1, 1, generator=generator).mul_(math.sqrt(6 / layer.in_features))

    def forward(self, directions: Float[Tensor, "rays 3"]) -> Float[Tensor, "rays 3"]:
        x = sh_basis(directions, 16)
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x).sigmoid()


class Seen(NamedTuple):
    """Pictures of a volume."""

    images: Float[Tensor, "cameras height width 4"]
    """sRGB on what is behind, and coverage."""
    normal: Float[Tensor, "cameras height width 3"] | None
    """Times coverage."""
    turned_away: Float[Tensor, "cameras height width"] | None
    """See `Marched`."""


def look(
    volume: Volume,
    camera: Camera,
    *,
    samples: int,
    shading: Shading | None = None,
    normals: bool = False,
    generator: torch.Generator | None = None,
) -> Seen:
    """Draw a volume, lit point by point; without a shading it is the albedo that one sees."""
    origins, directions = (rays.reshape(-1, 3) for rays in camera.rays())

    def lit(albedo: Tensor, normals: Tensor, points: Tensor, ray: Int[Tensor, " points"]) -> Tensor:
        return shading(albedo, normals, points, ray // (camera.height * camera.width))

    marched = march(
        volume.field, origins, directions, occupancy=volume.occupancy, samples=samples, normals=normals,
        density=volume.field.density, shade=None if shading is None or shading.kind == "albedo" else lit,
        generator=generator,
    )  # fmt: skip
    behind = 1.0 if volume.surroundings is None else volume.surroundings(directions)
    color = marched.color + (1 - marched.alpha)[:, None] * behind
    image = (len(camera), camera.height, camera.width)
    return Seen(
        torch.cat([color, marched.alpha[:, None]], dim=-1).view(*image, 4),
        None if marched.normal is None else marched.normal.view(*image, 3),
        None if marched.turned_away is None else marched.turned_away.view(image),
    )


def penalty(penalties: Penalties, seen: Seen, step: int) -> Float[Tensor, ""]:
    """The weighted sum of what is asked besides likeness; add it to the distillation of one view."""
    alpha = seen.images[..., 3]
    total = penalties.opacity(step) * (alpha.square() + 0.01).sqrt().mean()
    if penalties.entropy(step) > 0:
        p = alpha.clamp(1e-3, 1 - 1e-3)
        total = total - penalties.entropy(step) * (p * p.log() + (1 - p) * (1 - p).log()).mean()
    if penalties.emptiness(step) > 0:
        total = total + penalties.emptiness(step) * torch.log1p(10 * alpha).mean()
    if seen.turned_away is not None:
        hit = (alpha > 0).sum().clamp(min=1)
        total = total + penalties.orientation(step) * seen.turned_away.sum() / hit
    return total
