"""The specification of the density grid in plain torch: every Gaussian is tried at every point. Any float type."""

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.rotation import quat_to_matrix

CUT = 1e-3
"""A Gaussian adds nothing where its density is below this; it bounds how far each one reaches."""


def evaluate(
    means: Float[Tensor, "gaussians 3"],
    quats: Float[Tensor, "gaussians 4"],
    scales: Float[Tensor, "gaussians 3"],
    opacities: Float[Tensor, " gaussians"],
    origin: Float[Tensor, " 3"],
    step: float,
    shape: tuple[int, int, int],
) -> Float[Tensor, "x y z"]:
    """d(p) = sum_i o_i exp(-1/2 (p - mean_i)^T Sigma_i^-1 (p - mean_i)) at p = origin + step * (x, y, z)."""
    axes = [origin[axis] + step * torch.arange(shape[axis], dtype=means.dtype) for axis in range(3)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    local = torch.einsum("xyzgi,gij->xyzgj", points[..., None, :] - means, quat_to_matrix(quats))
    values = opacities * torch.exp(-0.5 * (local / scales).square().sum(-1))
    return torch.where(values >= CUT, values, 0.0).sum(-1)
