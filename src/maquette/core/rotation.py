"""Rotations as quaternions (wxyz) and matrices. Leading axes are free; everything is differentiable."""

import torch
from jaxtyping import Float
from torch import Tensor


def normalize(vectors: Float[Tensor, "*shape axis"]) -> Float[Tensor, "*shape axis"]:
    """Vectors of unit length along the last axis; a zero vector stays zero, with zero gradient and no NaN."""
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / length.clamp(min=torch.finfo(vectors.dtype).tiny)


def quat_to_matrix(quats: Float[Tensor, "*shape 4"]) -> Float[Tensor, "*shape 3 3"]:
    """Rotation matrices of quaternions (wxyz) of any length; the zero quaternion gives the identity."""
    w, x, y, z = normalize(quats).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def matrix_to_quat(matrices: Float[Tensor, "*shape 3 3"]) -> Float[Tensor, "*shape 4"]:
    """Unit quaternions (wxyz, w >= 0) of rotation matrices (Shepperd 1978: divide by the largest component)."""
    m = matrices.flatten(-2).unbind(-1)
    xx, yy, zz = m[0], m[4], m[8]
    # Row k is the wanted quaternion times four times its component k, so the row of the largest component is safe.
    rows = torch.stack([
        torch.stack([1 + xx + yy + zz, m[7] - m[5], m[2] - m[6], m[3] - m[1]], dim=-1),
        torch.stack([m[7] - m[5], 1 + xx - yy - zz, m[3] + m[1], m[2] + m[6]], dim=-1),
        torch.stack([m[2] - m[6], m[3] + m[1], 1 - xx + yy - zz, m[7] + m[5]], dim=-1),
        torch.stack([m[3] - m[1], m[2] + m[6], m[7] + m[5], 1 - xx - yy + zz], dim=-1),
    ], dim=-2)  # fmt: skip
    largest = rows.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    quats = normalize(rows.take_along_dim(largest[..., None, None], dim=-2).squeeze(-2))
    return torch.where(quats[..., :1] < 0, -quats, quats)


def quat_multiply(left: Float[Tensor, "*shape 4"], right: Float[Tensor, "*#shape 4"]) -> Float[Tensor, "*out 4"]:
    """Hamilton product (wxyz): the rotation that applies `right` first, then `left`. Leading axes broadcast."""
    aw, ax, ay, az = left.unbind(-1)
    bw, bx, by, bz = right.unbind(-1)
    return torch.stack([
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    ], dim=-1)  # fmt: skip
