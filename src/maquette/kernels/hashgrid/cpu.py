"""The fast twin on the CPU: Numba kernels behind one autograd function. float32 only; same input, same bytes.

Forward, a job is a block of points. Backward, a job is a level: levels share no entry of the table, and one thread adds
up a level's points in their order, so threads neither race nor change a byte.
"""

import numba
import numpy as np
import torch
from torch import Tensor

from maquette.core.errors import Unsupported
from maquette.core.workers import deal
from maquette.kernels.hashgrid.reference import PRIMES, GridShape

BLOCK = 1024
"""Points of a job: their codes and one level of the table stay in the cache of a core."""
_X, _Y, _Z = (np.int64(prime) for prime in PRIMES)


def encode(points: Tensor, table: Tensor, shape: GridShape) -> Tensor:
    """See `maquette.kernels.hashgrid.encode`."""
    if points.dtype != torch.float32 or table.dtype != torch.float32 or points.is_cuda or table.is_cuda:
        raise Unsupported(
            f"the cpu backend got {points.dtype} on {points.device} and {table.dtype} on {table.device}",
            "backend='reference' takes any float type and device",
        )
    return _Encode.apply(points, table, shape)


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points, table, shape):
        points, table = points.detach().contiguous(), table.detach().contiguous()
        ctx.shape = shape
        ctx.save_for_backward(points, table)
        codes = torch.empty(len(points), shape.width)
        deal(forward_block, _blocks(points), points.numpy(), table.numpy(), *_levels(shape), codes.numpy())
        return codes

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_codes):
        points, table = ctx.saved_tensors
        given = (points.numpy(), table.numpy(), *_levels(ctx.shape), d_codes.contiguous().numpy())
        d_points = d_table = None
        if ctx.needs_input_grad[0]:
            d_points = torch.zeros_like(points)
            deal(points_block, _blocks(points), *given, d_points.numpy())
        if ctx.needs_input_grad[1]:
            d_table = torch.zeros_like(table)
            deal(table_level, ctx.shape.levels, *given, d_table.numpy())
        return d_points, d_table, None


