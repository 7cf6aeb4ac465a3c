"""The fast twin of `reference.antialias`: Numba loops behind one autograd function. One camera is one job.

Which edge passes between which pixels is found once, in the forward pass. Every camera adds up its own gradients in
pixel order and the cameras are summed afterwards, so threads neither race nor change a byte.
"""

import numba
import numpy as np
import torch
from torch import Tensor

from maquette.core.workers import deal
from maquette.kernels.triangle.cpu import NEAR
from maquette.kernels.triangle.edges import edges_of


class Antialias(torch.autograd.Function):
    """See `maquette.kernels.triangle.antialias`."""

    @staticmethod
    def forward(ctx, images, vertices, faces, index, depth, camera_from_world, focal_px, center_px):
        """The blended images."""
        images, vertices = images.detach().contiguous(), vertices.detach().contiguous()
        lens = [x.detach().contiguous() for x in (camera_from_world, focal_px, center_px)]
        edges = edges_of(faces)
        winner = torch.full((len(images), 2, *index.shape[1:]), -1, dtype=torch.int32)
        screen = vertices.new_empty(len(images), len(vertices), 3)
        deal(project_view, len(images), vertices.numpy(), *(x.numpy() for x in lens), screen.numpy())
        shown = (x.detach().contiguous().numpy() for x in (index, depth))
        deal(find_view, len(images), screen.numpy(), *(x.numpy() for x in edges[:3]), *shown, winner.numpy())
        ctx.save_for_backward(images, screen, edges.ends, winner, *lens)
        blended = images.clone()
        deal(blend_view, len(images), *(x.numpy() for x in (images, screen, edges.ends, winner, blended)))
        return blended

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_blended):
        """Gradients of images and vertices."""
        images, screen, ends, winner, *lens = ctx.saved_tensors
        d_images = d_blended.clone(memory_format=torch.contiguous_format)
        d_vertices = torch.zeros_like(screen)
        given = (images, screen, ends, winner, *lens, d_blended.contiguous(), d_images, d_vertices)
        deal(unblend_view, len(images), *(x.numpy() for x in given))
        return d_images, d_vertices.sum(0), None, None, None, None, None, None


def antialias(
    images: Tensor, vertices: Tensor, faces: Tensor, index: Tensor, depth: Tensor, camera_from_world: Tensor,
    focal_px: Tensor, center_px: Tensor,
) -> Tensor:  # fmt: skip
    """See `maquette.kernels.triangle.antialias`."""
    return Antialias.apply(images, vertices, faces, index, depth, camera_from_world, focal_px, center_px)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def project_view(c, vertices, camera_from_world, focal_px, center_px, screen):
    """Pixel position and depth of every vertex; depth is -1 behind the near plane, and for NaN."""
    m = camera_from_world[c]
    for i in range(len(vertices)):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        depth = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        screen[c, i, 0], screen[c, i, 1], screen[c, i, 2] = 0, 0, -1
        if depth >= NEAR:
            across = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) / depth
            down = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) / depth
            screen[c, i, 0] = focal_px[c, 0] * across + center_px[c, 0]
            screen[c, i, 1] = focal_px[c, 1] * down + center_px[c, 1]
            screen[c, i, 2] = depth


@numba.njit(inline="always")
def _shown(index, depth, c, axis, line, place):
    """Face and depth of a pixel; infinitely far where there is no face."""
    row, column = (place, line) if axis else (line, place)
    face = index[c, row, column]
    return face, (depth[c, row, column] if face >= 0 else np.inf)


@numba.njit(inline="always")
def _passes(screen, ends, c, axis, e, line):
    """Where an edge crosses the centre of a line, as a place along it, and at which share of the edge."""
    a, b, up = ends[e, 0], ends[e, 1], 1 - axis
    share = (line + screen.dtype.type(0.5) - screen[c, a, up]) / (screen[c, b, up] - screen[c, a, up])
    return screen[c, a, axis] + share * (screen[c, b, axis] - screen[c, a, axis]), share


