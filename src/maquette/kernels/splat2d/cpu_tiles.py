"""Which splats touch which tiles of an image, front to back. Boxes and depths in, lists out; no gradients."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from maquette.core.lanes import compiled, take
from maquette.core.workers import flat, spread
from maquette.kernels.splat2d.cpu_project import DEPTH, ROW

SHIFT = 4
TILE = 1 << SHIFT
PIXELS = TILE * TILE
HIDDEN = np.uint64(2**64 - 1)


class Lists(NamedTuple):
    """For every tile of every camera the splats that may touch it, and back."""

    pairs: Tensor
    """Splats, tile by tile and front to back."""
    tile_first: Tensor
    """Where the list of each tile starts in `pairs`; one more at the end."""
    boxes: Tensor
    """First and last tile in x, then in y, of every splat."""
    slot_first: Tensor
    slot_count: Tensor
    """Where a splat's own rows lie in the partial gradients: one for each of its tiles."""


def lists(splats: Tensor, outlines: Tensor, height: int, width: int) -> Lists:
    """Sort splats (cameras, padded, ROW), whose boxes in pixels are `outlines` (cameras, surfels, 4), into tiles."""
    views, n = outlines.shape[:2]
    tiles = -(-width // TILE) * -(-height // TILE)
    boxes = torch.empty(views, n, 4, dtype=torch.int16)
    slot_first, slot_count = torch.empty(views, n, dtype=torch.int32), torch.empty(views, n, dtype=torch.int32)
    tile_count, keys = torch.zeros(views * tiles, dtype=torch.int64), np.empty((views, n), np.uint64)
    spread(
        _count, views, flat(outlines), flat(splats).view(np.uint32), n, views, height, width,
        flat(boxes), flat(slot_first), flat(slot_count), flat(tile_count), keys.reshape(-1),
    )  # fmt: skip
    # Numbers with the bits of the depth above those of the row sort like both; numpy does it with vectors.
    keys.sort(axis=1)
    tile_first = torch.nn.functional.pad(tile_count.cumsum(0), (1, 0))
    pairs = torch.empty(int(tile_first[-1]), dtype=torch.int32)
    spread(
        _fill, views, keys.reshape(-1), n, views, height, width, flat(boxes), flat(tile_first), flat(slot_first),
        flat(pairs),
    )  # fmt: skip
    return Lists(pairs, tile_first, boxes, slot_first, slot_count)


@compiled
def _touched(low, high, size):
    """First and last tile with a pixel whose centre lies between `low` and `high`; 1 and 0 if there is none."""
    if not low < high:  # hidden, or not a number
        return 1, 0
    first = max(math.ceil(max(low - np.float32(0.5), np.float32(-1))), 0)
    last = min(math.floor(min(high - np.float32(0.5), np.float32(size))), size - 1)
    if first > last:
        return 1, 0
    return first >> SHIFT, last >> SHIFT


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
            boxes[i * 4], boxes[i * 4 + 1], boxes[i * 4 + 2], boxes[i * 4 + 3] = x0, x1, y0, y1
            slot_count[i] = (x1 - x0 + 1) * (y1 - y0 + 1)
            slot += slot_count[i]
            bits = np.uint64(depth_bits[(view * padded + row) * ROW + DEPTH])
            keys[i] = (bits << np.uint64(32)) | np.uint64(row)
            for ty in range(y0, y1 + 1):
                for tx in range(x0, x1 + 1):
                    tile_count[view * tiles + ty * wide + tx] += 1


@compiled
def _fill(counter, keys, n, views, height, width, boxes, tile_first, slot_first, pairs):
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
        for k in range(view * n, (view + 1) * n):
            if keys[k] == HIDDEN:
                break
            row = np.int64(keys[k] & np.uint64(0xFFFFFFFF))
            box = (view * n + row) * 4
            for ty in range(boxes[box + 2], boxes[box + 3] + 1):
                for tx in range(boxes[box], boxes[box + 1] + 1):
                    tile = ty * wide + tx
                    pairs[at[tile]] = row
                    at[tile] += 1
