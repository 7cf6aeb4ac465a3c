"""Signed distances on a grid: negative inside, in world units. From formulas, densities, Gaussians and silhouettes.

This module does not know triangles; `tets.grid_to_mesh` makes them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput, NonFinite
from maquette.representations.gaussians import GaussianCloud
from maquette.representations.isosurface import density_grid

Distance = Callable[[Float[Tensor, "points 3"]], Float[Tensor, " points"]]
"""World points to numbers: a signed distance or a density."""
FARTHEST = 2.0
"""Cells to which distances made from a density are true; beyond they are this number."""
FAINTEST = 1 / 20
"""Share of the level below which all densities count the same, as far tails say nothing of where the surface is."""
SLACK = 0.1
"""Share of its extent by which the box around something dense is enlarged on each side (threestudio)."""
AT_ONCE = 262_144
"""Points that a function is asked for in one call."""


@dataclass(frozen=True)
class SdfGrid:
    """Signed distance at origin + step * (i, j, k), in world units, negative inside."""

    values: Float[Tensor, "x y z"]
    origin: Float[Tensor, " 3"]
    step: float

    def __post_init__(self) -> None:
        if min(self.values.shape) < 2 or not self.step > 0:
            raise BadInput(
                f"a grid of {tuple(self.values.shape)} points, step {self.step}; expected 2 or more, and a step > 0",
                "use sample",
            )

    @property
    def points(self) -> Float[Tensor, "x y z 3"]:
        """World positions of the grid points."""
        axes = [torch.arange(side, dtype=self.origin.dtype, device=self.origin.device) for side in self.values.shape]
        return self.origin + self.step * torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)

    def at(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Trilinear interpolation; the nearest place of the grid for points outside. Differentiable in both."""
        sides = self.origin.new_tensor(self.values.shape)
        place = torch.minimum(((points - self.origin) / self.step).clamp(min=0), sides - 1)
        low = torch.minimum(place.detach().floor(), sides - 2)
        share, cell = place - low, low.long()
        total = torch.zeros_like(share[:, 0])
        for corner in range(8):
            step = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2], device=cell.device)
            x, y, z = (cell + step).unbind(-1)
            total = total + torch.where(step.bool(), share, 1 - share).prod(-1) * self.values[x, y, z]
        return total


def sample(
    distance: Distance, *, resolution: int, half_size: float = 0.6, dtype: torch.dtype = torch.float32
) -> SdfGrid:
    """A function on the grid of `resolution` cells along each side of [-half_size, half_size]^3."""
    origin = torch.full((3,), -half_size, dtype=dtype)
    return _filled(distance, origin, 2 * half_size / resolution, (resolution + 1,) * 3)


def sphere(points: Float[Tensor, "points 3"], radius: float) -> Float[Tensor, " points"]:
    """Distance to a sphere around the origin."""
    return torch.linalg.vector_norm(points, dim=-1) - radius


def torus(points: Float[Tensor, "points 3"], major: float, minor: float) -> Float[Tensor, " points"]:
    """Distance to a torus that lies on the ground: a tube of radius `minor` around a circle of radius `major`."""
    ring = torch.linalg.vector_norm(points[:, [0, 2]], dim=-1) - major
    return torch.linalg.vector_norm(torch.stack([ring, points[:, 1]], dim=-1), dim=-1) - minor


def box(points: Float[Tensor, "points 3"], half_sides: tuple[float, float, float]) -> Float[Tensor, " points"]:
    """Distance to a box around the origin."""
    beyond = points.abs() - points.new_tensor(half_sides)
    return torch.linalg.vector_norm(beyond.clamp(min=0), dim=-1) + beyond.amax(-1).clamp(max=0)


