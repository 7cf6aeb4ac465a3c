"""From Gaussians to splats and back, sixteen Gaussians at a time: EWA projection, its gradient, and the sum over tiles.

A splat is a row of sixteen float32 (one cache line), written for every camera and Gaussian. With the projected
covariance S = [[a, b], [b, c]] whose inverse is 2 ln 2 M^T M, M = [[p, q], [0, r]], it reads
alpha(d) = 2 ** (log2(opacity) - |M d|^2): never above the opacity, and free of the cancellation in A x^2 + 2 B x y.
"""

import numpy as np

from maquette.core.lanes import WIDTH, compiled, fma, larger, load, load_columns, smaller, sqrt, store_columns, where
from maquette.core.splat import columns
from maquette.core.splat.columns import ROW, TINY

# The columns of a splat's row; DX_DY is where on a horizontal line the splat is brightest (dx per dy), and so on.
U, V, P, Q, R, DX_DY, DY_DX, LOG2_OPACITY, REACH, DEPTH, RED, GREEN, BLUE, HALF_X, HALF_Y = range(15)
# A camera's row: rotation (9), translation (3), these, and the slopes beyond which the Jacobian is not followed.
FX, FY, CX, CY, LOW_X, HIGH_X, LOW_Y, HIGH_Y = range(12, 20)
CAMERA = 20
NEAR, LOW_PASS = np.float32(0.01), np.float32(0.3)
LOG2_255 = np.float32(np.log2(255.0))
LN2 = np.float32(np.log(2.0))


