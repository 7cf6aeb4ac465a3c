"""Numba twin of the blending of pictures on surface points. Each point is one task, so threads change no byte.

One parallel region instead of hundreds of small tensor operations, each of which would wait for its threads on a busy
machine.
"""

import numba
import numpy as np

from maquette.kernels.bake.reference import DOUBTFUL, FACING_POWER, GRAZING, INSIDE


@numba.njit(cache=True, parallel=True, fastmath=False)
def blend_views(points, normals, pictures, depth, camera_from_world, focal_px, center_px):
    """See `reference.blend`; numpy float32 arrays of the same shapes."""
    num_cameras, height, width, _ = pictures.shape
    color = np.zeros((len(points), 3), np.float32)
    total = np.zeros(len(points), np.float32)
    for n in numba.prange(len(points)):
        for c in range(num_cameras):
            m, point, normal = camera_from_world[c], points[n], normals[n]
            xc = m[0, 0] * point[0] + m[0, 1] * point[1] + m[0, 2] * point[2] + m[0, 3]
            yc = m[1, 0] * point[0] + m[1, 1] * point[1] + m[1, 2] * point[2] + m[1, 3]
            z = m[2, 0] * point[0] + m[2, 1] * point[1] + m[2, 2] * point[2] + m[2, 3]
            if not z > 0:
                continue
            u = xc / z * focal_px[c, 0] + center_px[c, 0]
            v = yc / z * focal_px[c, 1] + center_px[c, 1]
            if not (u >= 0 and u < width and v >= 0 and v < height):
                continue
            # The direction to the eye is minus the point in camera axes; the normal is turned into the same axes.
            towards = np.float32(0)
            for i in range(3):
                towards -= normal[i] * (m[0, i] * xc + m[1, i] * yc + m[2, i] * z)
            cosine = towards / np.sqrt(xc * xc + yc * yc + z * z)
            if not cosine > 0:
                continue

            slope = max(cosine, np.float32(GRAZING))
            tangent = np.sqrt(max(np.float32(0), np.float32(1) / (slope * slope) - np.float32(1)))
            allowance = z / focal_px[c, 0] * (np.float32(1) + np.float32(1.5) * tangent)
            row, column = int(v), int(u)
            lowest, highest = np.float32(np.inf), np.float32(0)
            for y in range(max(0, row - 1), min(height, row + 2)):
                for x in range(max(0, column - 1), min(width, column + 2)):
                    here = depth[c, y, x] if depth[c, y, x] > 0 else np.float32(np.inf)
                    lowest, highest = min(lowest, here), max(highest, here)
            surface = depth[c, row, column]
            if surface > 0 and z > surface + allowance:
                continue
            is_clear = highest - lowest <= np.float32(4) * allowance

            left, top = int(np.floor(u - np.float32(0.5))), int(np.floor(v - np.float32(0.5)))
            across, down = u - np.float32(0.5) - left, v - np.float32(0.5) - top
            alpha, red, green, blue = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for y in range(2):
                for x in range(2):
                    pixel = pictures[c, min(max(top + y, 0), height - 1), min(max(left + x, 0), width - 1)]
                    share = (down if y else 1 - down) * (across if x else 1 - across) * pixel[3]
                    alpha += share
                    red += share * pixel[0]
                    green += share * pixel[1]
                    blue += share * pixel[2]
            weight = cosine**FACING_POWER * alpha  # times alpha once more: the colors carry it already
            if not is_clear:
                weight *= np.float32(DOUBTFUL)
            total[n] += weight * alpha
            color[n, 0] += weight * red
            color[n, 1] += weight * green
            color[n, 2] += weight * blue
        if total[n] > 0:
            color[n] /= total[n]
    return color, total


@numba.njit(cache=True, fastmath=False)
def cover(corners_px, faces, size):
    """See `reference.coverage`; float64 corners in texels, one pass over the box of each face."""
    count = np.zeros((size, size), np.int32)
    for f in range(len(faces)):
        a, b, c = corners_px[faces[f, 0]], corners_px[faces[f, 1]], corners_px[faces[f, 2]]
        doubled = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if doubled == 0 or not np.isfinite(doubled):
            continue
        if doubled < 0:
            b, c = c, b
        left = max(0.0, min(a[0], b[0], c[0]) - 0.5)
        right = min(float(size), max(a[0], b[0], c[0]) + 0.5)
        top = max(0.0, min(a[1], b[1], c[1]) - 0.5)
        low = min(float(size), max(a[1], b[1], c[1]) + 0.5)
        ab = INSIDE * np.hypot(b[0] - a[0], b[1] - a[1])
        bc = INSIDE * np.hypot(c[0] - b[0], c[1] - b[1])
        ca = INSIDE * np.hypot(a[0] - c[0], a[1] - c[1])
        for row in range(int(top), int(np.ceil(low))):
            y = row + 0.5
            for column in range(int(left), int(np.ceil(right))):
                x = column + 0.5
                if (
                    (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) > ab
                    and (c[0] - b[0]) * (y - b[1]) - (c[1] - b[1]) * (x - b[0]) > bc
                    and (a[0] - c[0]) * (y - c[1]) - (a[1] - c[1]) * (x - c[0]) > ca
                ):
                    count[row, column] += 1
    return count
