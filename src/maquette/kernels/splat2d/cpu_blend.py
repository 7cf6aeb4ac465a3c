"""Splats to pixels and back. An image is cut into tiles of 16 x 16 pixels, a tile into 16 blocks of 4 x 4, and a block
is one vector: small splats touch few blocks, and a test of all 16 blocks of a tile is itself one vector operation.

Threads share nothing but a counter of jobs; a job writes only what is its own, so bytes do not depend on who did it.
"""

import numpy as np

from maquette.core.lanes import (
    WIDTH,
    any_lane,
    bits,
    compiled,
    exp2,
    fma,
    larger,
    load,
    lowest_bit,
    magnitude,
    smaller,
    store,
    sums,
    take,
    where,
)
from maquette.core.splat import blend
from maquette.core.splat.columns import ROW
from maquette.core.splat.tiles import HALF, PIXELS, TILE, aligned, light, nearest_in_blocks, offsets, pixel, slot_of
from maquette.kernels.splat2d import cpu_project as c

# What the forward pass keeps of a tile besides the sums that all splats have. M1 and M2 are the moments of the mapped
# depth less that of the tile's first splat (smaller numbers, fewer lost digits); WHICH counts the splat of the median
# from the tile's first.
SUM_NX, SUM_NY, SUM_NZ, M1, M2, WHICH, MEDIAN = (plane * PIXELS for plane in range(5, 12))
STATE = 11 * PIXELS
# And what the backward pass works on, besides WHICH.
D_NX, D_NY, D_NZ, D_SQUARE, D_MAPPED, D_ALPHA, D_MEDIAN = (plane * PIXELS for plane in (6, 7, 8, 9, 11, 12, 13))
SHORT = np.float32(1e-6)
MAPPED = np.float32(0.2 * 100.0 / (100.0 - 0.2))
"""The mapped depth is a constant less this over the depth."""


@compiled
def _touched(splats, looks, row, x, y):
    """Which blocks a splat touches, as bits: those near its outline's inside, and those near its low-pass dot.

    x and y are the offsets of the blocks' first pixels from the projected centre.
    """
    dx, dy = x - splats[row + c.EX], y - looks[row + c.EY]
    p, q, r = splats[row + c.P], splats[row + c.Q], splats[row + c.R]
    inside = nearest_in_blocks(dx, dy, p, q, r, looks[row + c.DX_DY], looks[row + c.DY_DX]) <= np.float32(1.001)
    dx, dy = x - splats[row + c.OX], y - splats[row + c.OY]
    dx, dy = smaller(larger(dx, 0.0), dx + 3.0), smaller(larger(dy, 0.0), dy + 3.0)
    return bits(inside) | bits(
        fma(dx, dx, dy * dy) <= (splats[row + c.LOG2_OPACITY] + c.LOG2_255) * c.LN2 + np.float32(1e-3)
    )


@compiled
def _start(splats, row, block_x, block_y, lane_x, lane_y, x, y, starts):
    """A splat's affine functions of the pixel, as they grow within a block; their values at each block's first pixel.

    s and t over the common denominator, that denominator, and the offset from the low-pass filter's middle.
    """
    a1, b1, a2, b2 = splats[row + c.A1], splats[row + c.B1], splats[row + c.A2], splats[row + c.B2]
    g, h = splats[row + c.G], splats[row + c.H]
    dx, dy = block_x + x, block_y + y
    store(starts, 0, fma(dx, a1, dy * b1))
    store(starts, WIDTH, fma(dx, a2, dy * b2))
    store(starts, 2 * WIDTH, fma(dx, g, dy * h) + 1.0)
    store(starts, 3 * WIDTH, (dx - splats[row + c.OX]) * c.ROUND)
    store(starts, 4 * WIDTH, (dy - splats[row + c.OY]) * c.ROUND)
    return fma(lane_x, a1, lane_y * b1), fma(lane_x, a2, lane_y * b2), fma(lane_x, g, lane_y * h)