@compiled
def _rotation(w, x, y, z):
    """Rotation matrix of a unit quaternion, row by row."""
    return (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip


@compiled
def _product(j0, j2, a0, a1, a2, b0, b1, b2):
    """j0 * a + j2 * b, for vectors a and b of three."""
    return fma(j0, a0, j2 * b0), fma(j0, a1, j2 * b1), fma(j0, a2, j2 * b2)


@compiled
def _times(t, m):
    """The row vector t times the 3 x 3 matrix m."""
    return (
        fma(t[0], m[0], fma(t[1], m[3], t[2] * m[6])),
        fma(t[0], m[1], fma(t[1], m[4], t[2] * m[7])),
        fma(t[0], m[2], fma(t[1], m[5], t[2] * m[8])),
    )


@compiled
def _view(x, y, z, camera, at):
    """Camera space, 1 / depth (1 where hidden), slopes, clamped slopes, and the rows of Jacobian times rotation."""
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = (
        camera[at], camera[at + 1], camera[at + 2], camera[at + 3], camera[at + 4], camera[at + 5],
        camera[at + 6], camera[at + 7], camera[at + 8],
    )  # fmt: skip
    tx = fma(x, w0, fma(y, w1, fma(z, w2, camera[at + 9])))
    ty = fma(x, w3, fma(y, w4, fma(z, w5, camera[at + 10])))
    tz = fma(x, w6, fma(y, w7, fma(z, w8, camera[at + 11])))
    inverse = 1.0 / where(tz > NEAR, tz, 1.0)
    slope_x, slope_y = tx * inverse, ty * inverse
    bent_x = smaller(larger(slope_x, camera[at + LOW_X]), camera[at + HIGH_X])
    bent_y = smaller(larger(slope_y, camera[at + LOW_Y]), camera[at + HIGH_Y])
    jx, jy = camera[at + FX] * inverse, camera[at + FY] * inverse
    top = _product(jx, -jx * bent_x, w0, w1, w2, w6, w7, w8)
    bottom = _product(jy, -jy * bent_y, w3, w4, w5, w6, w7, w8)
    return tz, inverse, slope_x, slope_y, bent_x, bent_y, jx, jy, top, bottom


@compiled
def _covariance(g, h):
    """a, b, c and determinant of the blurred covariance, for root rows g and h.

    The determinant of root root^T is the sum of the squares of its minors (Cauchy and Binet): no difference of large
    numbers, and never negative.
    """
    a = fma(g[0], g[0], fma(g[1], g[1], g[2] * g[2]))
    b = fma(g[0], h[0], fma(g[1], h[1], g[2] * h[2]))
    c = fma(h[0], h[0], fma(h[1], h[1], h[2] * h[2]))
    m0, m1, m2 = g[1] * h[2] - g[2] * h[1], g[2] * h[0] - g[0] * h[2], g[0] * h[1] - g[1] * h[0]
    sharp = fma(m0, m0, fma(m1, m1, m2 * m2))
    return a + LOW_PASS, b, c + LOW_PASS, fma(a + c, LOW_PASS, sharp) + LOW_PASS * LOW_PASS


@compiled
def project(counter, means, quats, scales, log2_opacities, colors, cameras, probe, splats):
    """Fill splats (cameras, padded Gaussians, ROW) from flat tables; colors holds one set, or one per camera."""
    n = log2_opacities.size
    views = cameras.size // CAMERA
    padded = splats.size // (views * ROW) if views else 0
    shared = colors.size == 3 * n
    scratch = np.empty(4 * WIDTH, np.float32)
    while True:
        start, end = columns.take_rows(counter, n)
        if start >= end:
            break
        for first in range(start, end, WIDTH):
            x, y, z = columns.read3(means, first, n, scratch)
            s0, s1, s2 = columns.read3(scales, first, n, scratch)
            qw, qx, qy, qz = columns.read4(quats, first, n, scratch)
            shrink = 1.0 / larger(sqrt(qw * qw + qx * qx + qy * qy + qz * qz), TINY)
            turn = _rotation(qw * shrink, qx * shrink, qy * shrink, qz * shrink)
            columns.copy_columns(log2_opacities, 1, first, n, scratch)
            log2_opacity = load(scratch, 0)
            reach = larger(log2_opacity + LOG2_255, 0.0)
            columns.copy_columns(colors, 3, first, n, scratch)
            for view in range(views):
                at = view * CAMERA
                if not shared:
                    columns.copy_columns(colors[view * 3 * n : (view + 1) * 3 * n], 3, first, n, scratch)
                tz, _, slope_x, slope_y, _, _, _, _, top, bottom = _view(x, y, z, cameras, at)
                g, h = _times(top, turn), _times(bottom, turn)
                g, h = (g[0] * s0, g[1] * s1, g[2] * s2), (h[0] * s0, h[1] * s1, h[2] * s2)
                a, b, c, determinant = _covariance(g, h)
                dx_dy = b / c
                p = sqrt(c / determinant * (0.5 / LN2))
                # A Gaussian behind the near plane has no size, and so no tiles.
                span = where(tz > NEAR, reach * (2.0 * LN2), 0.0)
                u = fma(slope_x, cameras[at + FX], cameras[at + CX])
                v = fma(slope_y, cameras[at + FY], cameras[at + CY])
                here = (view * padded + first) * ROW
                store_columns(splats, here, (
                    u, v, p, -p * dx_dy, sqrt(0.5 / LN2 / c), dx_dy, b / a, log2_opacity, reach, tz,
                    load(scratch, 0), load(scratch, 16), load(scratch, 32), sqrt(span * a), sqrt(span * c), reach,
                ))  # fmt: skip
                if probe.size:
                    for k in range(min(WIDTH, n - first)):
                        splats[here + k * ROW + U] += probe[(view * n + first + k) * 2]
                        splats[here + k * ROW + V] += probe[(view * n + first + k) * 2 + 1]


@compiled
def project_backward(
    counter, means, quats, scales, opacities, cameras, splats, slot_first, slot_count, partials,
    grad_means, grad_quats, grad_scales, grad_opacities, grad_colors, grad_probe,
):  # fmt: skip
    """Sum the partial gradients of every splat over its tiles, in order, and carry them through the projection.

    A row of partials holds the sums that `cpu_blend.backward` explains: color (3), depth, and with e = dL / d ln(alpha)
    the moments sum(e), sum(e s), sum(e t), sum(e s s), sum(e s t), sum(e t t) of (s, t) = M d.
    """
    n = opacities.size
    views = cameras.size // CAMERA
    padded = splats.size // (views * ROW) if views else 0
    shared = grad_colors.size == 3 * n
    scratch = np.empty(4 * WIDTH, np.float32)
    table = np.empty(WIDTH * ROW, np.float32)
    while True:
        start, end = columns.take_rows(counter, n)
        if start >= end:
            break
        for first in range(start, end, WIDTH):
            x, y, z = columns.read3(means, first, n, scratch)
            s0, s1, s2 = columns.read3(scales, first, n, scratch)
            qw, qx, qy, qz = columns.read4(quats, first, n, scratch)
            shrink = 1.0 / larger(sqrt(qw * qw + qx * qx + qy * qy + qz * qz), TINY)
            qw, qx, qy, qz = qw * shrink, qx * shrink, qy * shrink, qz * shrink
            turn = _rotation(qw, qx, qy, qz)
            zero = x * 0.0
            gx = gy = gz = gs0 = gs1 = gs2 = g_opacity = red = green = blue = zero
            r0 = r1 = r2 = r3 = r4 = r5 = r6 = r7 = r8 = zero
            for view in range(views):
                at = view * CAMERA
                here = view * n + first
                e_red, e_green, e_blue, e_depth, e, es, et, ess, est, ett, _, _, _, _, _, _ = columns.sum_over_tiles(
                    partials, slot_first, slot_count, here, n - first, zero, table
                )
                row = load_columns(splats, (view * padded + first) * ROW)
                p, q, r, is_seen = row[P], row[Q], row[R], row[HALF_X] > 0.0

                # d ln(alpha) / d mean = 2 ln 2 M^T (s, t);  d ln(alpha) / d S = 2 ln(2)^2 M^T (s, t)^T (s, t) M
                gu = p * es * (2 * LN2)
                gv = fma(q, es, r * et) * (2 * LN2)
                rest = fma(q, ess, r * est)
                g00 = p * p * ess * (4 * LN2 * LN2)  # twice the matrix, for both factors of root root^T
                g01 = p * rest * (4 * LN2 * LN2)
                g11 = fma(q, rest, r * fma(q, est, r * ett)) * (4 * LN2 * LN2)

                _, inverse, slope_x, slope_y, bent_x, bent_y, jx, jy, top, bottom = _view(x, y, z, cameras, at)
                g, h = _times(top, turn), _times(bottom, turn)
                i0, i1, i2 = _product(g00, g01, g[0] * s0, g[1] * s1, g[2] * s2, h[0] * s0, h[1] * s1, h[2] * s2)
                j0, j1, j2 = _product(g01, g11, g[0] * s0, g[1] * s1, g[2] * s2, h[0] * s0, h[1] * s1, h[2] * s2)
                gs0 = gs0 + where(is_seen, fma(i0, g[0], j0 * h[0]), 0.0)
                gs1 = gs1 + where(is_seen, fma(i1, g[1], j1 * h[1]), 0.0)
                gs2 = gs2 + where(is_seen, fma(i2, g[2], j2 * h[2]), 0.0)
                i0, i1, i2, j0, j1, j2 = i0 * s0, i1 * s1, i2 * s2, j0 * s0, j1 * s1, j2 * s2
                r0 = r0 + where(is_seen, fma(top[0], i0, bottom[0] * j0), 0.0)
                r1 = r1 + where(is_seen, fma(top[0], i1, bottom[0] * j1), 0.0)
                r2 = r2 + where(is_seen, fma(top[0], i2, bottom[0] * j2), 0.0)
                r3 = r3 + where(is_seen, fma(top[1], i0, bottom[1] * j0), 0.0)
                r4 = r4 + where(is_seen, fma(top[1], i1, bottom[1] * j1), 0.0)
                r5 = r5 + where(is_seen, fma(top[1], i2, bottom[1] * j2), 0.0)
                r6 = r6 + where(is_seen, fma(top[2], i0, bottom[2] * j0), 0.0)
                r7 = r7 + where(is_seen, fma(top[2], i1, bottom[2] * j1), 0.0)
                r8 = r8 + where(is_seen, fma(top[2], i2, bottom[2] * j2), 0.0)

                back = (turn[0], turn[3], turn[6], turn[1], turn[4], turn[7], turn[2], turn[5], turn[8])
                top, bottom = _times((i0, i1, i2), back), _times((j0, j1, j2), back)
                w0, w1, w2, w3, w4, w5, w6, w7, w8 = (
                    cameras[at], cameras[at + 1], cameras[at + 2], cameras[at + 3], cameras[at + 4], cameras[at + 5],
                    cameras[at + 6], cameras[at + 7], cameras[at + 8],
                )  # fmt: skip
                far_x = fma(top[0], w6, fma(top[1], w7, top[2] * w8))
                far_y = fma(bottom[0], w6, fma(bottom[1], w7, bottom[2] * w8))
                gjx = fma(top[0], w0, fma(top[1], w1, top[2] * w2)) - bent_x * far_x
                gjy = fma(bottom[0], w3, fma(bottom[1], w4, bottom[2] * w5)) - bent_y * far_y
                is_free_x = (slope_x >= cameras[at + LOW_X]) & (slope_x <= cameras[at + HIGH_X])
                is_free_y = (slope_y >= cameras[at + LOW_Y]) & (slope_y <= cameras[at + HIGH_Y])
                g_slope_x = gu * cameras[at + FX] - where(is_free_x, jx * far_x, 0.0)
                g_slope_y = gv * cameras[at + FY] - where(is_free_y, jy * far_y, 0.0)
                lost = fma(g_slope_x, slope_x, fma(g_slope_y, slope_y, fma(gjx, jx, gjy * jy)))
                gtx = where(is_seen, g_slope_x * inverse, 0.0)
                gty = where(is_seen, g_slope_y * inverse, 0.0)
                gtz = where(is_seen, e_depth - lost * inverse, 0.0)
                gx = gx + fma(gtx, w0, fma(gty, w3, gtz * w6))
                gy = gy + fma(gtx, w1, fma(gty, w4, gtz * w7))
                gz = gz + fma(gtx, w2, fma(gty, w5, gtz * w8))
                g_opacity = g_opacity + e
                if shared:
                    red, green, blue = red + e_red, green + e_green, blue + e_blue
                else:
                    columns.write3(
                        e_red, e_green, e_blue, first, n, scratch, grad_colors[view * 3 * n : (view + 1) * 3 * n]
                    )
                if grad_probe.size:
                    gu, gv = where(is_seen, gu, 0.0), where(is_seen, gv, 0.0)
                    columns.write2(gu, gv, first, n, scratch, grad_probe[view * 2 * n : (view + 1) * 2 * n])
            if shared:
                columns.write3(red, green, blue, first, n, scratch, grad_colors)
            columns.write3(gx, gy, gz, first, n, scratch, grad_means)
            columns.write3(gs0, gs1, gs2, first, n, scratch, grad_scales)
            columns.write_opacities(g_opacity, opacities, first, n, scratch, grad_opacities)
            # Through the rotation matrix, then through the normalisation, which only turns.
            gw = qx * (r7 - r5) + qy * (r2 - r6) + qz * (r3 - r1)
            ga = qy * (r1 + r3) + qz * (r2 + r6) + qw * (r7 - r5) - 2 * qx * (r4 + r8)
            gb = qx * (r1 + r3) + qz * (r5 + r7) + qw * (r2 - r6) - 2 * qy * (r0 + r8)
            gc = qx * (r2 + r6) + qy * (r5 + r7) + qw * (r3 - r1) - 2 * qz * (r0 + r4)
            along = qw * gw + qx * ga + qy * gb + qz * gc
            columns.write4(
                (gw - qw * along) * (2.0 * shrink), (ga - qx * along) * (2.0 * shrink),
                (gb - qy * along) * (2.0 * shrink), (gc - qz * along) * (2.0 * shrink), first, n, scratch, grad_quats,
            )  # fmt: skip
