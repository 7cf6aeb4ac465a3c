"""Surfel splatting in plain torch: slow, obvious, any float type, differentiable everywhere. The specification.

2D Gaussian Splatting (Huang et al. 2024, arXiv 2403.17888): a pixel's ray meets the plane of each surfel exactly,
where 3D splatting linearises. Every surfel meets every pixel, so time and memory grow with surfels * height * width;
there are no tiles, so the tail of a surfel counts wherever its alpha reaches 1/255.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.rotation import quat_to_matrix
from maquette.core.splat import ALPHA_CAP, ALPHA_CUT, STOP

NEAR, FAR = 0.2, 100.0
"""World units along the camera axis. Nothing nearer than NEAR is drawn; both shape the distortion."""
BEYOND = 1e6
"""Hits further than this many times the depth of the surfel's centre are not drawn: rays that miss its plane."""
EDGE_ON = 1e-6
"""Surfels whose plane passes the camera closer than this, in units of their depth, are not drawn."""
THINNEST = 1e-12
"""Standard deviations below this (world units) count as this, so that scale zero is a dot of the low-pass filter."""
WINDOW = 3.0
"""The low-pass filter is centred on the box around this many standard deviations, as in the official code."""


class Images(NamedTuple):
    """What one camera sees; `maquette.kernels.splat2d.Rasterized` says what each image holds."""

    color: Float[Tensor, "height width 3"]
    alpha: Float[Tensor, "height width"]
    depth: Float[Tensor, "height width"]
    median_depth: Float[Tensor, "height width"]
    normal: Float[Tensor, "height width 3"]
    distortion: Float[Tensor, "height width"]


class Hits(NamedTuple):
    """Where the rays of all pixels meet the planes of all surfels."""

    u: Float[Tensor, "height width surfels"]
    v: Float[Tensor, "height width surfels"]
    """In standard deviations along the two tangents."""
    rho: Float[Tensor, "height width surfels"]
    """The square of their length, or twice the squared distance in pixels from the middle, whichever is less."""
    depth: Float[Tensor, "height width surfels"]
    is_hit: Tensor
    """Whether the plane is met in front of the camera; elsewhere the other values mean nothing."""


def intersect(
    transform: Float[Tensor, "surfels 3 3"],
    middle: Float[Tensor, "surfels 2"],
    *,
    height: int,
    width: int,
) -> Hits:
    """Paper, eq. 8 to 11: pixel planes k and l, pulled into the frame of each surfel, meet in its point q = k x l.

    `transform` maps (u, v, 1) to homogeneous pixels. The depth is that of the ray's hit even where the low-pass filter
    won, as in the official code.
    """
    like = {"dtype": transform.dtype, "device": transform.device}
    x = (torch.arange(width, **like) + 0.5)[None, :, None, None]
    y = (torch.arange(height, **like) + 0.5)[:, None, None, None]
    row_x, row_y, row_z = transform.unbind(1)  # (surfels, 3) each
    k, l = torch.broadcast_tensors(x * row_z - row_x, y * row_z - row_y)  # noqa: E741  the paper's letter
    q = torch.linalg.cross(k, l)
    scale = torch.where(q[..., 2] == 0, torch.ones_like(q[..., 2]), q[..., 2]).detach()
    depth = ((q.detach() / scale[..., None]) * row_z.detach()).sum(-1)
    is_hit = (q[..., 2] != 0) & (depth >= NEAR) & (depth <= BEYOND * row_z[:, 2])

    bottom = torch.where(is_hit, q[..., 2], torch.ones_like(scale))  # keeps NaN out of the gradients of misses
    u, v = q[..., 0] / bottom, q[..., 1] / bottom
    depth = u * row_z[:, 0] + v * row_z[:, 1] + row_z[:, 2]
    away = (x[..., 0] - middle[:, 0]).square() + (y[..., 0] - middle[:, 1]).square()
    return Hits(u, v, torch.minimum(u.square() + v.square(), 2 * away), depth, is_hit)


def window(transform: Float[Tensor, "surfels 3 3"]) -> tuple[Tensor, Tensor]:
    """Middle and half size in pixels of the box around three standard deviations (official code).

    A disc that reaches behind the camera has no such box: the middle is then 1e9, where no filter finds it.
    """
    sign = transform.new_tensor([WINDOW**2, WINDOW**2, -1.0])
    row_x, row_y, row_z = transform.unbind(1)
    bottom = (sign * row_z.square()).sum(-1)
    is_whole = bottom < 0
    factor = sign / torch.where(is_whole, bottom, -torch.ones_like(bottom))[:, None]
    middle = torch.stack([(factor * row * row_z).sum(-1) for row in (row_x, row_y)], dim=-1)
    spread = torch.stack([(factor * row.square()).sum(-1) for row in (row_x, row_y)], dim=-1)
    half = (middle.square() - spread).detach().clamp(min=1e-4).sqrt()
    return torch.where(is_whole[:, None], middle, torch.full_like(middle, 1e9)), half