@numba.njit(cache=True, nogil=True, error_model="numpy")
def find_view(c, screen, ends, first, opposite, index, depth, winner):
    """Write into `winner` (cameras, 2, height, width) 2 * edge + (1 if inside is the lower pixel) for every pair.

    Pair (0, row, column) are the pixels at column and column + 1, pair (1, row, column) those at row and row + 1.
    """
    reach = np.full(winner.shape[1:], -1, screen.dtype)  # how far out the silhouette of each pair lies
    for e in range(len(ends)):
        a, b = ends[e, 0], ends[e, 1]
        if screen[c, a, 2] < 0 or screen[c, b, 2] < 0:
            continue
        run_x, run_y = screen[c, b, 0] - screen[c, a, 0], screen[c, b, 1] - screen[c, a, 1]
        side, is_silhouette = 0, True
        for n in range(first[e], first[e + 1]):
            k = opposite[n]
            if screen[c, k, 2] < 0:
                continue
            turn = run_x * (screen[c, k, 1] - screen[c, a, 1]) - run_y * (screen[c, k, 0] - screen[c, a, 0])
            now = 1 if turn > 0 else (-1 if turn < 0 else 0)
            if side * now < 0:
                is_silhouette = False
                break
            side += now
        if side == 0 or not is_silhouette:
            continue
        axis = 0 if abs(run_y) >= abs(run_x) else 1
        if axis == 1:
            side, run_y = -side, run_x  # the transposed picture is a mirror image
        is_lower_inside = (side > 0) == (run_y > 0)
        lines, places = (index.shape[2], index.shape[1]) if axis else (index.shape[1], index.shape[2])
        start, end = screen[c, a, 1 - axis], screen[c, b, 1 - axis]
        top, bottom = min(start, end), max(start, end)
        if not (bottom > 0 and top < lines):
            continue
        low = max(0, int(np.ceil(top - 0.5)))
        high = min(lines - 1, int(np.ceil(bottom - 0.5)) - 1)
        for line in range(low, high + 1):
            across, share = _passes(screen, ends, c, axis, e, line)
            if not (across >= 0.5 and across < places):
                continue
            left = int(np.floor(across - screen.dtype.type(0.5)))
            if left >= places - 1:
                continue
            inside, outside = (left, left + 1) if is_lower_inside else (left + 1, left)
            face, near = _shown(index, depth, c, axis, line, inside)
            other, far = _shown(index, depth, c, axis, line, outside)
            if face == other or not near < far:
                continue
            if not 1 / ((1 - share) / screen[c, a, 2] + share / screen[c, b, 2]) < far:
                continue
            t = across - (left + 0.5) if is_lower_inside else left + 1.5 - across
            row, column = (left, line) if axis else (line, left)
            if t > reach[axis, row, column]:
                reach[axis, row, column] = t
                winner[c, axis, row, column] = 2 * e + (1 if is_lower_inside else 0)


@numba.njit(inline="always")
def _pair(screen, ends, winner, c, axis, row, column):
    """Place of the silhouette between two pixels: edge, t, share of the edge, and target and source pixel."""
    code = winner[c, axis, row, column]
    e, is_lower_inside = code >> 1, code & 1
    line, left = (column, row) if axis else (row, column)
    across, share = _passes(screen, ends, c, axis, e, line)
    half = screen.dtype.type(0.5)
    t = across - (left + half) if is_lower_inside else left + 1 + half - across
    is_lower_target = (t > half) != (is_lower_inside == 1)
    target, source = (left, left + 1) if is_lower_target else (left + 1, left)
    if axis:
        return e, t, share, target, column, source, column
    return e, t, share, row, target, row, source


@numba.njit(cache=True, nogil=True, error_model="numpy")
def blend_view(c, images, screen, ends, winner, blended):
    """Add what silhouettes change."""
    for axis in range(2):
        for row in range(images.shape[1]):
            for column in range(images.shape[2]):
                if winner[c, axis, row, column] < 0:
                    continue
                _, t, _, y, x, from_y, from_x = _pair(screen, ends, winner, c, axis, row, column)
                weight = abs(t - screen.dtype.type(0.5))
                for n in range(images.shape[3]):
                    blended[c, y, x, n] += weight * (images[c, from_y, from_x, n] - images[c, y, x, n])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def unblend_view(
    c, images, screen, ends, winner, camera_from_world, focal_px, center_px, d_blended, d_images, d_vertices
):
    """The transpose of `blend_view`, down to the vertices: `d_vertices` is (cameras, vertices, 3) in world axes."""
    m = camera_from_world[c]
    half = m.dtype.type(0.5)
    for axis in range(2):
        for row in range(images.shape[1]):
            for column in range(images.shape[2]):
                if winner[c, axis, row, column] < 0:
                    continue
                e, t, share, y, x, from_y, from_x = _pair(screen, ends, winner, c, axis, row, column)
                weight, d_weight = abs(t - half), m.dtype.type(0)
                for n in range(images.shape[3]):
                    up = d_blended[c, y, x, n]
                    d_images[c, from_y, from_x, n] += weight * up
                    d_images[c, y, x, n] -= weight * up
                    d_weight += up * (images[c, from_y, from_x, n] - images[c, y, x, n])
                d_across = d_weight if t > half else -d_weight
                if not winner[c, axis, row, column] & 1:
                    d_across = -d_across
                a, b, up = ends[e, 0], ends[e, 1], 1 - axis
                slope = (screen[c, b, axis] - screen[c, a, axis]) / (screen[c, b, up] - screen[c, a, up])
                for end in range(2):
                    i, part = (b, share) if end else (a, 1 - share)
                    du = part * d_across * (-slope if axis else 1)
                    dv = part * d_across * (1 if axis else -slope)
                    z = screen[c, i, 2]
                    dx, dy = du * focal_px[c, 0] / z, dv * focal_px[c, 1] / z
                    dz = -(du * (screen[c, i, 0] - center_px[c, 0]) + dv * (screen[c, i, 1] - center_px[c, 1])) / z
                    for k in range(3):
                        d_vertices[c, i, k] += m[0, k] * dx + m[1, k] * dy + m[2, k] * dz
