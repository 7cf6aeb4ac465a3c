"""The specification of the triangle z-buffer in plain torch: every face is tried at every pixel. Slow and obvious.

Works in the float type of `vertices`, so that double precision can judge the fast twin.
"""

import torch
from jaxtyping import Float, Int32, Integer
from torch import Tensor

NEAR = 1e-3
"""A face with a vertex nearer than this (world units along the camera axis) is dropped whole: nothing is clipped."""


def rasterize(
    vertices: Float[Tensor, "vertices 3"],
    faces: Integer[Tensor, "faces 3"],
    camera_from_world: Float[Tensor, "cameras 4 4"],
    focal_px: Float[Tensor, "cameras 2"],
    center_px: Float[Tensor, "cameras 2"],
    height: int,
    width: int,
) -> tuple[
    Int32[Tensor, "cameras height width"],
    Float[Tensor, "cameras height width"],
    Float[Tensor, "cameras height width 3"],
]:
    """The face nearest to the camera at each pixel centre (-1: none), its depth, and where on it the pixel lies.

    A point p of a triangle with corners a, b, c has the screen-space weights E(b, c) / A, E(c, a) / A, E(a, b) / A,
    where E(q, r) is twice the signed area of (p, q, r) and A that of (a, b, c) (Pineda 1988); it lies inside when none
    is negative, whatever the winding. 1 / depth is linear on the screen, so weights divided by depth and normalised
    are the perspective-correct barycentric coordinates. Of faces at equal depth the first wins.
    """
    rows = torch.arange(height, dtype=vertices.dtype) + 0.5
    columns = torch.arange(width, dtype=vertices.dtype) + 0.5
    pixel = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)], dim=-1)
    images = []
    for view, focal, center in zip(camera_from_world, focal_px, center_px, strict=True):
        camera_space = vertices @ view[:3, :3].T + view[:3, 3]
        depth = camera_space[:, 2]
        screen = camera_space[:, :2] / depth[:, None] * focal + center
        a, b, c = screen[faces.long()].unbind(1)  # (faces, 2) each
        inverse_depth = 1 / depth[faces.long()]  # (faces, 3)
        area = doubled_area(a, b, c)
        usable = (depth[faces.long()] >= NEAR).all(1) & (area != 0)

        p = pixel[:, :, None]  # (height, width, 1, 2) against (faces, 2)
        weights = torch.stack([doubled_area(p, b, c), doubled_area(p, c, a), doubled_area(p, a, b)], -1) / area[:, None]
        weights = weights * inverse_depth
        nearness = weights.sum(-1)  # 1 / depth of the point (height, width, faces)
        nearness = torch.where(usable & (weights >= 0).all(-1), nearness, 0.0)
        nearness = torch.cat([torch.zeros(height, width, 1, dtype=vertices.dtype), nearness], dim=-1)  # 0: background
        nearest, slot = nearness.max(-1)  # the first of equals
        seen = slot > 0
        weights = torch.cat([torch.zeros(height, width, 1, 3, dtype=vertices.dtype), weights], dim=2)
        weights = weights.take_along_dim(slot[..., None, None], dim=2)[:, :, 0]
        safe = torch.where(seen, nearest, 1.0)
        barycentric = torch.where(seen[..., None], weights / safe[..., None], 0.0)
        images.append((slot.int() - 1, torch.where(seen, 1 / safe, 0.0), barycentric))
    if not images:
        empty = vertices.new_zeros(0, height, width)
        return empty.int(), empty, vertices.new_zeros(0, height, width, 3)
    index, depth, barycentric = (torch.stack(parts) for parts in zip(*images, strict=True))
    return index, depth, barycentric


def doubled_area(
    a: Float[Tensor, "*#shape 2"], b: Float[Tensor, "*#shape 2"], c: Float[Tensor, "*#shape 2"]
) -> Float[Tensor, "*shape"]:
    """Twice the signed area of the triangle a, b, c."""
    ab, ac = b - a, c - a
    return ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]