@compiled
def forward(
    counter, splats, looks, views, height, width, pairs, tile_first, backgrounds, state, masks, visited,
    color, alpha, depth, median, normal, distortion,
):  # fmt: skip
    """Blend every tile front to back; keep per pair the blocks that it changed, per tile how many pairs it took."""
    wide, high = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    padded = splats.size // (views * ROW) if views else 0
    lane_x, lane_y, block_x, block_y = offsets()
    round_x, round_y = lane_x * c.ROUND, lane_y * c.ROUND
    starts = np.empty(5 * WIDTH, np.float32)
    work = aligned(12)
    while True:
        job = take(counter)
        if job >= views * wide * high:
            break
        view = job // (wide * high)
        left, upper = job % wide * TILE, job // wide % high * TILE
        alive = light(work, lane_x, lane_y, left, upper, width, height)
        for at in range(PIXELS, 12 * PIXELS, WIDTH):
            store(work, at, 0.0)
        first = tile_first[job]
        k = first
        nearest = MAPPED / splats[(view * padded + pairs[k]) * ROW + c.DEPTH] if k < tile_first[job + 1] else MAPPED
        while k < tile_first[job + 1] and alive:
            row = (view * padded + pairs[k]) * ROW
            x, y = np.float32(left) + HALF - splats[row + c.U], np.float32(upper) + HALF - splats[row + c.V]
            mask = _touched(splats, looks, row, block_x + x, block_y + y) & alive
            place = np.float32(k - first)
            at_k, k = k, k + 1
            if not mask:
                masks[at_k] = 0
                continue
            lane_s, lane_t, lane_d = _start(splats, row, block_x, block_y, lane_x, lane_y, x, y, starts)
            opacity, z0 = splats[row + c.LOG2_OPACITY], splats[row + c.DEPTH]
            limit, slope = z0 / c.NEAR, -MAPPED / z0
            red, green, blue = looks[row + c.RED], looks[row + c.GREEN], looks[row + c.BLUE]
            nx, ny, nz = looks[row + c.NX], looks[row + c.NY], looks[row + c.NZ]
            changed = 0
            while mask:
                block = lowest_bit(mask)
                mask &= mask - 1
                at = block * WIDTH
                below = lane_d + starts[2 * WIDTH + block]
                is_hit = (below > SHORT) & (below <= limit)
                inverse = 1.0 / where(is_hit, below, 1.0)
                s, t = (lane_s + starts[block]) * inverse, (lane_t + starts[WIDTH + block]) * inverse
                away_x, away_y = round_x + starts[3 * WIDTH + block], round_y + starts[4 * WIDTH + block]
                rho = smaller(fma(s, s, t * t), fma(away_x, away_x, away_y * away_y))
                a = smaller(exp2(opacity - rho), blend.CAP)
                weight, through, left_over, ends = blend.weigh(work, at, a, is_hit & (a >= blend.CUT))
                is_blended = weight > 0.0
                if any_lane(is_blended):
                    changed |= 1 << block
                    z = z0 * inverse
                    mapped = fma(below, slope, nearest)
                    moment = weight * mapped
                    blend.add_color(work, at, weight, red, green, blue, z)
                    store(work, at + SUM_NX, fma(weight, nx, load(work, at + SUM_NX)))
                    store(work, at + SUM_NY, fma(weight, ny, load(work, at + SUM_NY)))
                    store(work, at + SUM_NZ, fma(weight, nz, load(work, at + SUM_NZ)))
                    store(work, at + M1, moment + load(work, at + M1))
                    store(work, at + M2, fma(moment, mapped, load(work, at + M2)))
                    is_median = is_blended & (through > 0.5)
                    if any_lane(is_median):
                        store(work, at + WHICH, where(is_median, place, load(work, at + WHICH)))
                        store(work, at + MEDIAN, where(is_median, z, load(work, at + MEDIAN)))
                if any_lane(ends & (through > 0.0)):
                    changed |= 1 << block
                    if not any_lane(left_over >= blend.STOP):
                        alive &= ~(1 << block)
            masks[at_k] = changed
        visited[job] = k - first
        back_red, back_green, back_blue = backgrounds[view * 3], backgrounds[view * 3 + 1], backgrounds[view * 3 + 2]
        for at in range(0, PIXELS, WIDTH):
            for plane in range(0, STATE, PIXELS):
                store(state, job * STATE + plane + at, load(work, plane + at))
            covered = blend.over_background(work, at, back_red, back_green, back_blue)
            first_moment = load(work, at + M1)
            store(work, at + M2, larger(covered * load(work, at + M2) - first_moment * first_moment, 0.0))
        blend.write_images(work, view, left, upper, width, height, color, alpha, depth)
        for y in range(min(TILE, height - upper)):
            to = (view * height + upper + y) * width + left
            for x in range(min(TILE, width - left)):
                at = pixel(x, y)
                median[to + x] = work[at + MEDIAN]
                normal[(to + x) * 3] = work[at + SUM_NX]
                normal[(to + x) * 3 + 1] = work[at + SUM_NY]
                normal[(to + x) * 3 + 2] = work[at + SUM_NZ]
                distortion[to + x] = work[at + M2]


@compiled
def _gather(plane, d_image, channels, channel, work, first, width, rows, columns):
    """One channel of a gradient image into a plane; the gradient of an image that no loss uses is an empty array."""
    if d_image.size:
        for y in range(rows):
            for x in range(columns):
                work[plane + pixel(x, y)] = d_image[(first + y * width + x) * channels + channel]


