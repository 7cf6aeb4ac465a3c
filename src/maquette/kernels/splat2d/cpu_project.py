"""From surfels to splats and back, sixteen at a time: what a camera makes of a disc, and the gradients of that.

A splat is two rows of sixteen float32 (two cache lines), written for every camera and surfel. With d the offset of a
pixel from the projected centre, the ray meets the plane at depth z = z0 / (1 + g dx + h dy), and there
(s, t) = (a1 dx + b1 dy, a2 dx + b2 dy) / (1 + g dx + h dy) with alpha = 2 ** (log2(opacity) - s^2 - t^2): the same
point as the cross product of the reference, free of its cancellation. s = K u, where u counts standard deviations.
"""

import numpy as np

from maquette.core.lanes import (
    WIDTH,
    compiled,
    fma,
    larger,
    load,
    magnitude,
    smaller,
    sqrt,
    store,
    store_columns,
    where,
)
from maquette.core.splat import columns
from maquette.core.splat.columns import ROW, TINY

# The columns of a splat's first row. OX, OY lead from the projected centre to the middle of the low-pass filter; M is
# the upper triangle [[P, Q], [0, R]] with |M d| = 1 on the outline where alpha is 1/255, d from its centre EX, EY.
U, V, A1, B1, A2, B2, G, H, DEPTH, OX, OY, LOG2_OPACITY, P, Q, R, EX = range(16)
# And of its second row. The tangents are those of the world; the normal is turned towards the camera.
RED, GREEN, BLUE, NX, NY, NZ, TX, TY, TZ, BX, BY, BZ, EY, DX_DY, DY_DX = range(15)
# A camera's row: rotation (9), translation (3), and these.
FX, FY, CX, CY = range(12, 16)
CAMERA = 16
NEAR, EDGE_ON, THINNEST = np.float32(0.2), np.float32(1e-6), np.float32(1e-12)
LOG2_255 = np.float32(np.log2(255.0))
LN2, K = np.float32(np.log(2.0)), np.float32(np.sqrt(0.5 / np.log(2.0)))
ROUND = np.float32(np.sqrt(1 / np.log(2.0)))
"""Pixels to units of the low-pass filter: K times the square root of 2."""
WINDOW2 = np.float32(9.0)
NOWHERE = np.float32(1e9)
MARGIN = np.float32(0.1)
"""Added to the outline's squared half axes (px^2), so that rounding never hides a pixel from a surfel seen edge-on."""


@compiled
def _unit(w, x, y, z):
    """A quaternion of length one, and what it was multiplied by; by the largest first, as tiny squares would vanish."""
    large = larger(larger(magnitude(w), magnitude(x)), larger(magnitude(y), magnitude(z)))
    shrink = 1.0 / larger(large, TINY)
    w, x, y, z = w * shrink, x * shrink, y * shrink, z * shrink
    again = 1.0 / larger(sqrt(w * w + x * x + y * y + z * z), TINY)
    return w * again, x * again, y * again, z * again, shrink * where(large > 0.0, again, 1.0)