def from_density(
    density: Distance, *, resolution: int = 64, half_size: float = 0.6, level: float | None = None
) -> SdfGrid:
    """Signed distances to where a density (not negative) crosses `level`; `resolution` cells along the longest side.

    A first grid over [-half_size, half_size]^3 finds the box of what is dense, the second fills that box and a tenth
    more on each side (Magic3D, as in threestudio). Without a level it is the mean of all densities above 1e-5 of the
    first grid. Magic3D takes level - density, clamped to [-1, 1]; here f = log(level / density) is divided by its
    slope, |f| / |grad f| (Taubin 1991): a clamped step places vertices in the middle of edges, which looks like stairs.

    Raises BadInput if nothing, or the whole border, is as dense as `level`, NonFinite if the density is not finite.
    """
    coarse = sample(density, resolution=min(resolution, 64), half_size=half_size)
    if not torch.isfinite(coarse.values).all():
        raise NonFinite("the density is NaN or infinite at some points", "check what made the field")
    if level is None:
        matter = coarse.values[coarse.values > 1e-5]
        level = float(matter.mean()) if len(matter) else 1.0
    where = (coarse.values > level).nonzero()
    if not level > 0 or len(where) == 0 or len(where) == coarse.values.numel():
        raise BadInput(
            f"densities lie between {float(coarse.values.min()):.3g} and {float(coarse.values.max()):.3g}, none or all "
            f"of them above the level {level:.3g}; expected a surface",
            "choose another level",
        )
    low = coarse.origin + coarse.step * (where.amin(0) - 1)
    high = coarse.origin + coarse.step * (where.amax(0) + 1)
    low, high = low - SLACK * (high - low), high + SLACK * (high - low)
    low, high = low.clamp(-half_size, half_size), high.clamp(-half_size, half_size)
    step = float((high - low).max()) / resolution
    shape = tuple(math.ceil(float(side) / step - 1e-3) + 1 for side in high - low)
    fine = _filled(density, low, step, shape)

    return SdfGrid(_first_order(fine.values, level) * step, fine.origin, step)


def from_gaussians(cloud: GaussianCloud, *, level: float, resolution: int = 48) -> SdfGrid:
    """Signed distances to where the density of a cloud, sum o exp(-d^2 / 2), crosses `level`; as `from_density`.

    `resolution` cells along the longest side of what is solid. `isosurface.silhouette_level` finds a level. Raises
    BadInput if the cloud is empty, too faint or not finite, or nowhere as dense as `level`.
    """
    grid = density_grid(cloud, resolution)
    if not 0 < level <= float(grid.density.max()):
        raise BadInput(
            f"level {level:.3g} of a cloud whose densest point has {float(grid.density.max()):.3g}; expected a level "
            "between 0 and that",
            "choose another level",
        )
    return SdfGrid(_first_order(grid.density, level) * grid.step, grid.origin, grid.step)


def _first_order(density: Tensor, level: float) -> Tensor:
    """Distance in cells to where the density is `level`."""
    height = (level / density.clamp(min=FAINTEST * level)).log()
    slope = torch.stack(torch.gradient(height), dim=-1).norm(dim=-1)
    return (height / slope.clamp(min=1e-6)).clamp(-FARTHEST, FARTHEST)


def from_silhouettes(
    alpha: Float[Tensor, "cameras height width"], camera: Camera, *, resolution: int = 32, half_size: float = 0.6
) -> SdfGrid:
    """The visual hull: inside is what every view covers by more than one half, distances are those on the pictures.

    In each view, a grid point is as far from the silhouette as pixels say, times its depth over the focal length; the
    largest of these counts. Inside that is at most the distance to the hull. What lies beyond the border of a picture
    is as far as the nearest pixel of the border, what lies behind a camera says nothing.
    """
    from scipy import ndimage

    def signed(covered: np.ndarray) -> np.ndarray:
        """Pixels to the silhouette, which runs half a pixel off the centres; without one, the size of the picture."""
        far = float(sum(covered.shape))
        outward = ndimage.distance_transform_edt(~covered) - 0.5 if covered.any() else np.full(covered.shape, far)
        inward = ndimage.distance_transform_edt(covered) - 0.5 if not covered.all() else np.full(covered.shape, far)
        return np.where(covered, -inward, outward)

    pixels = torch.from_numpy(np.stack([signed(image) for image in (alpha.detach() > 0.5).cpu().numpy()])).float()
    size = pixels.new_tensor([camera.width, camera.height])

    def distance(points: Tensor) -> Tensor:
        place, depth = camera.project(points)
        place = place / size * 2 - 1
        there = F.grid_sample(pixels[:, None], place[:, None], padding_mode="border", align_corners=False)
        world = there[:, 0, 0] * depth / camera.focal_px.mean(1, keepdim=True)
        return torch.where(depth > 0, world, -torch.inf).amax(0)

    return sample(distance, resolution=resolution, half_size=half_size)


@torch.no_grad()
def _filled(function: Distance, origin: Tensor, step: float, shape: tuple[int, ...]) -> SdfGrid:
    points = SdfGrid(torch.zeros(shape, dtype=origin.dtype), origin, step).points.reshape(-1, 3)
    values = torch.cat([function(part) for part in points.split(AT_ONCE)])
    return SdfGrid(values.view(shape), origin, step)
