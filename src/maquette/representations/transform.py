"""Clouds moved by x -> A x + b, exactly: centres, covariances and view-dependent colors. Knows no selections.

A similarity turns every Gaussian as a whole. Any other map bends its ellipsoid, and `A R S S R^T A^T` is taken apart
again into a rotation and scales (gaussian splatting as in Kerbl et al. 2023, whose covariance is `R S S R^T`).
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.core.rotation import matrix_to_quat, normalize, quat_multiply, quat_to_matrix
from maquette.kernels.splat3d.spherical_harmonics import rotate_sh
from maquette.representations.gaussians import GaussianCloud

_SWEEPS = 8  # one-sided Jacobi converges quadratically: five sweeps reach double precision, whatever the matrix
_THINNEST = -80.0  # logarithm: an axis thinner than e^-80 of the longest one counts as that thin


def transform(
    cloud: GaussianCloud, linear: Float[Tensor, "3 3"], offset: Float[Tensor, " 3"] | None = None
) -> GaussianCloud:
    """Every Gaussian after `x -> linear x + offset` (world units), computed in double precision.

    Means move, covariances become `A Sigma A^T`, and colors turn with the orthogonal factor of A's polar decomposition,
    reflections included. Opacities stay. What the map does not touch keeps its bits: a shift changes means only.
    Raises BadInput for a map that is not finite or that flattens space.
    """
    device = cloud.means.device
    linear = linear.detach().to(device, torch.float64)
    offset = linear.new_zeros(3) if offset is None else offset.detach().to(linear)
    _check(linear, offset)
    means = (cloud.means.double() @ linear.T + offset).to(cloud.means)
    if torch.equal(linear, torch.eye(3, dtype=linear.dtype, device=device)):
        return replace(cloud, means=(cloud.means.double() + offset).to(cloud.means))
    left, stretch, right = torch.linalg.svd(linear)
    turn = left @ right
    if float(stretch[0] - stretch[2]) <= 1e-12 * float(stretch[0]):  # a similarity: no ellipsoid changes its shape
        # A reflected ellipsoid is the one that minus the reflection, a rotation, turns.
        rotation = turn * torch.linalg.det(turn).sign()
        quats = quat_multiply(matrix_to_quat(rotation).expand(len(cloud), 4), _unit(cloud.quats))
        log_scales = cloud.log_scales.double() + stretch.mean().log()
    else:
        quats, log_scales = _bend(cloud, linear)
    sh = rotate_sh(cloud.sh, turn) if cloud.sh_degree > 0 else cloud.sh
    return replace(cloud, means=means, quats=quats.to(cloud.quats), log_scales=log_scales.to(cloud.log_scales), sh=sh)


def about(linear: Float[Tensor, "3 3"], pivot: Float[Tensor, " 3"]) -> tuple[Float[Tensor, "3 3"], Float[Tensor, " 3"]]:
    """`linear` and the offset that together leave `pivot` (world units) where it is."""
    return linear, pivot - linear @ pivot


def _check(linear: Float[Tensor, "3 3"], offset: Float[Tensor, " 3"]) -> None:
    if not (torch.isfinite(linear).all() and torch.isfinite(offset).all()):
        raise BadInput("the transform holds NaN or infinity; expected finite numbers", "check the numbers given")
    sizes = torch.linalg.svdvals(linear)
    if not float(sizes[2]) > 1e-9 * float(sizes[0]):
        raise BadInput(
            f"the transform flattens space (it scales by {', '.join(f'{size:.3g}' for size in sizes.tolist())})",
            "scale by factors that are not zero",
        )


def _unit(quats: Float[Tensor, "gaussians 4"]) -> Float[Tensor, "gaussians 4"]:
    """In double precision, the zero quaternion as no rotation."""
    unit = normalize(quats.double())
    none = unit.new_tensor([1.0, 0.0, 0.0, 0.0])
    return torch.where((unit == 0).all(dim=-1, keepdim=True), none, unit)


def _bend(
    cloud: GaussianCloud, linear: Float[Tensor, "3 3"]
) -> tuple[Float[Tensor, "gaussians 4"], Float[Tensor, "gaussians 3"]]:
    """Quaternions and log-scales of `A R diag(s)` taken apart by one-sided Jacobi rotations (Hestenes 1958).

    Its columns are turned against one another until they are orthogonal: their lengths are the scales, their
    directions the rotation. All rows at once, fifty times faster than a decomposition each; and no axis changes places.
    """
    longest = cloud.log_scales.double().amax(dim=-1, keepdim=True)
    scales = (cloud.log_scales.double() - longest).clamp(min=_THINNEST).exp()
    matrices = linear @ quat_to_matrix(_unit(cloud.quats)) * scales[:, None, :]
    columns = list(matrices.permute(2, 1, 0).contiguous().unbind(0))  # three of shape (3, gaussians)
    for _ in range(_SWEEPS):
        was_skew = [_turn(columns, p, q) for p, q in ((0, 1), (0, 2), (1, 2))]
        if not any(was_skew):
            break
    lengths = torch.stack([column.square().sum(dim=0).sqrt() for column in columns])  # faster than a norm
    x, y, z = (column / length for column, length in zip(columns, lengths, strict=True))
    z = z * (torch.linalg.cross(x, y, dim=0) * z).sum(dim=0).sign()  # a reflected axis spans the same ellipsoid
    return matrix_to_quat(torch.stack([x, y, z], dim=-1).movedim(0, 1)), lengths.T.log() + longest


def _turn(columns: list[Tensor], p: int, q: int) -> bool:
    """Make two columns orthogonal in every row; False if they were."""
    a, b, c = (columns[p] ** 2).sum(0), (columns[q] ** 2).sum(0), (columns[p] * columns[q]).sum(0)
    is_skew = c.abs() > 1e-13 * (a * b).sqrt()  # an angle; what is left enters the lengths squared
    if not bool(is_skew.any()):
        return False
    zeta = (b - a) / (2 * torch.where(is_skew, c, 1.0))
    sign = torch.where(zeta < 0, -1.0, 1.0)
    tangent = torch.where(is_skew, sign / (zeta.abs() + (1 + zeta**2).sqrt()), 0.0)
    cosine = (1 + tangent**2).rsqrt()
    columns[p], columns[q] = (
        cosine * (columns[p] - tangent * columns[q]),
        cosine * (columns[q] + tangent * columns[p]),
    )
    return True
