"""The specification of blending pictures on surface points, in plain torch: all points against all views at once."""

import torch
from jaxtyping import Float, Int32, Integer
from torch import Tensor

from maquette.core.rotation import normalize

FACING_POWER = 6
"""Views count with the cosine between their direction and the normal to this power: a blend, yet a sharp one."""
DOUBTFUL = 1e-3
"""Weight of pixels on a silhouette or a depth jump, where colors of two things mix: only used where nothing else is."""
GRAZING = 0.1
"""Slopes are taken to be no steeper than this cosine when depths are compared."""
INSIDE = 1e-6
"""A texel centre counts as inside of a face if it is this far (in texels) from each of its edges."""


def blend(
    points: Float[Tensor, "points 3"],
    normals: Float[Tensor, "points 3"],
    pictures: Float[Tensor, "cameras height width 4"],
    depth: Float[Tensor, "cameras height width"],
    camera_from_world: Float[Tensor, "cameras 4 4"],
    focal_px: Float[Tensor, "cameras 2"],
    center_px: Float[Tensor, "cameras 2"],
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, " points"]]:
    """The weighted mean color of each point over the views that see it, and the sum of weights (0: seen by none).

    A view's weight is cosine^FACING_POWER * alpha^2, times DOUBTFUL where depths around the pixel jump.
    """
    cameras, height, width, _ = pictures.shape
    rotation, translation = camera_from_world[:, :3, :3], camera_from_world[:, :3, 3]
    camera_space = points @ rotation.mT + translation[:, None]  # (cameras, points, 3)
    distance = camera_space[..., 2]
    pixels = camera_space[..., :2] / distance[..., None] * focal_px[:, None] + center_px[:, None]
    x, y = pixels.unbind(-1)
    is_inside = (distance > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    eye = -(rotation.mT @ translation[..., None])[..., 0]
    cosine = (normalize(eye[:, None] - points) * normals).sum(-1).clamp(min=0)

    # A point is hidden if the surface at its pixel is nearer than it by more than the allowance: a pixel's width, and
    # what the slope of the surface changes within a pixel and a half.
    tangent = (1 / cosine.clamp(min=GRAZING).square() - 1).clamp(min=0).sqrt()
    allowance = distance / focal_px[:, :1] * (1 + 1.5 * tangent)
    surface = torch.where(depth > 0, depth, torch.inf)
    lowest = -torch.nn.functional.max_pool2d(-surface, 3, 1, 1)
    highest = torch.nn.functional.max_pool2d(surface, 3, 1, 1)
    view = torch.arange(cameras)[:, None]
    column, row = x.nan_to_num().long().clamp(0, width - 1), y.nan_to_num().long().clamp(0, height - 1)
    is_seen = is_inside & (distance <= surface[view, row, column] + allowance)
    is_clear = highest[view, row, column] - lowest[view, row, column] <= 4 * allowance

    # Colors are mixed in proportion to their alpha, so nothing of what lies beside the object bleeds in.
    premultiplied = torch.cat([pictures[..., :3] * pictures[..., 3:], pictures[..., 3:]], dim=-1)
    places = pixels / pixels.new_tensor([width, height]) * 2 - 1
    looks = torch.nn.functional.grid_sample(
        premultiplied.permute(0, 3, 1, 2), places[:, None], padding_mode="border", align_corners=False
    )[:, :, 0]  # (cameras, 4, points)
    alpha = looks[:, 3]
    seen_color = looks[:, :3] / alpha[:, None].clamp(min=torch.finfo(alpha.dtype).tiny)
    weight = cosine**FACING_POWER * alpha.square() * torch.where(is_clear, 1.0, DOUBTFUL)
    weight = torch.where(is_seen, weight, 0.0)
    total = weight.sum(0)
    mean = torch.einsum("cp,ckp->pk", weight, seen_color) / total.clamp(min=torch.finfo(total.dtype).tiny)[:, None]
    return mean, total


def coverage(
    uv: Float[Tensor, "vertices 2"], faces: Integer[Tensor, "faces 3"], size: int
) -> Int32[Tensor, "size size"]:
    """The number of faces that hold each texel centre, (row, column), farther than INSIDE from their edges."""
    axis = torch.arange(size, dtype=torch.float64) + 0.5
    corners = uv.double()[faces] * size
    count = torch.zeros(size, size, dtype=torch.int32)
    for triangle in corners:
        a, b, c = triangle
        turn = torch.sign((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0])
        inside = torch.full((size, size), bool(turn != 0))
        for start, end in ((a, b), (b, c), (c, a)):
            along = end - start
            across = along[0] * (axis[:, None] - start[1]) - along[1] * (axis[None, :] - start[0])
            inside &= turn * across > INSIDE * torch.linalg.vector_norm(along)
        count += inside
    return count
