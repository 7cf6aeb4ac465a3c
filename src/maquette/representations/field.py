"""A radiance field in a hash table (Müller et al. 2022), with residual tables for parts (Interactive3D, eq. 9).

This module does not know rays: a field is a function of points and directions, and renderers take any such function.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from maquette.core.errors import BadInput
from maquette.kernels.hashgrid import FEATURES, GridShape, encode
from maquette.kernels.splat3d.spherical_harmonics import sh_basis

START = 1e-4
"""Entries start uniform within this, so that the networks begin near zero (section 4 of the paper)."""
STEEPEST = 15.0
"""The exponential's gradient stops growing here; its value does not."""
FLATTEST, FARTHEST = 3.0, 5.0
"""The gradient of the sigmoid of colors stops shrinking at the first, and what pushes out ends at the second."""


@dataclass(frozen=True)
class FieldShape:
    """The size of a field and of its networks."""

    grid: GridShape = field(default_factory=GridShape)
    half_size: float = 0.6
    """The field fills [-half_size, half_size]^3 world units: an object of size 1 and its soft edge."""
    hidden: int = 64
    """Width of the networks: one hidden layer for density, two for color."""
    features: int = 15
    """Numbers that the density network hands to the color network."""
    sees_direction: bool = True
    """Whether color depends on the direction of view, as 16 spherical harmonics."""
    activation: Literal["exp", "softplus"] = "exp"
    """From the network's output to density per world unit: exp fits pictures, softplus is for distilling a prior."""
    blob: float = 0.0
    """Density starts as a ball: blob * (1 - |x| / 0.25) is added before the activation (Magic3D has 10)."""


PAPER = FieldShape()
"""12.6 M numbers in the table, as Interactive3D and Magic3D: for a GPU."""
POCKET = FieldShape(GridShape(levels=8, base=16, finest=192, log2_entries=15), hidden=32, sees_direction=False)
"""0.4 M numbers and details of 6 thousandths of the object: pictures of 128 px, on two cores."""


