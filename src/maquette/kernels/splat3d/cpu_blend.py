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
from maquette.kernels.splat3d.cpu_project import (
    BLUE,
    DEPTH,
    DX_DY,
    DY_DX,
    GREEN,
    LOG2_OPACITY,
    REACH,
    RED,
    P,
    Q,
    R,
    U,
    V,
)

STATE = 5 * PIXELS
"""What the forward pass keeps of a tile: its planes of sums."""
D_ALPHA = 6 * PIXELS


@compiled
def _reaches(splats, row, dx, dy):
    """Which blocks a splat touches: where the least |M d|^2 over the block's pixel centres is within reach.

    dx and dy are the offsets of the blocks' first pixels from the mean.
    """
    p, q, r = splats[row + P], splats[row + Q], splats[row + R]
    least = nearest_in_blocks(dx, dy, p, q, r, splats[row + DX_DY], splats[row + DY_DX])
    return bits(least <= splats[row + REACH] * np.float32(1.0001) + np.float32(1e-3))


@compiled
def forward(
    counter, splats, views, height, width, pairs, tile_first, backgrounds, state, masks, visited, color, alpha, depth
):  # fmt: skip
    """Blend every tile front to back; keep per pair the blocks that it changed, per tile how many pairs it took."""
    wide, high = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    padded = splats.size // (views * ROW) if views else 0
    lane_x, lane_y, block_x, block_y = offsets()
    starts = np.empty(2 * WIDTH, np.float32)
    work = aligned(5)
    while True:
        job = take(counter)
        if job >= views * wide * high:
            break
        view = job // (wide * high)
        left, upper = job % wide * TILE, job // wide % high * TILE
        alive = light(work, lane_x, lane_y, left, upper, width, height)
        for at in range(PIXELS, STATE, WIDTH):
            store(work, at, 0.0)
        k = tile_first[job]
        while k < tile_first[job + 1] and alive:
            row = (view * padded + pairs[k]) * ROW
            x, y = np.float32(left) + HALF - splats[row + U], np.float32(upper) + HALF - splats[row + V]
            mask = _reaches(splats, row, block_x + x, block_y + y) & alive
            masks[k] = mask
            k += 1
            p, q, r = splats[row + P], splats[row + Q], splats[row + R]
            lane_s, lane_t = fma(lane_x, p, lane_y * q), lane_y * r
            store(starts, 0, fma(block_x + x, p, (block_y + y) * q))
            store(starts, WIDTH, (block_y + y) * r)
            opacity = splats[row + LOG2_OPACITY]
            red, green, blue, z = splats[row + RED], splats[row + GREEN], splats[row + BLUE], splats[row + DEPTH]
            while mask:
                block = lowest_bit(mask)
                mask &= mask - 1
                at = block * WIDTH
                s, t = lane_s + starts[block], lane_t + starts[WIDTH + block]
                a = smaller(exp2(fma(-t, t, fma(-s, s, opacity))), blend.CAP)
                weight, _, left_over, ends = blend.weigh(work, at, a, a >= blend.CUT)
                blend.add_color(work, at, weight, red, green, blue, z)
                if any_lane(ends) and not any_lane(left_over >= blend.STOP):
                    alive &= ~(1 << block)
        visited[job] = k - tile_first[job]
        back_red, back_green, back_blue = backgrounds[view * 3], backgrounds[view * 3 + 1], backgrounds[view * 3 + 2]
        for at in range(0, PIXELS, WIDTH):
            for plane in range(0, STATE, PIXELS):
                store(state, job * STATE + plane + at, load(work, plane + at))
            blend.over_background(work, at, back_red, back_green, back_blue)
        blend.write_images(work, view, left, upper, width, height, color, alpha, depth)


