"""The visual hull of views with coverage: points inside of what most cameras agree to be covered.

Silhouettes bound a shape (Laurentini 1994). Views made by a generator disagree a little, so a place belongs to the
shape when most of them cover it, not all. This module does not know who drew the views.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera

CELLS, HALF_SIDE = 64, 0.8
"""The grid: cells along a side, and half of the side of its cube in world units (what an orbit at 2.2 sees)."""


def hull_points(
    rgba: Float[Tensor, "views height width 4"],
    camera: Camera,
    count: int,
    generator: torch.Generator,
    *,
    disagreeing: float = 0.0,
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points 3"]]:
    """`count` points inside of the hull in world units, and their rgb colors in [0, 1]; none of either if it is empty.

    `rgba` is sRGB with coverage, one view for each camera. A cell is inside where at most the share `disagreeing` of
    the views has a coverage below one half. A color is the mean over the views, weighted by coverage; what hides what
    is not asked. `generator` is a CPU stream.
    """
    axis = (torch.arange(CELLS, device=rgba.device) + 0.5) / CELLS * 2 * HALF_SIDE - HALF_SIDE
    cells = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    misses = (_shown(rgba[..., 3:], camera, cells)[..., 0] < 0.5).sum(0)
    inside = (misses <= disagreeing * len(rgba)).nonzero()[:, 0]
    if len(inside) == 0:
        return cells[:0], cells[:0]
    chosen = inside[torch.randint(len(inside), (count,), generator=generator).to(inside.device)]
    jitter = torch.rand(count, 3, generator=generator).to(cells) - 0.5
    points = cells[chosen] + jitter * (2 * HALF_SIDE / CELLS)
    shown = _shown(rgba, camera, points)
    weight = shown[..., 3:].clamp_min(1e-3)
    return points, (weight * shown[..., :3]).sum(0) / weight.sum(0)


def _shown(
    images: Float[Tensor, "views height width channels"], camera: Camera, points: Float[Tensor, "points 3"]
) -> Float[Tensor, "views points channels"]:
    """What every view shows in the pixel of every point; zeros outside of the picture."""
    pixels, _ = camera.project(points)
    grid = pixels / pixels.new_tensor([camera.width, camera.height]) * 2 - 1
    shown = F.grid_sample(images.movedim(-1, 1), grid[:, None], mode="nearest", align_corners=False)
    return shown[:, :, 0].movedim(1, -1)