class HashField(nn.Module):
    """`field(points, directions)` gives density per world unit and sRGB; density is 0 outside the cube.
    `labels` says for every cell of the cube which part's residual applies there; -1 is none.
    """

    def __init__(self, shape: FieldShape = POCKET, *, generator: torch.Generator):
        super().__init__()
        self.shape = shape
        self.table = _table(shape.grid, generator)
        self.density_net = _network([shape.grid.width, shape.hidden, 1 + shape.features], generator)
        width = shape.features + (16 if shape.sees_direction else 0)
        self.color_net = _network([width, shape.hidden, shape.hidden, 3], generator)
        self.parts = nn.ModuleList()
        self.register_buffer("labels", torch.full((32, 32, 32), -1, dtype=torch.int16))

    def forward(
        self, points: Float[Tensor, "points 3"], directions: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "points 3"]]:
        code, raw = self._raw_density(points)
        features = raw[:, 1:]
        if self.shape.sees_direction:
            features = torch.cat([features, sh_basis(directions, 16)], dim=-1)
        color = self.color_net(features)
        density = raw[:, 0]
        for part, rows in self._inside_parts(points):
            code_part = part.encode(points[rows], self.shape.half_size)
            density = density.index_add(0, rows, part.density(code[rows], code_part, raw[rows, :1]))
            color = color.index_add(0, rows, part.color(code[rows], code_part, color[rows]))
        return self._activate(density, points), _SafeSigmoid.apply(color)

    def density(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Only the density, parts included: what an occupancy grid asks."""
        code, raw = self._raw_density(points)
        density = raw[:, 0]
        for part, rows in self._inside_parts(points):
            code_part = part.encode(points[rows], self.shape.half_size)
            density = density.index_add(0, rows, part.density(code[rows], code_part, raw[rows, :1]))
        return self._activate(density, points)

    def add_part(self, cells: Bool[Tensor, "x y z"], grid: GridShape, *, generator: torch.Generator) -> "PartResidual":
        """Give `cells` of the field's cube their own table and networks, and freeze all that was there before.

        The field changes nowhere until the part has learned, and never outside of the cells. A cell belongs to the part
        that took it last. Raises BadInput if there are no cells.
        """
        if not cells.any():
            raise BadInput("the part has no cells; expected at least one", "widen the region, or check the occupancy")
        if len(self.parts) and cells.shape != self.labels.shape:
            raise BadInput(
                f"cells of shape {tuple(cells.shape)}; expected {tuple(self.labels.shape)}", "one size for all"
            )
        if not len(self.parts):
            self.labels = torch.full(cells.shape, -1, dtype=torch.int16, device=self.table.device)
        self.requires_grad_(False)
        self.labels = torch.where(cells.to(self.labels.device), len(self.parts), self.labels).to(torch.int16)
        part = PartResidual(cells, grid, self.shape, generator=generator).to(self.table.device)
        self.parts.append(part)
        return part

    def _raw_density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        code = encode(points / (2 * self.shape.half_size) + 0.5, self.table, self.shape.grid)
        return code, self.density_net(code)

    def _inside_parts(self, points: Tensor) -> list[tuple["PartResidual", Int[Tensor, " rows"]]]:
        """Each part with the rows of the points that lie in its cells."""
        if not len(self.parts):
            return []
        sides = torch.tensor(self.labels.shape, device=points.device)
        cell = ((points / (2 * self.shape.half_size) + 0.5) * sides).long()
        x, y, z = torch.minimum(cell.clamp(min=0), sides - 1).unbind(-1)
        label = self.labels[x, y, z]
        return [(part, (label == index).nonzero()[:, 0]) for index, part in enumerate(self.parts)]

    def _activate(self, raw: Tensor, points: Tensor) -> Tensor:
        if self.shape.blob:
            raw = raw + self.shape.blob * (1 - torch.linalg.vector_norm(points, dim=-1) / 0.25)
        density = _SafeExp.apply(raw) if self.shape.activation == "exp" else nn.functional.softplus(raw)
        return torch.where((points.abs() <= self.shape.half_size).all(-1), density, 0.0)


class PartResidual(nn.Module):
    """A table of its own over the box of a part, and two light networks that correct the field before its activations.

    The networks' last layers start at zero, and the table spans the part's box and not the whole cube, so that all
    levels resolve the part; the released code does neither.
    """

    def __init__(self, cells: Bool[Tensor, "x y z"], grid: GridShape, shape: FieldShape, *, generator: torch.Generator):
        super().__init__()
        self.grid = grid
        where = cells.nonzero().cpu()
        sides = torch.tensor(cells.shape)
        self.register_buffer("low", where.amin(0) / sides)
        self.register_buffer("high", (where.amax(0) + 1) / sides)
        self.table = _table(grid, generator)
        width = shape.grid.width + grid.width
        self.density_net = _network([width + 1, 64, 1], generator, ends_at_zero=True)
        self.color_net = _network([width + 3, 64, 3], generator, ends_at_zero=True)

    def encode(self, points: Float[Tensor, "points 3"], half_size: float) -> Float[Tensor, "points features"]:
        """Features of the part's own table (eq. 9)."""
        unit = points / (2 * half_size) + 0.5
        return encode((unit - self.low) / (self.high - self.low), self.table, self.grid)

    def density(self, code: Tensor, code_part: Tensor, raw: Float[Tensor, "points 1"]) -> Float[Tensor, " points"]:
        """What to add to the field's output for density before its activation."""
        return self.density_net(torch.cat([code, code_part, raw], dim=-1))[:, 0]

    def color(self, code: Tensor, code_part: Tensor, raw: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """What to add to the field's output for color before its activation."""
        return self.color_net(torch.cat([code, code_part, raw], dim=-1))


class _SafeExp(torch.autograd.Function):
    """exp whose gradient is that of exp(min(x, 15)) (as instant-ngp), so that one wild step is not the last."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx, d_y):
        (x,) = ctx.saved_tensors
        return d_y * x.clamp(max=STEEPEST).exp()


class _SafeSigmoid(torch.autograd.Function):
    """The sigmoid, but gradients keep the slope that it has at 3, and push nothing out that is beyond 5 (0.7 and 99 %).

    A prior that sees fog asks for stronger colors than there are. With the sigmoid's own slope they went a hundred
    units out, where no gradient brought them back when the fog was gone: all that was red became (1, 0, 0).
    """

    @staticmethod
    def forward(ctx, x):
        y = x.sigmoid()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, d_y):
        (y,) = ctx.saved_tensors
        flattest, farthest = (1 / (1 + math.exp(-x)) for x in (FLATTEST, FARTHEST))
        is_pushed_out = ((y > farthest) & (d_y < 0)) | ((y < 1 - farthest) & (d_y > 0))
        return torch.where(is_pushed_out, 0.0, d_y * (y * (1 - y)).clamp(min=flattest * (1 - flattest)))


def _table(grid: GridShape, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter((torch.rand(grid.entries, FEATURES, generator=generator) * 2 - 1) * START)


def _network(widths: list[int], generator: torch.Generator, *, ends_at_zero: bool = False) -> nn.Sequential:
    """Layers without biases and with ReLU between them, weights uniform after He et al. 2015."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(widths[:-1], widths[1:], strict=True):
        layer = nn.utils.skip_init(nn.Linear, fan_in, fan_out, bias=False)
        bound = math.sqrt(6 / fan_in)
        layer.weight.data = (torch.rand(fan_out, fan_in, generator=generator) * 2 - 1) * bound
        layers += [layer, nn.ReLU()]
    if ends_at_zero:
        layers[-2].weight.data.zero_()
    return nn.Sequential(*layers[:-1])
