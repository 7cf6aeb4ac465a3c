"""Splats to pixels and back. An image is cut into tiles of 16 x 16 pixels, a tile into 16 blocks of 4 x 4, and a block
is one vector: small splats touch few blocks, and a test of all 16 blocks of a tile is itself one vector operation.

Threads share nothing but a counter of jobs; a job writes only what is its own, so bytes do not depend on who did it.
"""

import math

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
from maquette.kernels.splat3d.cpu_project import (
    BLUE,
    DEPTH,
    DX_DY,
    DY_DX,
    GREEN,
    HALF_X,
    HALF_Y,
    LOG2_OPACITY,
    REACH,
    RED,
    ROW,
    P,
    Q,
    R,
    U,
    V,
)

SHIFT = 4
TILE = 1 << SHIFT
PIXELS = TILE * TILE
# What the forward pass keeps of a tile, plane by plane, and what the backward pass works on. A pixel that has ended
# carries its transmittance with a minus sign, which no blending can undo.
THROUGH, SUM_RED, SUM_GREEN, SUM_BLUE, SUM_DEPTH = (plane * PIXELS for plane in range(5))
STATE = 5 * PIXELS
BEHIND, D_RED, D_GREEN, D_BLUE, D_DEPTH, D_ALPHA = (plane * PIXELS for plane in range(1, 7))
CUT, CAP, STOP = np.float32(1 / 255), np.float32(0.99), np.float32(1e-4)
HALF, LARGE = np.float32(0.5), np.float32(1e9)
DIGITS = 2048


@compiled
def _touched(center, half, size):
    """First and last tile with a pixel whose centre lies within `half` of `center`; 1 and 0 if there is none."""
    first = max(center - half - HALF, np.float32(-1))
    last = min(center + half - HALF, np.float32(size))
    if not (half > 0 and half < LARGE and abs(center) < LARGE):  # hidden, or not finite
        return 1, 0
    first, last = max(math.ceil(first), 0), min(math.floor(last), size - 1)
    if first > last:
        return 1, 0
    return first >> SHIFT, last >> SHIFT


