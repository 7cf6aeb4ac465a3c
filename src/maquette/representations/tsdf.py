"""Depth maps from many sides to one closed surface: a truncated signed distance on a grid (Curless and Levoy 1996).

This module does not know what drew the depth maps.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput
from maquette.representations.isosurface import outward
from maquette.representations.mesh import Mesh

POINTS_AT_ONCE = 65_536
"""Grid points that go through all cameras together, few enough for the caches."""
FLOATER = 0.02
"""Separate parts with less than this share of the largest part's faces are dropped."""


@dataclass(frozen=True)
class Tsdf:
    """Mean signed distance at origin + step * (x, y, z), positive outside, in units of `truncation`."""

    values: Float[Tensor, "x y z"]
    """In [-1, 1]; -1 also where no camera ever looked."""
    weights: Float[Tensor, "x y z"]
    """Sum of the weights of the views that measured the point."""
    origin: Float[Tensor, " 3"]
    step: float
    """World units between grid points."""
    truncation: float
    """World units; a view says nothing about what lies deeper than this below the surface that it sees."""


def fuse(
    depth: Float[Tensor, "cameras height width"],
    alpha: Float[Tensor, "cameras height width"],
    camera: Camera,
    *,
    weight: Float[Tensor, "cameras height width"] | None = None,
    half_size: float = 0.6,
    resolution: int = 96,
    truncation_cells: float = 4.0,
) -> Tsdf:
    """Average min(1, (D(p) - z) / truncation) over the views that see a grid point, in a cube around the origin.

    `depth` is along the camera axis in world units. Where `alpha` is at most 1/2 a view measures nothing, and where it
    is so on all neighbouring pixels too, the point is outside for good (its silhouette carves). `weight` says how much
    to trust each pixel, 1 if it is not given. `resolution` counts cells along the cube of side 2 `half_size`.

    Raises BadInput for maps that do not belong to the cameras or are not finite, and for sizes that are not positive.
    """
    weight = torch.ones_like(alpha) if weight is None else weight
    shape = (len(camera), camera.height, camera.width)
    if any(tuple(image.shape) != shape for image in (depth, alpha, weight)):
        raise BadInput(
            f"depth, alpha and weight have shapes {tuple(depth.shape)}, {tuple(alpha.shape)}, {tuple(weight.shape)}; "
            f"expected {shape}",
            "pass one map for each camera, of its size",
        )
    if not all(torch.isfinite(image).all() for image in (depth, alpha, weight)):
        raise BadInput("depth, alpha or weight holds NaN or infinity; expected finite numbers", "0 means not seen")
    if resolution < 8 or not (half_size > 0 and truncation_cells > 0):
        raise BadInput(
            f"resolution {resolution}, half_size {half_size}, truncation_cells {truncation_cells}; expected at least 8 "
            "and positive sizes",
            "the defaults are 96, 0.6 and 4",
        )
    camera = camera.to("cpu").to(torch.float32)
    depth, alpha, weight = (image.detach().cpu().float() for image in (depth, alpha, weight))
    step = 2 * half_size / resolution
    truncation = truncation_cells * step
    side = resolution + 1
    axis = torch.arange(side) * step - half_size
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    is_solid = (alpha > 0.5) & (depth > 0)
    is_empty = torch.nn.functional.max_pool2d(alpha[:, None], 3, 1, 1)[:, 0] <= 0.5
    maps = (torch.where(is_solid, depth, 0.0), torch.where(is_solid, weight, 0.0), is_empty)
    values, weights = (torch.empty(len(points)) for _ in range(2))
    for start in range(0, len(points), POINTS_AT_ONCE):
        rows = slice(start, start + POINTS_AT_ONCE)
        values[rows], weights[rows] = _measured(points[rows], camera, maps, truncation)
    values, weights = (part.view(side, side, side) for part in (values, weights))
    for dim in range(3):  # closed at the border whatever reaches over it
        values.select(dim, 0).fill_(1.0)
        values.select(dim, -1).fill_(1.0)
    return Tsdf(values, weights, axis[:1].repeat(3), step, truncation)


def _measured(points: Tensor, camera: Camera, maps: tuple[Tensor, ...], truncation: float) -> tuple[Tensor, Tensor]:
    """Mean distance and total weight of some points over all cameras, one camera after the other."""
    total, weights = torch.zeros(len(points)), torch.zeros(len(points))
    is_outside = torch.zeros(len(points), dtype=torch.bool)
    for view in range(len(camera)):
        depth, trust, is_empty = (image[view] for image in maps)
        (pixels,), (z,) = camera[view].project(points)
        x, y = pixels.unbind(-1)
        is_inside = (z > 0) & (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height)
        x, y = torch.where(is_inside, x, 0.0), torch.where(is_inside, y, 0.0)
        nearest = y.long() * camera.width + x.long()
        seen, trusted = _between(depth, x, y, truncation, nearest), trust.view(-1)[nearest]
        distance = (seen - z) / truncation
        trusted = torch.where(is_inside & (seen > 0) & (distance >= -1), trusted, 0.0)
        total += trusted * distance.clamp(max=1.0)
        weights += trusted
        is_outside |= is_inside & is_empty.view(-1)[nearest]
    values = torch.where(weights > 0, total / weights.clamp(min=1e-12), -1.0)
    return torch.where(is_outside, 1.0, values), weights


def _between(depth: Tensor, x: Tensor, y: Tensor, truncation: float, nearest: Tensor) -> Tensor:
    """Bilinear depth where the four pixels around lie on one surface, that of the nearest pixel elsewhere."""
    height, width = depth.shape
    left, top = (x - 0.5).clamp(0, width - 1.001), (y - 0.5).clamp(0, height - 1.001)
    column, row = left.long().clamp(max=width - 2), top.long().clamp(max=height - 2)
    across, down = left - column, top - row
    flat, corner = depth.view(-1), row * width + column
    a, b, c, d = (flat[corner + k] for k in (0, 1, width, width + 1))
    low, high = (
        torch.minimum(torch.minimum(a, b), torch.minimum(c, d)),
        torch.maximum(torch.maximum(a, b), torch.maximum(c, d)),
    )
    mixed = torch.lerp(torch.lerp(a, b, across), torch.lerp(c, d, across), down)
    return torch.where((low > 0) & (high - low < truncation), mixed, flat[nearest])


def fused_mesh(tsdf: Tsdf) -> Mesh:
    """The closed surface at distance zero by marching cubes (Lewiner 2003), faces outward, floaters dropped.

    Raises BadInput if the distance has one sign everywhere.
    """
    from scipy import sparse
    from skimage.measure import marching_cubes

    values = tsdf.values.numpy()
    if not (values.min() < 0 < values.max()):
        raise BadInput(
            f"fused distances go from {values.min():.3g} to {values.max():.3g}; expected both signs",
            "check that the depth maps show something inside of the cube",
        )
    vertices, faces, _, _ = marching_cubes(values, 0.0)
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    links = sparse.coo_array((np.ones(len(start), bool), (start, end)), shape=(len(vertices), len(vertices)))
    part = sparse.csgraph.connected_components(links, directed=False)[1][faces[:, 0]]
    size = np.bincount(part)
    faces = faces[size[part] >= FLOATER * size.max()]
    used, renumbered = np.unique(faces, return_inverse=True)
    vertices = vertices[used].astype(np.float64) * tsdf.step + tsdf.origin.numpy()
    faces = outward(vertices, renumbered.reshape(-1, 3))
    return Mesh(torch.from_numpy(vertices).float(), torch.from_numpy(np.ascontiguousarray(faces)).long())