@compiled
def backward(
    counter, splats, looks, views, height, width, pairs, tile_first, backgrounds, state, masks, visited, n, boxes,
    slot_first, d_color, d_alpha, d_depth, d_median, d_normal, d_distortion, partials,
):  # fmt: skip
    """Replay every tile front to back and write for each pair the gradients that `project_backward` sums.

    See `effect_of`. The distortion is A M2 - M1^2 with A = sum w, so its f is M2 + A m^2 - 2 M1 m.
    """
    wide, high = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    padded = splats.size // (views * ROW) if views else 0
    lane_x, lane_y, block_x, block_y = offsets()
    round_x, round_y = lane_x * c.ROUND, lane_y * c.ROUND
    starts = np.empty(5 * WIDTH, np.float32)
    zero = lane_x * 0.0
    work = aligned(14)
    while True:
        job = take(counter)
        if job >= views * wide * high:
            break
        view, tile_x, tile_y = job // (wide * high), job % wide, job // wide % high
        left, upper = tile_x * TILE, tile_y * TILE
        for at in range(PIXELS, 14 * PIXELS, WIDTH):
            store(work, at, 0.0)
        rows, columns = min(TILE, height - upper), min(TILE, width - left)
        to = (view * height + upper) * width + left
        for channel in range(3):
            _gather(blend.D_RED + channel * PIXELS, d_color, 3, channel, work, to, width, rows, columns)
            _gather(D_NX + channel * PIXELS, d_normal, 3, channel, work, to, width, rows, columns)
        _gather(D_ALPHA, d_alpha, 1, 0, work, to, width, rows, columns)
        _gather(blend.D_DEPTH, d_depth, 1, 0, work, to, width, rows, columns)
        _gather(D_MEDIAN, d_median, 1, 0, work, to, width, rows, columns)
        _gather(D_SQUARE, d_distortion, 1, 0, work, to, width, rows, columns)
        first = tile_first[job]
        light(work, lane_x, lane_y, left, upper, width, height)
        _prepare(work, state, job * STATE, backgrounds, view * 3)
        has_pairs = first < tile_first[job + 1]
        nearest = MAPPED / splats[(view * padded + pairs[first]) * ROW + c.DEPTH] if has_pairs else MAPPED
        for k in range(first, tile_first[job + 1]):
            i = view * n + pairs[k]
            slot = slot_of(i, tile_x, tile_y, boxes, slot_first)
            mask = masks[k] if k < first + visited[job] else 0
            if not mask:
                store(partials, slot * ROW, zero)
                continue
            row = (view * padded + pairs[k]) * ROW
            x, y = np.float32(left) + HALF - splats[row + c.U], np.float32(upper) + HALF - splats[row + c.V]
            lane_s, lane_t, lane_d = _start(splats, row, block_x, block_y, lane_x, lane_y, x, y, starts)
            opacity, z0 = splats[row + c.LOG2_OPACITY], splats[row + c.DEPTH]
            limit, slope, place = z0 / c.NEAR, -MAPPED / z0, np.float32(k - first)
            red, green, blue = looks[row + c.RED], looks[row + c.GREEN], looks[row + c.BLUE]
            nx, ny, nz = looks[row + c.NX], looks[row + c.NY], looks[row + c.NZ]
            tx, ty, tz = looks[row + c.TX], looks[row + c.TY], looks[row + c.TZ]
            bx, by, bz = looks[row + c.BX], looks[row + c.BY], looks[row + c.BZ]
            g_red = g_green = g_blue = n_u = n_v = e = e_s = e_t = e_ss = e_st = e_tt = zero
            w_1 = w_s = w_t = at_x = at_y = zero
            while mask:
                block = lowest_bit(mask)
                mask &= mask - 1
                at = block * WIDTH
                below = lane_d + starts[2 * WIDTH + block]
                is_hit = (below > SHORT) & (below <= limit)
                inverse = 1.0 / where(is_hit, below, 1.0)
                s, t = (lane_s + starts[block]) * inverse, (lane_t + starts[WIDTH + block]) * inverse
                away_x, away_y = round_x + starts[3 * WIDTH + block], round_y + starts[4 * WIDTH + block]
                rho, dot = fma(s, s, t * t), fma(away_x, away_x, away_y * away_y)
                raw = exp2(opacity - smaller(rho, dot))
                a = smaller(raw, blend.CAP)
                weight, through, _, _ = blend.weigh(work, at, a, is_hit & (a >= blend.CUT))

                d_red, d_green = load(work, at + blend.D_RED), load(work, at + blend.D_GREEN)
                d_blue = load(work, at + blend.D_BLUE)
                d_nx, d_ny, d_nz = load(work, at + D_NX), load(work, at + D_NY), load(work, at + D_NZ)
                g_red, g_green = fma(weight, d_red, g_red), fma(weight, d_green, g_green)
                g_blue = fma(weight, d_blue, g_blue)
                n_u = fma(weight, fma(d_nx, tx, fma(d_ny, ty, d_nz * tz)), n_u)
                n_v = fma(weight, fma(d_nx, bx, fma(d_ny, by, d_nz * bz)), n_v)
                z, mapped = z0 * inverse, fma(below, slope, nearest)
                square, along = load(work, at + D_SQUARE), load(work, at + D_MAPPED)
                far = z * load(work, at + blend.D_DEPTH)
                value = fma(d_red, red, fma(d_green, green, fma(d_blue, blue, far)))
                value = fma(d_nx, nx, fma(d_ny, ny, fma(d_nz, nz, value)))
                value = fma(fma(square, mapped, along), mapped, value + load(work, at + D_ALPHA))

                effect = blend.effect_of(work, at, value * weight, weight, raw, a)
                of_disc = where(rho <= dot, effect, 0.0)
                of_dot = effect - of_disc
                # By the logarithm of the depth: through the two depths and, as d(1 / z) is, the mapped one.
                stretch = weight * (far - fma(2.0 * square, mapped, along) * slope * below)
                is_median = (weight > 0.0) & (through > 0.5)
                if any_lane(is_median):
                    is_median = is_median & (magnitude(load(work, at + WHICH) - place) < HALF)
                    stretch = stretch + where(is_median, z * load(work, at + D_MEDIAN), 0.0)
                stretch = stretch - of_disc * smaller(rho, dot) * (2 * c.LN2)
                disc_s, disc_t = of_disc * s, of_disc * t
                e, e_s, e_t = e + effect, e_s + disc_s, e_t + disc_t
                e_ss, e_st, e_tt = fma(disc_s, s, e_ss), fma(disc_s, t, e_st), fma(disc_t, t, e_tt)
                w_1, w_s, w_t = w_1 + stretch, fma(stretch, s, w_s), fma(stretch, t, w_t)
                at_x, at_y = fma(of_dot, away_x, at_x), fma(of_dot, away_y, at_y)
            totals = (g_red, g_green, g_blue, n_u, n_v, e, e_s, e_t, e_ss, e_st, e_tt, w_1, w_s, w_t, at_x, at_y)
            store(partials, slot * ROW, sums(totals))


