"""The fast twin of `reference.interpolate`: Numba loops behind one autograd function. One camera is one job.

Every camera adds up its own gradients in pixel order and the cameras are summed afterwards, so threads neither race nor
change a byte. Works in the float type of its arguments.
"""

import numba
import numpy as np
import torch
from torch import Tensor

from maquette.core.workers import deal


class Interpolate(torch.autograd.Function):
    """See `maquette.kernels.triangle.interpolate`."""

    @staticmethod
    def forward(ctx, attributes, vertices, faces, index, camera_from_world, focal_px, center_px):
        """Attributes under every pixel."""
        given = [x.detach().contiguous() for x in (attributes, vertices, faces, index)]
        given += [x.detach().contiguous() for x in (camera_from_world, focal_px, center_px)]
        ctx.save_for_backward(*given)
        image = attributes.new_zeros(*index.shape, attributes.shape[1])
        deal(forward_view, len(index), *(x.numpy() for x in given), image.numpy())
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_image):
        """Gradients of attributes and vertices."""
        given = ctx.saved_tensors
        attributes, vertices, _, index = given[:4]
        d_attributes = attributes.new_zeros(len(index), *attributes.shape)
        d_vertices = vertices.new_zeros(len(index), *vertices.shape)
        arrays = (x.numpy() for x in (*given, d_image.contiguous(), d_attributes, d_vertices))
        deal(backward_view, len(index), *arrays, ctx.needs_input_grad[1])
        return d_attributes.sum(0), d_vertices.sum(0), None, None, None, None, None


def interpolate(
    attributes: Tensor, vertices: Tensor, faces: Tensor, index: Tensor, camera_from_world: Tensor, focal_px: Tensor,
    center_px: Tensor,
) -> Tensor:  # fmt: skip
    """See `maquette.kernels.triangle.interpolate`."""
    return Interpolate.apply(attributes, vertices, faces, index, camera_from_world, focal_px, center_px)


@numba.njit(inline="always")
def _beside_ray(vertices, i, m, ray_x, ray_y):
    """What a vertex lies beside the ray (ray_x, ray_y, 1), in camera axes."""
    x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
    z_camera = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
    return (
        m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3] - z_camera * ray_x,
        m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3] - z_camera * ray_y,
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def forward_view(c, attributes, vertices, faces, index, camera_from_world, focal_px, center_px, image):
    """Fill `image` (cameras, height, width, channels)."""
    m = camera_from_world[c]
    for row in range(index.shape[1]):
        for column in range(index.shape[2]):
            f = index[c, row, column]
            if f < 0:
                continue
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            ray_x = (column + m.dtype.type(0.5) - center_px[c, 0]) / focal_px[c, 0]
            ray_y = (row + m.dtype.type(0.5) - center_px[c, 1]) / focal_px[c, 1]
            ax, ay = _beside_ray(vertices, i, m, ray_x, ray_y)
            bx, by = _beside_ray(vertices, j, m, ray_x, ray_y)
            cx, cy = _beside_ray(vertices, k, m, ray_x, ray_y)
            wa, wb, wc = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
            total = wa + wb + wc
            if total == 0:
                wa = wb = wc = m.dtype.type(1)
                total = wa + wb + wc
            wa, wb, wc = wa / total, wb / total, wc / total
            for channel in range(attributes.shape[1]):
                value = wa * attributes[i, channel] + wb * attributes[j, channel] + wc * attributes[k, channel]
                image[c, row, column, channel] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def backward_view(
    c, attributes, vertices, faces, index, camera_from_world, focal_px, center_px, d_image, d_attributes, d_vertices,
    moves,
):  # fmt: skip
    """Add to `d_attributes` (cameras, vertices, channels) and, if `moves`, to `d_vertices` (cameras, vertices, 3)."""
    m = camera_from_world[c]
    corner = np.empty(3, np.int64)
    q = np.empty((3, 2), m.dtype)
    weight = np.empty(3, m.dtype)
    d_weight = np.empty(3, m.dtype)
    for row in range(index.shape[1]):
        for column in range(index.shape[2]):
            f = index[c, row, column]
            if f < 0:
                continue
            ray_x = (column + m.dtype.type(0.5) - center_px[c, 0]) / focal_px[c, 0]
            ray_y = (row + m.dtype.type(0.5) - center_px[c, 1]) / focal_px[c, 1]
            for n in range(3):
                corner[n] = faces[f, n]
                q[n, 0], q[n, 1] = _beside_ray(vertices, corner[n], m, ray_x, ray_y)
            total = m.dtype.type(0)
            for n in range(3):
                following, last = (n + 1) % 3, (n + 2) % 3
                weight[n] = q[following, 0] * q[last, 1] - q[following, 1] * q[last, 0]
                total += weight[n]
            flat = total == 0
            for n in range(3):
                weight[n] = m.dtype.type(1) / 3 if flat else weight[n] / total
                d_weight[n] = 0
            mean = m.dtype.type(0)
            for n in range(3):
                for channel in range(attributes.shape[1]):
                    up = d_image[c, row, column, channel]
                    d_attributes[c, corner[n], channel] += weight[n] * up
                    d_weight[n] += attributes[corner[n], channel] * up
                mean += weight[n] * d_weight[n]
            if flat or not moves:
                continue
            for n in range(3):
                d_weight[n] = (d_weight[n] - mean) / total
            for n in range(3):  # weight n holds q of the two others; so q of corner n is in weights n + 1 and n + 2
                following, last = (n + 1) % 3, (n + 2) % 3
                dx = d_weight[last] * q[following, 1] - d_weight[following] * q[last, 1]
                dy = d_weight[following] * q[last, 0] - d_weight[last] * q[following, 0]
                dz = -ray_x * dx - ray_y * dy
                for axis in range(3):
                    d_vertices[c, corner[n], axis] += m[0, axis] * dx + m[1, axis] * dy + m[2, axis] * dz