def draw(
    means: Float[Tensor, "surfels 3"],
    quats: Float[Tensor, "surfels 4"],
    scales: Float[Tensor, "surfels 2"],
    opacities: Float[Tensor, " surfels"],
    colors: Float[Tensor, "surfels 3"],
    *,
    camera_from_world: Float[Tensor, "4 4"],
    focal_px: Float[Tensor, " 2"],
    center_px: Float[Tensor, " 2"],
    height: int,
    width: int,
) -> Images:
    """One camera's images, over black: intersect, filter, blend by the depth of the centres."""
    turn, shift = camera_from_world[:3, :3], camera_from_world[:3, 3]
    point = means @ turn.T + shift
    axes = turn @ quat_to_matrix(quats)
    toward = (axes[:, :, 2] * point).sum(-1)  # of the normal; its sign says which side the camera sees
    seen = torch.nonzero((point[:, 2] > NEAR) & (toward.abs() > EDGE_ON * point[:, 2])).squeeze(-1)
    order = seen[torch.argsort(point[seen, 2].detach(), stable=True)]
    normal = torch.where(toward[:, None] > 0, -axes[:, :, 2], axes[:, :, 2]) @ turn
    point, axes, scales, opacities, colors, normal = (
        rows[order] for rows in (point, axes, scales, opacities, colors, normal)
    )

    to_pixels = torch.cat([torch.diag(focal_px), center_px[:, None]], dim=1)
    to_pixels = torch.cat([to_pixels, to_pixels.new_tensor([[0.0, 0.0, 1.0]])])
    tangents = axes[:, :, :2] * scales.clamp(min=THINNEST)[:, None]
    transform = to_pixels @ torch.cat([tangents, point[:, :, None]], dim=-1)
    hits = intersect(transform, window(transform)[0], height=height, width=width)
    alpha = (opacities * torch.exp(-0.5 * hits.rho)).clamp(max=ALPHA_CAP)
    alpha = torch.where(hits.is_hit & (alpha >= ALPHA_CUT), alpha, 0.0)
    return composite(alpha, hits.depth, colors, normal)


def composite(
    alpha: Float[Tensor, "height width surfels"],
    depth: Float[Tensor, "height width surfels"],
    colors: Float[Tensor, "surfels 3"],
    normals: Float[Tensor, "surfels 3"],
) -> Images:
    """Blend front to back, in the order of the rows (paper, eq. 9 and 13; the squared distortion of the official code).

    The median depth is that of the last surfel that was blended while more than half of the light came through.
    """
    # The product over all surfels never grows, so what comes after the one that stops a pixel is off as well.
    alpha = torch.where(torch.cumprod(1 - alpha.detach(), dim=-1) < STOP, torch.zeros_like(alpha), alpha)
    through = torch.cumprod(torch.nn.functional.pad(1 - alpha, (1, 0), value=1.0), dim=-1)[..., :-1]
    weight = alpha * through
    depth = torch.where(alpha > 0, depth, torch.ones_like(depth))
    coverage = weight.sum(-1)
    expected = (weight * depth).sum(-1) / torch.where(coverage > 0, coverage, torch.ones_like(coverage))

    place = torch.arange(1, alpha.shape[-1] + 1, device=alpha.device)
    is_early = (through > 0.5) & (alpha > 0)
    last = torch.nn.functional.pad(torch.where(is_early, place, 0), (1, 0)).amax(-1)
    padded = torch.nn.functional.pad(depth, (1, 0))  # place 0: nothing was blended, depth 0
    median = padded.gather(-1, last[..., None]).squeeze(-1)

    mapped = FAR / (FAR - NEAR) * (1 - NEAR / depth)
    before = [torch.cumsum(part, -1) - part for part in (weight, weight * mapped, weight * mapped.square())]
    spread = mapped.square() * before[0] + before[2] - 2 * mapped * before[1]
    return Images(
        torch.einsum("hwg,gc->hwc", weight, colors),
        coverage,
        expected,
        median,
        torch.einsum("hwg,gc->hwc", weight, normals),
        (weight * spread).sum(-1),
    )
