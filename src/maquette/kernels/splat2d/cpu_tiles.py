"""Which splats touch which tiles of an image, front to back. Boxes and depths in, lists out; no gradients."""

import math

import numpy as np
from torch import Tensor

from maquette.core.lanes import compiled, take
from maquette.core.splat.columns import ROW
from maquette.core.splat.tiles import HALF, SHIFT, TILE, Lists, empty_counts, enter, lists_of
from maquette.core.workers import flat, spread
from maquette.kernels.splat2d.cpu_project import DEPTH

HIDDEN = np.uint64(2**64 - 1)


def lists(splats: Tensor, outlines: Tensor, height: int, width: int) -> Lists:
    """Sort splats (cameras, padded, ROW), whose boxes in pixels are `outlines` (cameras, surfels, 4), into tiles."""
    views, n = outlines.shape[:2]
    counts, keys = empty_counts(views, n, height, width), np.empty((views, n), np.uint64)
    spread(
        _count, views, flat(outlines), flat(splats).view(np.uint32), n, views, height, width, *map(flat, counts),
        keys.reshape(-1),
    )  # fmt: skip
    # Numbers with the bits of the depth above those of the row sort like both; numpy does it with vectors.
    keys.sort(axis=1)
    order, seen = keys.astype(np.uint32).view(np.int32), (keys != HIDDEN).sum(axis=1)
    return lists_of(counts, order.reshape(-1), seen, height, width)


@compiled
def _count(
    counter, outlines, depth_bits, n, views, height, width, boxes, slot_first, slot_count, tile_count, keys
):  # fmt: skip
    """Per camera: the tiles of every splat, how many slots they need, and a key that sorts by depth, ties by row."""
    wide = (width + TILE - 1) // TILE
    tiles = wide * ((height + TILE - 1) // TILE)
    padded = depth_bits.size // (views * ROW) if views else 0
    while True:
        view = take(counter)
        if view >= views:
            break
        slot = 0
        for row in range(n):
            i = view * n + row
            x0, x1 = _touched(outlines[i * 4], outlines[i * 4 + 1], width)
            y0, y1 = _touched(outlines[i * 4 + 2], outlines[i * 4 + 3], height)
            slot_first[i], slot_count[i], keys[i] = slot, 0, HIDDEN
            if x0 > x1 or y0 > y1:
                continue
            slot += enter(i, x0, x1, y0, y1, view * tiles, wide, boxes, slot_count, tile_count)
            bits = np.uint64(depth_bits[(view * padded + row) * ROW + DEPTH])
            keys[i] = (bits << np.uint64(32)) | np.uint64(row)


@compiled
def _touched(low, high, size):
    """First and last tile with a pixel whose centre lies between `low` and `high`; 1 and 0 if there is none."""
    if not low < high:  # hidden, or not a number
        return 1, 0
    first = max(math.ceil(max(low - HALF, np.float32(-1))), 0)
    last = min(math.floor(min(high - HALF, np.float32(size))), size - 1)
    if first > last:
        return 1, 0
    return first >> SHIFT, last >> SHIFT
