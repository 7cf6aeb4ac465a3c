"""Numba density grid: each Gaussian visits only the grid points within its reach.

One slab of equal x is one task and adds its Gaussians in row order, so threads change no byte.
"""

import numba
import numpy as np


@numba.njit(cache=True, parallel=True, fastmath=True)
def add_gaussians(means, precisions, opacities, reach, half_size, origin, step, out):
    """Add Gaussians to `out` (x, y, z) float32.

    means (g, 3); precisions (g, 3, 3) inverse covariances; reach (g,) the squared Mahalanobis distance beyond which a
    Gaussian adds nothing; half_size (g, 3) half the box around that ellipsoid; all float32 in world units.
    """
    for x in numba.prange(out.shape[0]):
        px = origin[0] + step * np.float32(x)
        for g in range(len(means)):
            dx = px - means[g, 0]
            if abs(dx) > half_size[g, 0]:
                continue
            first_y = max(0, int(np.ceil((means[g, 1] - half_size[g, 1] - origin[1]) / step)))
            last_y = min(out.shape[1] - 1, int(np.floor((means[g, 1] + half_size[g, 1] - origin[1]) / step)))
            first_z = max(0, int(np.ceil((means[g, 2] - half_size[g, 2] - origin[2]) / step)))
            last_z = min(out.shape[2] - 1, int(np.floor((means[g, 2] + half_size[g, 2] - origin[2]) / step)))
            p = precisions[g]
            for y in range(first_y, last_y + 1):
                dy = origin[1] + step * np.float32(y) - means[g, 1]
                constant = p[0, 0] * dx * dx + (np.float32(2) * p[0, 1] * dx + p[1, 1] * dy) * dy
                linear = np.float32(2) * (p[0, 2] * dx + p[1, 2] * dy)
                for z in range(first_z, last_z + 1):
                    dz = origin[2] + step * np.float32(z) - means[g, 2]
                    distance = constant + (linear + p[2, 2] * dz) * dz
                    if distance <= reach[g]:
                        out[x, y, z] += opacities[g] * np.exp(np.float32(-0.5) * distance)
