"""Which Gaussians touch which tiles, front to back. Splats in, lists and radii out; no gradients."""

import math

import numpy as np
import torch
from torch import Tensor

from maquette.core.lanes import compiled, take
from maquette.core.splat.columns import ROW
from maquette.core.splat.tiles import HALF, SHIFT, TILE, Lists, empty_counts, enter, lists_of
from maquette.core.workers import flat, spread
from maquette.kernels.splat3d.cpu_project import DEPTH, HALF_X, HALF_Y, U, V

LARGE = np.float32(1e9)
DIGITS = 2048


def lists(splats: Tensor, views: int, n: int, height: int, width: int) -> tuple[Lists, Tensor]:
    """Sort splats (cameras, padded, ROW) into tiles; also their radii (cameras, Gaussians) in px, 0 where hidden."""
    counts = empty_counts(views, n, height, width)
    order, seen = torch.empty(views, n, dtype=torch.int32), torch.empty(views, dtype=torch.int64)
    radii = torch.empty(views, n)
    spread(
        _sort, views, flat(splats), flat(splats).view(np.uint32), n, views, height, width, *map(flat, counts),
        flat(order), flat(seen), flat(radii),
    )  # fmt: skip
    return lists_of(counts, flat(order), flat(seen), height, width), radii


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
def _sort(
    counter, splats, depth_bits, n, views, height, width,
    boxes, slot_first, slot_count, tile_count, order, seen, radii,
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
            slot += enter(i, x0, x1, y0, y1, view * tiles, wide, boxes, slot_count, tile_count)
            radii[i] = max(splats[row + HALF_X], splats[row + HALF_Y])
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
