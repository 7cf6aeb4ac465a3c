"""Splatting in plain torch: slow, obvious, any float type, differentiable everywhere. The specification of its twins.

EWA projection (Zwicker et al. 2001) and compositing as in 3DGS (Kerbl et al. 2023) with the conventions of gsplat.
Every Gaussian meets every pixel, so time and memory grow with gaussians * height * width; there are no tiles.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.rotation import normalize, quat_to_matrix
from maquette.core.splat import ALPHA_CAP, ALPHA_CUT, STOP
from maquette.kernels.splat3d.spherical_harmonics import sh_to_color

NEAR = 0.01
"""Gaussians whose centre is not further than this along the camera axis are not drawn (world units)."""
LOW_PASS = 0.3
"""Added to the diagonal of the projected covariance (px^2), so that nothing is thinner than a pixel."""


class Splats(NamedTuple):
    """Gaussians as one camera sees them."""

    mean: Float[Tensor, "gaussians 2"]
    """Pixels."""
    conic: Float[Tensor, "gaussians 3"]
    """A, B, C of the inverse covariance [[A, B], [B, C]] (1 / px^2)."""
    depth: Float[Tensor, " gaussians"]
    color: Float[Tensor, "gaussians 3"]
    normal: Float[Tensor, "gaussians 3"]
    half_size: Float[Tensor, "gaussians 2"]
    """Half the box around the ellipse where alpha reaches 1/255 (px); zero where the Gaussian cannot be seen."""


def project(
    means: Float[Tensor, "gaussians 3"],
    quats: Float[Tensor, "gaussians 4"],
    scales: Float[Tensor, "gaussians 3"],
    opacities: Float[Tensor, " gaussians"],
    sh: Float[Tensor, "gaussians coefficients 3"],
    *,
    camera_from_world: Float[Tensor, "4 4"],
    focal_px: Float[Tensor, " 2"],
    center_px: Float[Tensor, " 2"],
    height: int,
    width: int,
) -> Splats:
    """EWA splatting of every Gaussian into one camera; values of Gaussians behind the near plane mean nothing."""
    turn, shift = camera_from_world[:3, :3], camera_from_world[:3, 3]
    point = means @ turn.T + shift
    depth = point[:, 2]
    z = torch.where(depth > NEAR, depth, torch.ones_like(depth))  # keeps NaN out of the gradients of hidden rows
    ratio = point[:, :2] / z[:, None]
    mean = focal_px * ratio + center_px

    # The Jacobian is linearised no further out than 30 % of half an image beyond the border, as in gsplat.
    size = focal_px.new_tensor([width, height])
    slack = 0.3 * size / (2 * focal_px)
    slope = torch.clamp(ratio, -center_px / focal_px - slack, (size - center_px) / focal_px + slack)
    along = torch.diag_embed(focal_px / z[:, None])  # (gaussians, 2, 2)
    jacobian = torch.cat([along, (-focal_px * slope / z[:, None])[..., None]], dim=-1)

    rotation = quat_to_matrix(quats)
    root = jacobian @ turn @ (rotation * scales[:, None, :])  # (gaussians, 2, 3): covariance = root root^T
    covariance = root @ root.mT
    a, b, c = covariance[:, 0, 0] + LOW_PASS, covariance[:, 0, 1], covariance[:, 1, 1] + LOW_PASS
    determinant = a * c - b * b
    conic = torch.stack([c, -b, a], dim=-1) / determinant[:, None]

    # alpha >= 1/255 exactly where the squared Mahalanobis distance is at most 2 ln(255 opacity).
    reach = 2 * torch.log((opacities.detach() / ALPHA_CUT).clamp(min=1e-30))
    half_size = (reach.clamp(min=0)[:, None] * torch.stack([a, c], dim=-1).detach()).sqrt()
    touches = ((mean + half_size > 0) & (mean - half_size < size)).all(dim=-1)
    is_visible = (depth > NEAR) & (reach > 0) & (determinant > 0) & touches
    half_size = torch.where(is_visible[:, None], half_size, torch.zeros_like(half_size))

    eye = -turn.T @ shift
    direction = normalize(means - eye)
    normal = facing_normals(rotation, scales, means, eye[None])[0]
    return Splats(mean, conic, depth, sh_to_color(sh, direction), normal, half_size)


def facing_normals(
    rotation: Float[Tensor, "gaussians 3 3"],
    scales: Float[Tensor, "gaussians 3"],
    means: Float[Tensor, "gaussians 3"],
    eyes: Float[Tensor, "cameras 3"],
) -> Float[Tensor, "cameras gaussians 3"]:
    """The shortest axis of every Gaussian in the world, with the sign that turns it towards each camera."""
    shortest = rotation.take_along_dim(scales.argmin(dim=-1)[:, None, None], dim=-1).squeeze(-1)
    faces_away = (shortest * (means - eyes[:, None])).sum(dim=-1, keepdim=True) > 0
    return torch.where(faces_away, -shortest, shortest)


def composite(
    splats: Splats, opacities: Float[Tensor, " gaussians"], *, height: int, width: int
) -> tuple[
    Float[Tensor, "height width 3"],
    Float[Tensor, "height width"],
    Float[Tensor, "height width"],
    Float[Tensor, "height width 3"],
]:
    """Blend front to back: color over black, alpha, expected depth, normal."""
    mean, conic, depth, color, normal, half_size = splats
    seen = torch.nonzero(half_size[:, 0] > 0).squeeze(-1)
    order = seen[torch.argsort(depth[seen].detach(), stable=True)]
    mean, conic, depth, color, normal = (part[order] for part in (mean, conic, depth, color, normal))

    x = torch.arange(width, dtype=mean.dtype, device=mean.device) + 0.5
    y = torch.arange(height, dtype=mean.dtype, device=mean.device) + 0.5
    dx = (mean[:, 0, None] - x)[:, None, :]  # (gaussians, 1, width)
    dy = (mean[:, 1, None] - y)[:, :, None]
    a, b, c = conic[:, :, None, None].unbind(1)
    power = -0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy
    alpha = (opacities[order][:, None, None] * power.exp()).clamp(max=ALPHA_CAP)
    alpha = torch.where(alpha < ALPHA_CUT, torch.zeros_like(alpha), alpha)
    # The product over all Gaussians never grows, so what comes after the one that stops a pixel is off as well.
    alpha = torch.where(torch.cumprod(1 - alpha.detach(), dim=0) < STOP, torch.zeros_like(alpha), alpha)
    through = torch.cumprod(1 - alpha, dim=0)
    weight = alpha * torch.cat([torch.ones_like(through[:1]), through[:-1]])

    coverage = weight.sum(dim=0)
    is_covered = coverage > 0
    distance = torch.einsum("ghw,g->hw", weight, depth)
    distance = torch.where(is_covered, distance / torch.where(is_covered, coverage, torch.ones_like(coverage)), 0.0)
    return (
        torch.einsum("ghw,gc->hwc", weight, color),
        coverage,
        distance,
        torch.einsum("ghw,gc->hwc", weight, normal),
    )
