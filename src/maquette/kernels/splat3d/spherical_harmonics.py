"""Colors that depend on the view: real spherical harmonics up to degree 3, in the order and signs of the 3DGS code."""

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput

C0 = 0.28209479177387814
C1 = 0.4886025119029199
C2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
C3 = (
    -0.5900435899266435, 2.890611442640554, -0.4570457994644658, 0.3731763325901154,
    -0.4570457994644658, 1.445305721320277, -0.5900435899266435,
)  # fmt: skip


def sh_basis(directions: Float[Tensor, "*shape 3"], coefficients: int) -> Float[Tensor, "*shape coefficients"]:
    """Values of the first 1, 4, 9 or 16 basis functions along unit directions."""
    if coefficients not in (1, 4, 9, 16):
        raise BadInput(
            f"{coefficients} spherical harmonics; expected 1, 4, 9 or 16", "pad with zeros to the next degree"
        )
    x, y, z = directions.unbind(-1)
    basis = [torch.full_like(x, C0)]
    if coefficients > 1:
        basis += [-C1 * y, C1 * z, -C1 * x]
    if coefficients > 4:
        xx, yy, zz = x * x, y * y, z * z
        basis += [C2[0] * x * y, C2[1] * y * z, C2[2] * (2 * zz - xx - yy), C2[3] * x * z, C2[4] * (xx - yy)]
    if coefficients > 9:
        basis += [
            C3[0] * y * (3 * xx - yy),
            C3[1] * x * y * z,
            C3[2] * y * (4 * zz - xx - yy),
            C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
            C3[4] * x * (4 * zz - xx - yy),
            C3[5] * z * (xx - yy),
            C3[6] * x * (xx - 3 * yy),
        ]
    return torch.stack(basis, dim=-1)


def sh_to_color(
    sh: Float[Tensor, "gaussians coefficients 3"], directions: Float[Tensor, "*shape gaussians 3"]
) -> Float[Tensor, "*shape gaussians 3"]:
    """rgb seen along unit directions (from the camera to the Gaussian): max(0, 0.5 + sum of sh * basis)."""
    basis = sh_basis(directions, sh.shape[1])
    return (0.5 + torch.einsum("...gk,gkc->...gc", basis, sh)).clamp(min=0.0)


def rotate_sh(
    sh: Float[Tensor, "gaussians coefficients 3"], rotation: Float[Tensor, "3 3"]
) -> Float[Tensor, "gaussians coefficients 3"]:
    """Coefficients of the same colors after the Gaussians turned: f'(d) = f(rotation^T d).

    Each band is fitted to its turned self over well spread directions, which is exact because a rotation maps a band
    into itself. Reflections work too. The constant does not turn and keeps its bits; the others must be finite. The
    matrix is found in double precision and applied in that of `sh`.
    """
    points = torch.arange(64, dtype=torch.float64, device=sh.device) + 0.5  # Fibonacci sphere
    height, angle = 1 - points / 32, points * torch.pi * (1 + 5**0.5)
    ring = (1 - height**2).sqrt()
    directions = torch.stack([ring * angle.cos(), ring * angle.sin(), height], dim=-1)
    before = sh_basis(directions, sh.shape[1])
    after = sh_basis(directions @ rotation.double(), sh.shape[1])  # rows times R are R^T d
    bands = [slice(degree**2, (degree + 1) ** 2) for degree in range(4) if degree**2 < sh.shape[1]]
    turn = torch.block_diag(*(torch.linalg.pinv(before[:, band]) @ after[:, band] for band in bands))
    # One product with all bands and channels as columns: many small ones, one for each Gaussian, take ten times longer.
    columns = torch.kron(turn, torch.eye(3, dtype=turn.dtype, device=sh.device)).T.to(sh.dtype)
    turned = (sh.flatten(1) @ columns).unflatten(1, (-1, 3))
    turned[:, 0] = sh[:, 0]
    return turned