@compiled
def backward(
    counter, splats, views, height, width, pairs, tile_first, backgrounds, state, masks, visited, n, boxes, slot_first,
    d_color, d_alpha, d_depth, partials,
):  # fmt: skip
    """Replay every tile front to back and write for each pair the gradients that `project_backward` sums.

    The gradient of an image that the loss does not use is an empty array.

    With w the weight of splat i and f its value (color . dL/dcolor + depth . dL/ddepth + dL/dalpha), the loss is
    linear in the sum of w f; see `effect_of`.
    """
    wide, high = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    padded = splats.size // (views * ROW) if views else 0
    lane_x, lane_y, block_x, block_y = offsets()
    starts = np.empty(2 * WIDTH, np.float32)
    zero = lane_x * 0.0
    work = aligned(7)
    while True:
        job = take(counter)
        if job >= views * wide * high:
            break
        view, tile_x, tile_y = job // (wide * high), job % wide, job // wide % high
        left, upper = tile_x * TILE, tile_y * TILE
        back_red, back_green, back_blue = backgrounds[view * 3], backgrounds[view * 3 + 1], backgrounds[view * 3 + 2]
        for at in range(PIXELS, 7 * PIXELS, WIDTH):
            store(work, at, 0.0)
        for y in range(min(TILE, height - upper)):
            to = (view * height + upper + y) * width + left
            for x in range(min(TILE, width - left)):
                at = pixel(x, y)
                if d_color.size:
                    work[at + blend.D_RED] = d_color[(to + x) * 3]
                    work[at + blend.D_GREEN] = d_color[(to + x) * 3 + 1]
                    work[at + blend.D_BLUE] = d_color[(to + x) * 3 + 2]
                if d_alpha.size:
                    work[at + D_ALPHA] = d_alpha[to + x]
                if d_depth.size:
                    work[at + blend.D_DEPTH] = d_depth[to + x]
        light(work, lane_x, lane_y, left, upper, width, height)
        for at in range(0, PIXELS, WIDTH):
            kept = job * STATE + at
            covered = 1.0 - magnitude(load(state, kept + blend.THROUGH))
            far = where(covered > 0.0, load(work, at + blend.D_DEPTH) / covered, 0.0)
            red, green = load(work, at + blend.D_RED), load(work, at + blend.D_GREEN)
            blue = load(work, at + blend.D_BLUE)
            sum_z = load(state, kept + blend.SUM_DEPTH)
            one = load(work, at + D_ALPHA) - red * back_red - green * back_green - blue * back_blue
            one = one - where(covered > 0.0, far * sum_z / covered, 0.0)
            store(work, at + D_ALPHA, one)
            store(work, at + blend.D_DEPTH, far)
            whole = fma(green, load(state, kept + blend.SUM_GREEN), one * covered)
            whole = fma(red, load(state, kept + blend.SUM_RED), whole)
            store(work, at + blend.BEHIND, fma(blue, load(state, kept + blend.SUM_BLUE), fma(far, sum_z, whole)))
        for k in range(tile_first[job], tile_first[job + 1]):
            i = view * n + pairs[k]
            slot = slot_of(i, tile_x, tile_y, boxes, slot_first)
            mask = masks[k] if k < tile_first[job] + visited[job] else 0
            if not mask:
                store(partials, slot * ROW, zero)
                continue
            row = (view * padded + pairs[k]) * ROW
            x, y = np.float32(left) + HALF - splats[row + U], np.float32(upper) + HALF - splats[row + V]
            p, q, r = splats[row + P], splats[row + Q], splats[row + R]
            lane_s, lane_t = fma(lane_x, p, lane_y * q), lane_y * r
            store(starts, 0, fma(block_x + x, p, (block_y + y) * q))
            store(starts, WIDTH, (block_y + y) * r)
            opacity = splats[row + LOG2_OPACITY]
            red, green, blue, z = splats[row + RED], splats[row + GREEN], splats[row + BLUE], splats[row + DEPTH]
            g_red = g_green = g_blue = g_z = e = es = et = ess = est = ett = zero
            while mask:
                block = lowest_bit(mask)
                mask &= mask - 1
                at = block * WIDTH
                s, t = lane_s + starts[block], lane_t + starts[WIDTH + block]
                raw = exp2(fma(-t, t, fma(-s, s, opacity)))
                a = smaller(raw, blend.CAP)
                weight, _, _, _ = blend.weigh(work, at, a, a >= blend.CUT)
                d_red, d_green = load(work, at + blend.D_RED), load(work, at + blend.D_GREEN)
                d_blue, d_z = load(work, at + blend.D_BLUE), load(work, at + blend.D_DEPTH)
                g_red, g_green = fma(weight, d_red, g_red), fma(weight, d_green, g_green)
                g_blue, g_z = fma(weight, d_blue, g_blue), fma(weight, d_z, g_z)
                value = fma(d_red, red, fma(d_green, green, fma(d_blue, blue, fma(d_z, z, load(work, at + D_ALPHA)))))
                value = value * weight
                slope = blend.effect_of(work, at, value, weight, raw, a)
                slope_s, slope_t = slope * s, slope * t
                e, es, et = e + slope, es + slope_s, et + slope_t
                ess, est, ett = fma(slope_s, s, ess), fma(slope_s, t, est), fma(slope_t, t, ett)
            store(partials, slot * ROW, sums((g_red, g_green, g_blue, g_z, e, es, et, ess, est, ett)))