@compiled
def _prepare(work, state, kept, backgrounds, back):
    """From the gradients of a tile's images to those of its sums, and the total of w f over all that was blended."""
    back_red, back_green, back_blue = backgrounds[back], backgrounds[back + 1], backgrounds[back + 2]
    for at in range(0, PIXELS, WIDTH):
        store(work, at + WHICH, load(state, kept + at + WHICH))
        covered = 1.0 - magnitude(load(state, kept + at + blend.THROUGH))
        far = where(covered > 0.0, load(work, at + blend.D_DEPTH) / covered, 0.0)
        red, green, blue = load(work, at + blend.D_RED), load(work, at + blend.D_GREEN), load(work, at + blend.D_BLUE)
        nx, ny, nz = load(work, at + D_NX), load(work, at + D_NY), load(work, at + D_NZ)
        sum_z = load(state, kept + at + blend.SUM_DEPTH)
        m1, m2 = load(state, kept + at + M1), load(state, kept + at + M2)
        spread = load(work, at + D_SQUARE)
        one = load(work, at + D_ALPHA) - red * back_red - green * back_green - blue * back_blue
        one = one - where(covered > 0.0, far * sum_z / covered, 0.0)
        one = fma(spread, m2, one)
        square, along = spread * covered, -2.0 * spread * m1
        store(work, at + D_ALPHA, one)
        store(work, at + blend.D_DEPTH, far)
        store(work, at + D_SQUARE, square)
        store(work, at + D_MAPPED, along)
        whole = fma(green, load(state, kept + at + blend.SUM_GREEN), one * covered)
        whole = fma(red, load(state, kept + at + blend.SUM_RED), whole)
        whole = fma(blue, load(state, kept + at + blend.SUM_BLUE), fma(far, sum_z, whole))
        whole = fma(nx, load(state, kept + at + SUM_NX), fma(ny, load(state, kept + at + SUM_NY), whole))
        whole = fma(nz, load(state, kept + at + SUM_NZ), fma(square, m2, fma(along, m1, whole)))
        store(work, at + blend.BEHIND, whole)
