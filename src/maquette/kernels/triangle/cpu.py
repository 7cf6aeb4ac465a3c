"""Numba z-buffer for triangles: which face each pixel sees, at what depth, and where on the face.

One image is one task, so images run in parallel and every image is computed by one thread in face order: the same
bytes whatever the number of threads. Not differentiable, no clipping against the near plane: a face with a vertex
nearer than `NEAR` is dropped whole. Knows tensors, not meshes.
"""

import numba
import numpy as np

NEAR = 1e-3


@numba.njit(cache=True, parallel=True, fastmath=False)
def rasterize_batch(vertices, faces, camera_from_world, focal_px, center_px, height, width):
    """Visibility of one mesh from many cameras.

    vertices (v, 3) float32 world; faces (f, 3) int32; camera_from_world (c, 4, 4) float32 OpenCV; focal_px and
    center_px (c, 2) float32. Returns face (c, h, w) int32 with -1 for background, depth (c, h, w) float32 along the
    camera axis (0 for background) and perspective-correct barycentric coordinates (c, h, w, 3) float32.
    Pixel centres are at +0.5. A pixel on an edge shared by two faces goes to the nearer or the first, never to neither:
    the edge's function has exactly opposite values for the two, since every weight is computed from its own edge.
    """
    cameras, num_vertices, num_faces = camera_from_world.shape[0], vertices.shape[0], faces.shape[0]
    face_index = np.full((cameras, height, width), -1, np.int32)
    depth = np.zeros((cameras, height, width), np.float32)
    barycentric = np.zeros((cameras, height, width, 3), np.float32)
    for c in numba.prange(cameras):
        u = np.empty(num_vertices, np.float32)
        v = np.empty(num_vertices, np.float32)
        inverse_z = np.empty(num_vertices, np.float32)
        m = camera_from_world[c]
        for i in range(num_vertices):
            x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
            zc = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
            if not zc >= NEAR:  # also when it is NaN
                inverse_z[i] = -1.0
                continue
            inverse_z[i] = np.float32(1.0) / zc
            u[i] = focal_px[c, 0] * (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) * inverse_z[i] + center_px[c, 0]
            v[i] = focal_px[c, 1] * (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) * inverse_z[i] + center_px[c, 1]
        nearest = np.zeros((height, width), np.float32)
        for f in range(num_faces):
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            if inverse_z[i] < 0 or inverse_z[j] < 0 or inverse_z[k] < 0:
                continue
            area = (u[j] - u[i]) * (v[k] - v[i]) - (v[j] - v[i]) * (u[k] - u[i])
            if area == 0:
                continue
            left = max(0, int(np.ceil(min(u[i], u[j], u[k]) - 0.5)))
            right = min(width - 1, int(np.floor(max(u[i], u[j], u[k]) - 0.5)))
            top = max(0, int(np.ceil(min(v[i], v[j], v[k]) - 0.5)))
            bottom = min(height - 1, int(np.floor(max(v[i], v[j], v[k]) - 0.5)))
            inverse_area = np.float32(1.0) / area
            for row in range(top, bottom + 1):
                py = np.float32(row + 0.5)
                for column in range(left, right + 1):
                    px = np.float32(column + 0.5)
                    b0 = ((u[j] - px) * (v[k] - py) - (v[j] - py) * (u[k] - px)) * inverse_area
                    b1 = ((u[k] - px) * (v[i] - py) - (v[k] - py) * (u[i] - px)) * inverse_area
                    b2 = ((u[i] - px) * (v[j] - py) - (v[i] - py) * (u[j] - px)) * inverse_area
                    if b0 < 0 or b1 < 0 or b2 < 0:
                        continue
                    w = b0 * inverse_z[i] + b1 * inverse_z[j] + b2 * inverse_z[k]
                    if w <= nearest[row, column]:
                        continue
                    nearest[row, column] = w
                    face_index[c, row, column] = f
                    depth[c, row, column] = np.float32(1.0) / w
                    barycentric[c, row, column, 0] = b0 * inverse_z[i] / w
                    barycentric[c, row, column, 1] = b1 * inverse_z[j] / w
                    barycentric[c, row, column, 2] = b2 * inverse_z[k] / w
    return face_index, depth, barycentric


@numba.njit(cache=True, parallel=True, fastmath=False)
def resolve(face_index, face_colors, samples):
    """Average `samples` x `samples` blocks of face colours into pixels on white.

    face_index (c, h, w) int32; face_colors (c, f, 3) float32 in [0, 255]. Returns (c, h / samples, w / samples, 4)
    uint8: colour on white, then coverage.
    """
    cameras, height, width = face_index.shape
    rgba = np.empty((cameras, height // samples, width // samples, 4), np.uint8)
    share = np.float32(1.0 / (samples * samples))
    for c in numba.prange(cameras):
        for row in range(height // samples):
            for column in range(width // samples):
                r, g, b, hits = np.float32(0), np.float32(0), np.float32(0), 0
                for y in range(row * samples, row * samples + samples):
                    for x in range(column * samples, column * samples + samples):
                        f = face_index[c, y, x]
                        if f >= 0:
                            hits += 1
                            r += face_colors[c, f, 0]
                            g += face_colors[c, f, 1]
                            b += face_colors[c, f, 2]
                empty = np.float32(255 * (samples * samples - hits))
                rgba[c, row, column, 0] = np.uint8((r + empty) * share + np.float32(0.5))
                rgba[c, row, column, 1] = np.uint8((g + empty) * share + np.float32(0.5))
                rgba[c, row, column, 2] = np.uint8((b + empty) * share + np.float32(0.5))
                rgba[c, row, column, 3] = np.uint8(hits * 255 * share + np.float32(0.5))
    return rgba