@compiled
def sort(
    counter, splats, depth_bits, n, views, height, width,
    order, boxes, slot_first, slot_count, tile_count, seen, radii,
):  # fmt: skip
    """Per camera: which splats touch the image, their tiles, how many slots they need, and their order by depth.

    A radix sort of the bits of the depth, which order like the depth because it is positive; ties keep their rows.
    """
    wide = (width + TILE - 1) // TILE
    tiles = wide * ((height + TILE - 1) // TILE)
    padded = splats.size // (views * ROW) if views else 0
    keys, other_keys = np.empty(n, np.uint32), np.empty(n, np.uint32)
    rows, other_rows = np.empty(n, np.int32), np.empty(n, np.int32)
    digits = np.empty(3 * DIGITS, np.int64)
    while True:
        view = take(counter)
        if view >= views:
            break
        found, slot = 0, 0
        for k in range(3 * DIGITS):
            digits[k] = 0
        for i in range(view * n, (view + 1) * n):
            row = (view * padded + i - view * n) * ROW
            x0, x1 = _touched(splats[row + U], splats[row + HALF_X], width)
            y0, y1 = _touched(splats[row + V], splats[row + HALF_Y], height)
            slot_first[i], slot_count[i], radii[i] = slot, 0, 0
            if x0 > x1 or y0 > y1:
                splats[row + HALF_X] = 0  # the backward pass asks this column who was seen
                continue
            boxes[i * 4], boxes[i * 4 + 1], boxes[i * 4 + 2], boxes[i * 4 + 3] = x0, x1, y0, y1
            slot_count[i] = (x1 - x0 + 1) * (y1 - y0 + 1)
            slot += (x1 - x0 + 1) * (y1 - y0 + 1)
            radii[i] = max(splats[row + HALF_X], splats[row + HALF_Y])
            for ty in range(y0, y1 + 1):
                for tx in range(x0, x1 + 1):
                    tile_count[view * tiles + ty * wide + tx] += 1
            key = np.int64(depth_bits[row + DEPTH])
            keys[found], rows[found] = key, i - view * n
            for d in range(3):
                digits[d * DIGITS + ((key >> (11 * d)) & (DIGITS - 1))] += 1
            found += 1
        for d in range(3):
            start = 0
            for k in range(d * DIGITS, (d + 1) * DIGITS):
                start, digits[k] = start + digits[k], start
            for i in range(found):
                digit = d * DIGITS + ((np.int64(keys[i]) >> (11 * d)) & (DIGITS - 1))
                to = digits[digit]
                digits[digit] = to + 1
                other_keys[to], other_rows[to] = keys[i], rows[i]
            keys, other_keys = other_keys, keys
            rows, other_rows = other_rows, rows
        for i in range(found):
            order[view * n + i] = rows[i]
        seen[view] = found


@compiled
def fill(counter, order, seen, n, views, height, width, boxes, tile_first, slot_first, pairs):
    """Per camera: write every splat, front to back, into the lists of its tiles; make slots global."""
    wide = (width + TILE - 1) // TILE
    tiles = wide * ((height + TILE - 1) // TILE)
    at = np.empty(tiles, np.int64)
    while True:
        view = take(counter)
        if view >= views:
            break
        for tile in range(tiles):
            at[tile] = tile_first[view * tiles + tile]
        for i in range(view * n, (view + 1) * n):
            slot_first[i] += tile_first[view * tiles]
        for k in range(view * n, view * n + seen[view]):
            box = (view * n + order[k]) * 4
            for ty in range(boxes[box + 2], boxes[box + 3] + 1):
                for tx in range(boxes[box], boxes[box + 1] + 1):
                    tile = ty * wide + tx
                    pairs[at[tile]] = order[k]
                    at[tile] += 1


@compiled
def _aligned(planes):
    """Room for planes of a tile that starts on a cache line, so that no vector straddles two."""
    room = np.empty(planes * PIXELS + WIDTH, np.float32)
    skip = (64 - room.ctypes.data % 64) % 64 // 4
    return room[skip : skip + planes * PIXELS]


@compiled
def _offsets():
    """Positions of the 16 pixels in a block, x then y, and of the 16 blocks in a tile."""
    table = np.empty(4 * WIDTH, np.float32)
    for k in range(WIDTH):
        table[k], table[WIDTH + k] = k % 4, k // 4
        table[2 * WIDTH + k], table[3 * WIDTH + k] = k % 4 * 4, k // 4 * 4
    return load(table, 0), load(table, 16), load(table, 32), load(table, 48)


@compiled
def _pixel(x, y):
    """Where pixel (x, y) of a tile lies in a plane: block by block."""
    return ((y >> 2) * 4 + (x >> 2)) * WIDTH + (y & 3) * 4 + (x & 3)


@compiled
def _reaches(splats, row, dx, dy):
    """Which blocks a splat touches: where the least |M d|^2 over the block's pixel centres is within reach.

    dx and dy are the offsets of the blocks' first pixels from the mean. If the mean lies outside, the least value is
    on an edge that faces it, so it is enough to slide along the nearest vertical and the nearest horizontal edge.
    """
    p, q, r = splats[row + P], splats[row + Q], splats[row + R]
    side_x, side_y = smaller(larger(dx, 0.0), dx + 3.0), smaller(larger(dy, 0.0), dy + 3.0)
    slide_y = smaller(larger(side_x * splats[row + DY_DX], dy), dy + 3.0)
    slide_x = smaller(larger(side_y * splats[row + DX_DY], dx), dx + 3.0)
    s, t = fma(side_x, p, slide_y * q), slide_y * r
    one = fma(s, s, t * t)
    s, t = fma(slide_x, p, side_y * q), side_y * r
    other = fma(s, s, t * t)
    return bits(smaller(one, other) <= splats[row + REACH] * np.float32(1.0001) + np.float32(1e-3))


@compiled
def forward(
    counter, splats, views, height, width, pairs, tile_first, backgrounds, state, masks, visited, color, alpha, depth
):  # fmt: skip
    """Blend every tile front to back; keep per pair the blocks that it changed, per tile how many pairs it took."""
    wide, high = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    padded = splats.size // (views * ROW) if views else 0
    lane_x, lane_y, block_x, block_y = _offsets()
    starts = np.empty(2 * WIDTH, np.float32)
    work = _aligned(5)
    while True:
        job = take(counter)
        if job >= views * wide * high:
            break
        view = job // (wide * high)
        left, upper = job % wide * TILE, job // wide % high * TILE
        alive = 0
        for block in range(WIDTH):
            x, y = lane_x + (left + block % 4 * 4), lane_y + (upper + block // 4 * 4)
            inside = (x < width) & (y < height)
            store(work, block * WIDTH, where(inside, 1.0, -1.0))
            if any_lane(inside):
                alive |= 1 << block
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
                a = smaller(exp2(fma(-t, t, fma(-s, s, opacity))), CAP)
                through = load(work, at + THROUGH)
                weight = where(a >= CUT, a * through, 0.0)
                left_over = through - weight
                ends = left_over < STOP
                weight = where(ends, 0.0, weight)
                store(work, at + THROUGH, where(ends, -magnitude(through), left_over))
                store(work, at + SUM_RED, fma(weight, red, load(work, at + SUM_RED)))
                store(work, at + SUM_GREEN, fma(weight, green, load(work, at + SUM_GREEN)))
                store(work, at + SUM_BLUE, fma(weight, blue, load(work, at + SUM_BLUE)))
                store(work, at + SUM_DEPTH, fma(weight, z, load(work, at + SUM_DEPTH)))
                if any_lane(ends) and not any_lane(left_over >= STOP):
                    alive &= ~(1 << block)
        visited[job] = k - tile_first[job]
        back_red, back_green, back_blue = backgrounds[view * 3], backgrounds[view * 3 + 1], backgrounds[view * 3 + 2]
        for at in range(0, PIXELS, WIDTH):
            for plane in range(0, STATE, PIXELS):
                store(state, job * STATE + plane + at, load(work, plane + at))
            through = magnitude(load(work, at + THROUGH))
            covered = 1.0 - through
            is_covered = covered > 0.0
            store(work, at + THROUGH, covered)
            store(work, at + SUM_RED, fma(through, back_red, load(work, at + SUM_RED)))
            store(work, at + SUM_GREEN, fma(through, back_green, load(work, at + SUM_GREEN)))
            store(work, at + SUM_BLUE, fma(through, back_blue, load(work, at + SUM_BLUE)))
            store(work, at + SUM_DEPTH, load(work, at + SUM_DEPTH) / where(is_covered, covered, 1.0))
        for y in range(min(TILE, height - upper)):
            to = (view * height + upper + y) * width + left
            for x in range(min(TILE, width - left)):
                at = _pixel(x, y)
                color[(to + x) * 3] = work[at + SUM_RED]
                color[(to + x) * 3 + 1] = work[at + SUM_GREEN]
                color[(to + x) * 3 + 2] = work[at + SUM_BLUE]
                alpha[to + x] = work[at + THROUGH]
                depth[to + x] = work[at + SUM_DEPTH]


@compiled
def backward(
    counter, splats, views, height, width, pairs, tile_first, backgrounds, state, masks, visited, n, boxes, slot_first,
    d_color, d_alpha, d_depth, partials,
):  # fmt: skip
    """Replay every tile front to back and write for each pair the gradients that `project_backward` sums.

    The gradient of an image that the loss does not use is an empty array.

    With w the weight of splat i and f its value (color . dL/dcolor + depth . dL/ddepth + dL/dalpha), the loss is
    linear in the sum of w f, and alpha dL/dalpha = w f - (sum of w f behind i) alpha / (1 - alpha). What is behind is
    the pixel's total, known from the forward pass, less what has been passed.
    """
    wide, high = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    padded = splats.size // (views * ROW) if views else 0
    lane_x, lane_y, block_x, block_y = _offsets()
    starts = np.empty(2 * WIDTH, np.float32)
    zero = lane_x * 0.0
    work = _aligned(7)
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
                at = _pixel(x, y)
                if d_color.size:
                    work[at + D_RED] = d_color[(to + x) * 3]
                    work[at + D_GREEN] = d_color[(to + x) * 3 + 1]
                    work[at + D_BLUE] = d_color[(to + x) * 3 + 2]
                if d_alpha.size:
                    work[at + D_ALPHA] = d_alpha[to + x]
                if d_depth.size:
                    work[at + D_DEPTH] = d_depth[to + x]
        for at in range(0, PIXELS, WIDTH):
            x, y = lane_x + (left + at // WIDTH % 4 * 4), lane_y + (upper + at // WIDTH // 4 * 4)
            store(work, at + THROUGH, where((x < width) & (y < height), 1.0, -1.0))
            kept = job * STATE + at
            covered = 1.0 - magnitude(load(state, kept + THROUGH))
            far = where(covered > 0.0, load(work, at + D_DEPTH) / covered, 0.0)
            red, green, blue = load(work, at + D_RED), load(work, at + D_GREEN), load(work, at + D_BLUE)
            sum_z = load(state, kept + SUM_DEPTH)
            one = load(work, at + D_ALPHA) - red * back_red - green * back_green - blue * back_blue
            one = one - where(covered > 0.0, far * sum_z / covered, 0.0)
            store(work, at + D_ALPHA, one)
            store(work, at + D_DEPTH, far)
            whole = fma(red, load(state, kept + SUM_RED), fma(green, load(state, kept + SUM_GREEN), one * covered))
            store(work, at + BEHIND, fma(blue, load(state, kept + SUM_BLUE), fma(far, sum_z, whole)))
        for k in range(tile_first[job], tile_first[job + 1]):
            i = view * n + pairs[k]
            slot = slot_first[i] + (tile_y - boxes[i * 4 + 2]) * (boxes[i * 4 + 1] - boxes[i * 4] + 1)
            slot += tile_x - boxes[i * 4]
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
                a = smaller(raw, CAP)
                through = load(work, at + THROUGH)
                weight = where(a >= CUT, a * through, 0.0)
                left_over = through - weight
                ends = left_over < STOP
                weight = where(ends, 0.0, weight)
                store(work, at + THROUGH, where(ends, -magnitude(through), left_over))
                d_red, d_green = load(work, at + D_RED), load(work, at + D_GREEN)
                d_blue, d_z = load(work, at + D_BLUE), load(work, at + D_DEPTH)
                g_red, g_green = fma(weight, d_red, g_red), fma(weight, d_green, g_green)
                g_blue, g_z = fma(weight, d_blue, g_blue), fma(weight, d_z, g_z)
                value = fma(d_red, red, fma(d_green, green, fma(d_blue, blue, fma(d_z, z, load(work, at + D_ALPHA)))))
                value = value * weight
                behind = load(work, at + BEHIND) - value
                store(work, at + BEHIND, behind)
                slope = where((weight > 0.0) & (raw <= CAP), value - behind * a / (1.0 - a), 0.0)
                slope_s, slope_t = slope * s, slope * t
                e, es, et = e + slope, es + slope_s, et + slope_t
                ess, est, ett = fma(slope_s, s, ess), fma(slope_s, t, est), fma(slope_t, t, ett)
            store(partials, slot * ROW, sums((g_red, g_green, g_blue, g_z, e, es, et, ess, est, ett)))
