"""Spherical harmonics to colors and back, sixteen Gaussians at a time; compiled only for clouds of degree 1 or more."""

import numpy as np
import torch
from torch import Tensor

from maquette.core.lanes import WIDTH, compiled, fma, larger, load, sqrt, store, where
from maquette.core.splat.columns import copy_columns, copy_rows, jobs, read3, take_rows, write3
from maquette.core.workers import flat, spread
from maquette.kernels.splat3d.spherical_harmonics import C0, C1, C2, C3

C20, C21, C22, C23, C24 = C2
C30, C31, C32, C33, C34, C35, C36 = C3


@compiled
def _direction(x, y, z, eyes, view):
    """Unit vector from the eye, and the inverse of the distance."""
    x, y, z = x - eyes[view * 3], y - eyes[view * 3 + 1], z - eyes[view * 3 + 2]
    inverse = 1.0 / larger(sqrt(fma(x, x, fma(y, y, z * z))), 1e-30)
    return x * inverse, y * inverse, z * inverse, inverse


@compiled
def _basis(x, y, z, count, table):
    """Write the first `count` basis functions as columns."""
    store(table, 0, C0)
    if count > 1:
        store(table, 1 * WIDTH, -C1 * y)
        store(table, 2 * WIDTH, C1 * z)
        store(table, 3 * WIDTH, -C1 * x)
    xx, yy, zz = x * x, y * y, z * z
    if count > 4:
        store(table, 4 * WIDTH, C20 * x * y)
        store(table, 5 * WIDTH, C21 * y * z)
        store(table, 6 * WIDTH, C22 * (2 * zz - xx - yy))
        store(table, 7 * WIDTH, C23 * x * z)
        store(table, 8 * WIDTH, C24 * (xx - yy))
    if count > 9:
        store(table, 9 * WIDTH, C30 * y * (3 * xx - yy))
        store(table, 10 * WIDTH, C31 * x * y * z)
        store(table, 11 * WIDTH, C32 * y * (4 * zz - xx - yy))
        store(table, 12 * WIDTH, C33 * z * (2 * zz - 3 * xx - 3 * yy))
        store(table, 13 * WIDTH, C34 * x * (4 * zz - xx - yy))
        store(table, 14 * WIDTH, C35 * z * (xx - yy))
        store(table, 15 * WIDTH, C36 * x * (xx - 3 * yy))


@compiled
def _slope(x, y, z, count, g):
    """Gradient with respect to the direction of the sum of basis function k times column k of g."""
    dx, dy, dz = -C1 * load(g, 3 * WIDTH), -C1 * load(g, WIDTH), C1 * load(g, 2 * WIDTH)
    if count > 4:
        g4, g5, g6 = C20 * load(g, 4 * WIDTH), C21 * load(g, 5 * WIDTH), C22 * load(g, 6 * WIDTH)
        g7, g8 = C23 * load(g, 7 * WIDTH), C24 * load(g, 8 * WIDTH)
        dx = dx + y * g4 + z * g7 + 2 * x * (g8 - g6)
        dy = dy + x * g4 + z * g5 - 2 * y * (g8 + g6)
        dz = dz + y * g5 + x * g7 + 4 * z * g6
    if count > 9:
        xx, yy, zz, xy, xz, yz = x * x, y * y, z * z, x * y, x * z, y * z
        g9, g10, g11 = C30 * load(g, 9 * WIDTH), C31 * load(g, 10 * WIDTH), C32 * load(g, 11 * WIDTH)
        g12, g13, g14 = C33 * load(g, 12 * WIDTH), C34 * load(g, 13 * WIDTH), C35 * load(g, 14 * WIDTH)
        g15 = C36 * load(g, 15 * WIDTH)
        dx = dx + 6 * xy * g9 + yz * g10 - 2 * xy * g11 - 6 * xz * g12
        dx = dx + (4 * zz - 3 * xx - yy) * g13 + 2 * xz * g14 + 3 * (xx - yy) * g15
        dy = dy + 3 * (xx - yy) * g9 + xz * g10 + (4 * zz - xx - 3 * yy) * g11 - 6 * yz * g12
        dy = dy - 2 * xy * g13 - 2 * yz * g14 - 6 * xy * g15
        dz = dz + xy * g10 + 8 * yz * g11 + 3 * (2 * zz - xx - yy) * g12 + 8 * xz * g13 + (xx - yy) * g14
    return dx, dy, dz