@compiled
def _rotation(w, x, y, z):
    """Columns of the rotation matrix of a unit quaternion: both tangents, then the normal."""
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
        (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
        (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
    )


@compiled
def _dot(a, b):
    return fma(a[0], b[0], fma(a[1], b[1], a[2] * b[2]))


@compiled
def _turned(w, v):
    """Rows of a rotation times a vector."""
    return _dot(w[0], v), _dot(w[1], v), _dot(w[2], v)


@compiled
def _camera(cameras, at):
    """The rows of a camera's rotation."""
    return (
        (cameras[at], cameras[at + 1], cameras[at + 2]),
        (cameras[at + 3], cameras[at + 4], cameras[at + 5]),
        (cameras[at + 6], cameras[at + 7], cameras[at + 8]),
    )


@compiled
def _point(w, cameras, at, mean):
    """In camera space; also 1 / depth (1 where hidden)."""
    x, y, z = _turned(w, mean)
    x, y, z = x + cameras[at + 9], y + cameras[at + 10], z + cameras[at + 11]
    return (x, y, z), 1.0 / where(z > NEAR, z, 1.0)


@compiled
def _disc(u, v, slope_x, slope_y, cameras, at):
    """Pixels (times depth) and depth per unit along each tangent: a, c, e of the first and b, d, f of the second."""
    a, c = (u[0] - slope_x * u[2]) * cameras[at + FX], (u[1] - slope_y * u[2]) * cameras[at + FY]
    b, d = (v[0] - slope_x * v[2]) * cameras[at + FX], (v[1] - slope_y * v[2]) * cameras[at + FY]
    return a, c, u[2], b, d, v[2]


@compiled
def project(counter, means, quats, scales, log2_opacities, colors, cameras, splats, looks, boxes):
    """Fill splats and looks (cameras, padded surfels, ROW) and boxes (cameras, surfels, 4: left, right, top, bottom).

    All are flat tables; colors holds one set, or one per camera. Boxes are in pixels, inside out where hidden.
    """
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
            mean = columns.read3(means, first, n, scratch)
            columns.copy_columns(scales, 2, first, n, scratch)
            su, sv = larger(load(scratch, 0), THINNEST), larger(load(scratch, 16), THINNEST)
            qw, qx, qy, qz = columns.read4(quats, first, n, scratch)
            qw, qx, qy, qz, _ = _unit(qw, qx, qy, qz)
            tangent, bitangent, normal = _rotation(qw, qx, qy, qz)
            columns.copy_columns(log2_opacities, 1, first, n, scratch)
            log2_opacity = load(scratch, 0)
            reach = larger(log2_opacity + LOG2_255, 0.0)
            kappa2 = reach * (2 * LN2)  # u^2 + v^2 where alpha falls below 1/255
            columns.copy_columns(colors, 3, first, n, scratch)
            for view in range(views):
                at = view * CAMERA
                if not shared:
                    columns.copy_columns(colors[view * 3 * n : (view + 1) * 3 * n], 3, first, n, scratch)
                red, green, blue = load(scratch, 0), load(scratch, 16), load(scratch, 32)
                w = _camera(cameras, at)
                point, inverse = _point(w, cameras, at, mean)
                z = point[2]
                slope_x, slope_y = point[0] * inverse, point[1] * inverse
                tu, tv, tn = _turned(w, tangent), _turned(w, bitangent), _turned(w, normal)
                a, c, e, b, d, f = _disc(tu, tv, slope_x, slope_y, cameras, at)
                toward = fma(tn[0], slope_x, fma(tn[1], slope_y, tn[2]))  # the normal times the ray to the centre
                is_seen = (z > NEAR) & (magnitude(toward) > EDGE_ON) & (reach > 0.0)
                toward = where(is_seen, toward, 1.0)
                fx, fy = cameras[at + FX], cameras[at + FY]
                scale = z * K / (toward * (fx * fy))
                a1, b1, a2, b2 = scale * d / su, -scale * b / su, -scale * c / sv, scale * a / sv
                side = where(toward > 0.0, -1.0, 1.0)

                a, c, e, b, d, f = a * su, c * su, e * su, b * sv, d * sv, f * sv
                ee, along_x, along_y = fma(e, e, f * f), fma(a, e, b * f), fma(c, e, d * f)
                low = fma(-WINDOW2, ee, z * z)
                is_whole = low > 0.0  # a disc that reaches behind the camera has no filter
                shift = WINDOW2 / where(is_whole, low, 1.0)
                ox, oy = where(is_whole, -shift * along_x, NOWHERE), where(is_whole, -shift * along_y, NOWHERE)

                low = fma(-kappa2, ee, z * z)
                is_whole = low > z * z * 1e-6
                shift = kappa2 / where(is_whole, low, 1.0)
                ex, ey = where(is_whole, -shift * along_x, 0.0), where(is_whole, -shift * along_y, 0.0)
                xx = fma(ex, ex, shift * fma(a, a, b * b))
                xy = fma(ex, ey, shift * fma(a, c, b * d))
                yy = fma(ey, ey, shift * fma(c, c, d * d))
                area = shift * z * (su * sv) * toward * (fx * fy)
                determinant = fma(area, area / where(is_whole, low, 1.0), fma(xx + yy, MARGIN, MARGIN * MARGIN))
                xx, yy = xx + MARGIN, yy + MARGIN
                dx_dy, dy_dx = where(is_whole, xy / yy, 0.0), where(is_whole, xy / xx, 0.0)
                p = where(is_whole, sqrt(yy / determinant), 0.0)
                u, v = fma(slope_x, fx, cameras[at + CX]), fma(slope_y, fy, cameras[at + CY])
                here = (view * padded + first) * ROW
                store_columns(splats, here, (
                    u, v, a1, b1, a2, b2,
                    tn[0] / (toward * fx), tn[1] / (toward * fy), z, ox, oy, log2_opacity,
                    p, -p * dx_dy, where(is_whole, sqrt(1.0 / yy), 0.0), ex,
                ))  # fmt: skip
                store_columns(looks, here, (
                    red, green, blue, normal[0] * side, normal[1] * side, normal[2] * side, *tangent, *bitangent,
                    ey, dx_dy, dy_dx, z,
                ))  # fmt: skip

                dot = sqrt(kappa2 * 0.5)
                wide, high = sqrt(xx), sqrt(yy)
                left, right = smaller(ex - wide, ox - dot), larger(ex + wide, where(ox < NOWHERE, ox + dot, ex))
                top, bottom = smaller(ey - high, oy - dot), larger(ey + high, where(oy < NOWHERE, oy + dot, ey))
                left = where(is_seen, where(is_whole, u + left, -NOWHERE), 1.0)
                right = where(is_seen, where(is_whole, u + right, NOWHERE), -1.0)
                top = where(is_seen, where(is_whole, v + top, -NOWHERE), 1.0)
                bottom = where(is_seen, where(is_whole, v + bottom, NOWHERE), -1.0)
                columns.write4(left, right, top, bottom, first, n, scratch, boxes[view * 4 * n : (view + 1) * 4 * n])
                if shared:
                    store(scratch, 0, red)
                    store(scratch, 16, green)
                    store(scratch, 32, blue)


@compiled
def _window_gradient(gx, gy, mid_x, mid_y, m):
    """Of the middle of the low-pass filter, a ratio of entries of 9 (M_u M_u^T + M_v M_v^T) - p p^T, by the vector m.

    gx and gy are the gradients of the middle's slopes over the matrix's last entry; the factor 9 (or -1) is left out.
    """
    gz = -fma(gx, mid_x, gy * mid_y)
    return gx * m[2], gy * m[2], fma(gx, m[0], fma(gy, m[1], 2.0 * gz * m[2]))


@compiled
def project_backward(
    counter, means, quats, scales, opacities, cameras, slot_first, slot_count, partials,
    grad_means, grad_quats, grad_scales, grad_opacities, grad_colors,
):  # fmt: skip
    """Sum the partial gradients of every splat over its tiles, in order, and carry them through the projection.

    A row of partials holds the sums that `cpu_blend.backward` explains: color (3), the normal along both tangents, and
    with e = dL / d ln(alpha) where the disc itself gave alpha: sum(e) over all pixels, e s, e t, e s s, e s t, e t t;
    with w the gradient of ln(depth) less e (u^2 + v^2): w, w s, w t; and e (dx, dy) where the low-pass filter did.

    A pixel's ray is fixed, so moving the centre by dp and the scaled tangents by dM_u and dM_v moves its hit by
    E = dp + u dM_u + v dM_v within the frame of the disc, and the loss by E . (n (w - e u pu - e v pv) / (n . p) +
    t_u e u / s_u + t_v e v / s_v), where pu = t_u . p / s_u. Turning is about the disc's own axes, so it adds up over
    cameras.
    """
    n = opacities.size
    views = cameras.size // CAMERA
    shared = grad_colors.size == 3 * n
    scratch, table = np.empty(4 * WIDTH, np.float32), np.empty(WIDTH * ROW, np.float32)
    while True:
        start, end = columns.take_rows(counter, n)
        if start >= end:
            break
        for first in range(start, end, WIDTH):
            mean = columns.read3(means, first, n, scratch)
            columns.copy_columns(scales, 2, first, n, scratch)
            su, sv = larger(load(scratch, 0), THINNEST), larger(load(scratch, 16), THINNEST)
            over_su, over_sv = 1.0 / su, 1.0 / sv
            qw, qx, qy, qz = columns.read4(quats, first, n, scratch)
            qw, qx, qy, qz, shrink = _unit(qw, qx, qy, qz)
            tangent, bitangent, normal = _rotation(qw, qx, qy, qz)
            zero = qw * 0.0
            gx = gy = gz = g_su = g_sv = g_opacity = red = green = blue = zero
            turn_u = turn_v = turn_n = zero
            for view in range(views):
                at = view * CAMERA
                here = view * n + first
                (e_red, e_green, e_blue, n_u, n_v, e, e_u, e_v, e_uu, e_uv, e_vv, w_1, w_u, w_v, at_x, at_y) = (
                    columns.sum_over_tiles(partials, slot_first, slot_count, here, n - first, zero, table)
                )  # fmt: skip
                g_opacity = g_opacity + e
                if shared:
                    red, green, blue = red + e_red, green + e_green, blue + e_blue
                else:
                    columns.write3(
                        e_red, e_green, e_blue, first, n, scratch, grad_colors[view * 3 * n : (view + 1) * 3 * n]
                    )
                e_u, e_v, w_u, w_v = e_u / K, e_v / K, w_u / K, w_v / K
                e_uu, e_uv, e_vv = e_uu / (K * K), e_uv / (K * K), e_vv / (K * K)

                w = _camera(cameras, at)
                point, inverse = _point(w, cameras, at, mean)
                z, slope_x, slope_y = point[2], point[0] * inverse, point[1] * inverse
                tu, tv, tn = _turned(w, tangent), _turned(w, bitangent), _turned(w, normal)
                toward = fma(tn[0], slope_x, fma(tn[1], slope_y, tn[2]))
                is_seen = (z > NEAR) & (magnitude(toward) > EDGE_ON)
                side = where(toward > 0.0, -1.0, 1.0)
                over = where(is_seen, inverse / toward, 0.0)
                pu, pv = _dot(tu, point) * over_su, _dot(tv, point) * over_sv
                p_n = (w_1 - e_u * pu - e_v * pv) * over
                p_u, p_v = e_u * over_su, e_v * over_sv
                u_n, u_u, u_v = (w_u - e_uu * pu - e_uv * pv) * over, e_uu * over_su, e_uv * over_sv
                v_n, v_u, v_v = (w_v - e_uv * pu - e_vv * pv) * over, e_uv * over_su, e_vv * over_sv
                px = fma(tn[0], p_n, fma(tu[0], p_u, tv[0] * p_v))
                py = fma(tn[1], p_n, fma(tu[1], p_u, tv[1] * p_v))
                pz = fma(tn[2], p_n, fma(tu[2], p_u, tv[2] * p_v))

                m_u, m_v = (tu[0] * su, tu[1] * su, tu[2] * su), (tv[0] * sv, tv[1] * sv, tv[2] * sv)
                low = z * z - WINDOW2 * fma(m_u[2], m_u[2], m_v[2] * m_v[2])
                over = where(is_seen & (low > 0.0), -2.0 / (ROUND * low), 0.0)
                fx, fy = cameras[at + FX], cameras[at + FY]
                mid_x, mid_y = at_x * fx * over, at_y * fy * over
                ratio_x = slope_x - where(low > 0.0, WINDOW2 / low, 0.0) * fma(
                    m_u[0] - slope_x * m_u[2], m_u[2], (m_v[0] - slope_x * m_v[2]) * m_v[2]
                )
                ratio_y = slope_y - where(low > 0.0, WINDOW2 / low, 0.0) * fma(
                    m_u[1] - slope_y * m_u[2], m_u[2], (m_v[1] - slope_y * m_v[2]) * m_v[2]
                )
                by_u = _window_gradient(mid_x, mid_y, ratio_x, ratio_y, m_u)
                by_v = _window_gradient(mid_x, mid_y, ratio_x, ratio_y, m_v)
                by_p = _window_gradient(mid_x, mid_y, ratio_x, ratio_y, point)
                px, py, pz = px - by_p[0], py - by_p[1], pz - by_p[2]
                u_n, u_u, u_v = (
                    fma(_dot(tn, by_u), WINDOW2, u_n),
                    fma(_dot(tu, by_u), WINDOW2, u_u),
                    fma(_dot(tv, by_u), WINDOW2, u_v),
                )
                v_n, v_u, v_v = (
                    fma(_dot(tn, by_v), WINDOW2, v_n),
                    fma(_dot(tu, by_v), WINDOW2, v_u),
                    fma(_dot(tv, by_v), WINDOW2, v_v),
                )

                g_su, g_sv = g_su + where(is_seen, u_u, 0.0), g_sv + where(is_seen, v_v, 0.0)
                turn_u = turn_u + where(is_seen, sv * v_n - side * n_v, 0.0)
                turn_v = turn_v + where(is_seen, side * n_u - su * u_n, 0.0)
                turn_n = turn_n + where(is_seen, su * u_v - sv * v_u, 0.0)
                gx = gx + where(is_seen, fma(px, w[0][0], fma(py, w[1][0], pz * w[2][0])), 0.0)
                gy = gy + where(is_seen, fma(px, w[0][1], fma(py, w[1][1], pz * w[2][1])), 0.0)
                gz = gz + where(is_seen, fma(px, w[0][2], fma(py, w[1][2], pz * w[2][2])), 0.0)
            if shared:
                columns.write3(red, green, blue, first, n, scratch, grad_colors)
            columns.write3(gx, gy, gz, first, n, scratch, grad_means)
            columns.write2(g_su, g_sv, first, n, scratch, grad_scales)
            columns.write_opacities(g_opacity, opacities, first, n, scratch, grad_opacities)
            # A turn by h about an axis of the disc multiplies the quaternion from the right by (1, h / 2).
            gw = -(qx * turn_u + qy * turn_v + qz * turn_n) * (2.0 * shrink)
            ga = (qw * turn_u - qz * turn_v + qy * turn_n) * (2.0 * shrink)
            gb = (qz * turn_u + qw * turn_v - qx * turn_n) * (2.0 * shrink)
            gc = (qw * turn_n + qx * turn_v - qy * turn_u) * (2.0 * shrink)
            columns.write4(gw, ga, gb, gc, first, n, scratch, grad_quats)