def _blocks(points: Tensor) -> int:
    return -(-len(points) // BLOCK)


def _levels(shape: GridShape) -> tuple[np.ndarray, np.ndarray]:
    """(levels,) scales; (levels, 3) resolution, first row, and one less than the entries of a hashed level, else 0."""
    masks = [(1 << shape.log2_entries) - 1 if shape.is_hashed(level) else 0 for level in range(shape.levels)]
    rows = list(zip(shape.resolutions, shape.offsets[:-1], masks, strict=True))
    return np.array(shape.scales, np.float32), np.array(rows, np.int64)


@numba.njit(inline="always")
def _axis(x, scale, resolution):
    """The two grid points around a coordinate, and how much of the second."""
    x = x if x > np.float32(0) else np.float32(0)  # NaN too: an index must not come from it
    x = x if x < np.float32(1) else np.float32(1)
    position = x * scale + np.float32(0.5)
    low = np.int64(position)
    return min(low, resolution - 1), min(low + 1, resolution - 1), position - np.float32(low)


@numba.njit(inline="always")
def _along(y, z, resolution, mask):
    """What the coordinates y and z of a grid point contribute to its row."""
    return (y * _Y) ^ (z * _Z) if mask else resolution * (y + resolution * z)


@numba.njit(inline="always")
def _row(x, along, first, mask):
    """The row of a grid point in the table."""
    return first + (((x * _X) ^ along) & mask) if mask else first + x + along


@numba.njit(cache=True, nogil=True, error_model="numpy")
def forward_block(job, points, table, scales, levels, codes):
    """Write the codes of one block of points."""
    end = min((job + 1) * BLOCK, len(points))
    for level in range(len(scales)):
        scale, resolution, first, mask = scales[level], levels[level, 0], levels[level, 1], levels[level, 2]
        for p in range(job * BLOCK, end):
            x0, x1, wx = _axis(points[p, 0], scale, resolution)
            y0, y1, wy = _axis(points[p, 1], scale, resolution)
            z0, z1, wz = _axis(points[p, 2], scale, resolution)
            one, two = np.float32(0), np.float32(0)
            for corner in range(4):
                y, z = (y1 if corner & 1 else y0), (z1 if corner & 2 else z0)
                weight = (wy if corner & 1 else 1 - wy) * (wz if corner & 2 else 1 - wz)
                along = _along(y, z, resolution, mask)
                a, b = _row(x0, along, first, mask), _row(x1, along, first, mask)
                one += weight * ((1 - wx) * table[a, 0] + wx * table[b, 0])
                two += weight * ((1 - wx) * table[a, 1] + wx * table[b, 1])
            codes[p, 2 * level] = one
            codes[p, 2 * level + 1] = two


@numba.njit(cache=True, nogil=True, error_model="numpy")
def table_level(level, points, table, scales, levels, d_codes, d_table):
    """Add the gradients of one level's entries."""
    scale, resolution, first, mask = scales[level], levels[level, 0], levels[level, 1], levels[level, 2]
    for p in range(len(points)):
        one, two = d_codes[p, 2 * level], d_codes[p, 2 * level + 1]
        if one == 0 and two == 0:
            continue
        x0, x1, wx = _axis(points[p, 0], scale, resolution)
        y0, y1, wy = _axis(points[p, 1], scale, resolution)
        z0, z1, wz = _axis(points[p, 2], scale, resolution)
        for corner in range(4):
            y, z = (y1 if corner & 1 else y0), (z1 if corner & 2 else z0)
            weight = (wy if corner & 1 else 1 - wy) * (wz if corner & 2 else 1 - wz)
            along = _along(y, z, resolution, mask)
            a, b = _row(x0, along, first, mask), _row(x1, along, first, mask)
            d_table[a, 0] += weight * (1 - wx) * one
            d_table[a, 1] += weight * (1 - wx) * two
            d_table[b, 0] += weight * wx * one
            d_table[b, 1] += weight * wx * two


@numba.njit(cache=True, nogil=True, error_model="numpy")
def points_block(job, points, table, scales, levels, d_codes, d_points):
    """Write the gradients of one block of points; 0 along an axis on which the point lies outside the cube."""
    end = min((job + 1) * BLOCK, len(points))
    for level in range(len(scales)):
        scale, resolution, first, mask = scales[level], levels[level, 0], levels[level, 1], levels[level, 2]
        for p in range(job * BLOCK, end):
            one, two = d_codes[p, 2 * level], d_codes[p, 2 * level + 1]
            x0, x1, wx = _axis(points[p, 0], scale, resolution)
            y0, y1, wy = _axis(points[p, 1], scale, resolution)
            z0, z1, wz = _axis(points[p, 2], scale, resolution)
            dx, dy, dz = np.float32(0), np.float32(0), np.float32(0)
            for corner in range(4):
                y, z = (y1 if corner & 1 else y0), (z1 if corner & 2 else z0)
                vy, vz = (wy if corner & 1 else 1 - wy), (wz if corner & 2 else 1 - wz)
                along = _along(y, z, resolution, mask)
                a, b = _row(x0, along, first, mask), _row(x1, along, first, mask)
                left = one * table[a, 0] + two * table[a, 1]
                right = one * table[b, 0] + two * table[b, 1]
                middle = (1 - wx) * left + wx * right
                dx += vy * vz * (right - left)
                dy += (vz if corner & 1 else -vz) * middle
                dz += (vy if corner & 2 else -vy) * middle
            d_points[p, 0] += scale * dx
            d_points[p, 1] += scale * dy
            d_points[p, 2] += scale * dz
    for p in range(job * BLOCK, end):
        for axis in range(3):
            if not 0 <= points[p, axis] <= 1:
                d_points[p, axis] = 0