@compiled
def shade(counter, means, sh, eyes, count, colors):
    """Colors (cameras, Gaussians, 3) of flat tables."""
    n, views = means.size // 3, eyes.size // 3
    point, basis, table = np.empty(48, np.float32), np.empty(256, np.float32), np.empty(48 * WIDTH, np.float32)
    while True:
        start, end = take_rows(counter, n)
        if start >= end:
            break
        for first in range(start, end, WIDTH):
            px, py, pz = read3(means, first, n, point)
            copy_columns(sh, 3 * count, first, n, table)
            for view in range(views):
                x, y, z, _ = _direction(px, py, pz, eyes, view)
                _basis(x, y, z, count, basis)
                red = green = blue = x * 0.0 + 0.5
                for k in range(count):
                    value = load(basis, k * WIDTH)
                    red = fma(value, load(table, 3 * k * WIDTH), red)
                    green = fma(value, load(table, (3 * k + 1) * WIDTH), green)
                    blue = fma(value, load(table, (3 * k + 2) * WIDTH), blue)
                red, green, blue = larger(red, 0.0), larger(green, 0.0), larger(blue, 0.0)
                write3(red, green, blue, first, n, point, colors[view * 3 * n : (view + 1) * 3 * n])


@compiled
def shade_backward(counter, means, sh, eyes, count, colors, d_colors, d_means, d_sh):
    """Gradients of means (through the direction) and coefficients, summed over cameras in order."""
    n, views = means.size // 3, eyes.size // 3
    point, basis, slopes = np.empty(48, np.float32), np.empty(256, np.float32), np.empty(256, np.float32)
    table, sums = np.empty(48 * WIDTH, np.float32), np.empty(48 * WIDTH, np.float32)
    while True:
        start, end = take_rows(counter, n)
        if start >= end:
            break
        for first in range(start, end, WIDTH):
            px, py, pz = read3(means, first, n, point)
            copy_columns(sh, 3 * count, first, n, table)
            for at in range(0, 3 * count * WIDTH, WIDTH):
                store(sums, at, 0.0)
            gx = gy = gz = px * 0.0
            for view in range(views):
                x, y, z, inverse = _direction(px, py, pz, eyes, view)
                _basis(x, y, z, count, basis)
                red, green, blue = read3(colors[view * 3 * n : (view + 1) * 3 * n], first, n, point)
                copy_columns(d_colors[view * 3 * n : (view + 1) * 3 * n], 3, first, n, point)
                red = where(red > 0.0, load(point, 0), 0.0)
                green = where(green > 0.0, load(point, 16), 0.0)
                blue = where(blue > 0.0, load(point, 32), 0.0)
                for k in range(count):
                    at, value = 3 * k * WIDTH, load(basis, k * WIDTH)
                    store(sums, at, fma(value, red, load(sums, at)))
                    store(sums, at + 16, fma(value, green, load(sums, at + 16)))
                    store(sums, at + 32, fma(value, blue, load(sums, at + 32)))
                    slope = fma(red, load(table, at), fma(green, load(table, at + 16), blue * load(table, at + 32)))
                    store(slopes, k * WIDTH, slope)
                dx, dy, dz = _slope(x, y, z, count, slopes)
                along = x * dx + y * dy + z * dz
                gx, gy, gz = (
                    gx + (dx - x * along) * inverse,
                    gy + (dy - y * along) * inverse,
                    gz + (dz - z * along) * inverse,
                )
            write3(gx, gy, gz, first, n, point, d_means)
            copy_rows(sums, 3 * count, first, n, d_sh)


class PlainColors(torch.autograd.Function):
    """Colors (1, gaussians, 3) of degree 0, the same for every eye; by numpy, which leaves torch's threads asleep."""

    @staticmethod
    def forward(ctx, sh: Tensor) -> Tensor:
        colors = torch.from_numpy(np.maximum(sh.detach().numpy() * np.float32(C0) + np.float32(0.5), 0)).transpose(0, 1)
        ctx.save_for_backward(colors)
        return colors

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_colors: Tensor) -> Tensor:
        """The gradient of the coefficients; none where the color was clamped at 0."""
        (colors,) = ctx.saved_tensors
        return torch.from_numpy(
            np.where(colors.numpy() > 0, d_colors.numpy() * np.float32(C0), np.float32(0))
        ).transpose(0, 1)


class Colors(torch.autograd.Function):
    """Colors (cameras, gaussians, 3) of harmonics (gaussians, 4 or more, 3) seen from eyes (cameras, 3)."""

    @staticmethod
    def forward(ctx, means: Tensor, sh: Tensor, eyes: Tensor) -> Tensor:
        colors = torch.empty(len(eyes), len(means), 3)
        spread(shade, jobs(len(means)), *map(flat, (means, sh, eyes)), sh.shape[1], flat(colors))
        ctx.save_for_backward(means, sh, eyes, colors)
        return colors

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_colors: Tensor) -> tuple[Tensor, Tensor, None]:
        """The gradients of means and coefficients; eyes have none."""
        means, sh, eyes, colors = ctx.saved_tensors
        d_means, d_sh = torch.empty(len(means), 3), torch.empty(sh.shape)
        tables = (*map(flat, (means, sh, eyes)), sh.shape[1], *map(flat, (colors, d_colors, d_means, d_sh)))
        spread(shade_backward, jobs(len(means)), *tables)
        return d_means, d_sh, None
