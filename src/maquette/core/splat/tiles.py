"""Which splats touch which tiles of an image, front to back, and the pixels of a tile as planes of blocks.

An image is cut into tiles of 16 x 16 pixels, a tile into 16 blocks of 4 x 4, and a block is one vector.
"""

import threading
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from maquette.core.lanes import WIDTH, any_lane, compiled, fma, inlined, larger, load, smaller, store, take, where
from maquette.core.splat.columns import ROW
from maquette.core.workers import flat, spread

SHIFT = 4
TILE = 1 << SHIFT
PIXELS = TILE * TILE
HALF = np.float32(0.5)


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


class Counts(NamedTuple):
    """What a kernel finds out about every splat of every camera, with `enter`, before the lists are written."""

    boxes: Tensor
    slot_first: Tensor
    """Counted from 0 for each camera."""
    slot_count: Tensor
    tile_count: Tensor
    """How many splats each tile has; 0 to begin with."""


def empty_counts(views: int, splats: int, height: int, width: int) -> Counts:
    """Room for them."""
    tiles = -(-width // TILE) * -(-height // TILE)
    boxes = torch.empty(views, splats, 4, dtype=torch.int16)
    slot_first, slot_count = (torch.empty(views, splats, dtype=torch.int32) for _ in range(2))
    return Counts(boxes, slot_first, slot_count, torch.zeros(views * tiles, dtype=torch.int64))


def lists_of(counts: Counts, order: np.ndarray, seen: np.ndarray, height: int, width: int) -> Lists:
    """The lists, from every camera's rows in the order of their depth (flat), of which the first `seen` are there."""
    boxes, slot_first, slot_count, tile_count = counts
    views, splats = slot_first.shape
    tile_first = torch.nn.functional.pad(tile_count.cumsum(0), (1, 0))
    pairs = torch.empty(int(tile_first[-1]), dtype=torch.int32)
    spread(
        _fill, views, order, seen, splats, views, height, width, flat(boxes), flat(tile_first), flat(slot_first),
        flat(pairs),
    )  # fmt: skip
    return Lists(pairs, tile_first, boxes, slot_first, slot_count)


_kept = threading.local()


def partials_for(pairs: int) -> Tensor:
    """Space for partial gradients; up to 64 MiB stay, because fresh pages can cost more than what goes into them."""
    room = getattr(_kept, "room", None)
    if room is None or len(room) < pairs:
        room = torch.empty(pairs, ROW)
        _kept.room = room if pairs <= 2**20 else None
    return room[:pairs]


@inlined
def enter(i, x0, x1, y0, y1, tile, wide, boxes, slot_count, tile_count):
    """Note the tiles of splat `i`, of a camera whose first tile is `tile`; returns how many there are."""
    boxes[i * 4], boxes[i * 4 + 1], boxes[i * 4 + 2], boxes[i * 4 + 3] = x0, x1, y0, y1
    slot_count[i] = (x1 - x0 + 1) * (y1 - y0 + 1)
    for ty in range(y0, y1 + 1):
        for tx in range(x0, x1 + 1):
            tile_count[tile + ty * wide + tx] += 1
    return (x1 - x0 + 1) * (y1 - y0 + 1)


@compiled
def _fill(counter, order, seen, n, views, height, width, boxes, tile_first, slot_first, pairs):
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
def slot_of(i, tile_x, tile_y, boxes, slot_first):
    """Where the partial gradients of splat `i` in a tile lie."""
    return slot_first[i] + (tile_y - boxes[i * 4 + 2]) * (boxes[i * 4 + 1] - boxes[i * 4] + 1) + tile_x - boxes[i * 4]


@compiled
def aligned(planes):
    """Room for planes of a tile that starts on a cache line, so that no vector straddles two."""
    room = np.empty(planes * PIXELS + WIDTH, np.float32)
    skip = (64 - room.ctypes.data % 64) % 64 // 4
    return room[skip : skip + planes * PIXELS]


@compiled
def offsets():
    """Positions of the 16 pixels in a block, x then y, and of the 16 blocks in a tile."""
    table = np.empty(4 * WIDTH, np.float32)
    for k in range(WIDTH):
        table[k], table[WIDTH + k] = k % 4, k // 4
        table[2 * WIDTH + k], table[3 * WIDTH + k] = k % 4 * 4, k // 4 * 4
    return load(table, 0), load(table, 16), load(table, 32), load(table, 48)


@compiled
def pixel(x, y):
    """Where pixel (x, y) of a tile lies in a plane: block by block."""
    return ((y >> 2) * 4 + (x >> 2)) * WIDTH + (y & 3) * 4 + (x & 3)


@compiled
def light(plane, lane_x, lane_y, left, upper, width, height):
    """Full transmittance into a plane, -1 outside of the image; returns the blocks that have pixels, as bits."""
    alive = 0
    for block in range(WIDTH):
        x, y = lane_x + (left + block % 4 * 4), lane_y + (upper + block // 4 * 4)
        inside = (x < width) & (y < height)
        store(plane, block * WIDTH, where(inside, 1.0, -1.0))
        if any_lane(inside):
            alive |= 1 << block
    return alive


@compiled
def nearest_in_blocks(dx, dy, p, q, r, dx_dy, dy_dx):
    """The least |M d|^2 over the pixel centres of each block, M = [[p, q], [0, r]].

    dx and dy lead from the splat's middle to the blocks' first pixels. If the middle lies outside a block, the least
    value is on an edge that faces it, so it is enough to slide along the nearest vertical and the nearest horizontal
    edge, where the splat is brightest at dy_dx and dx_dy.
    """
    side_x, side_y = smaller(larger(dx, 0.0), dx + 3.0), smaller(larger(dy, 0.0), dy + 3.0)
    slide_y = smaller(larger(side_x * dy_dx, dy), dy + 3.0)
    slide_x = smaller(larger(side_y * dx_dy, dx), dx + 3.0)
    s, t = fma(side_x, p, slide_y * q), slide_y * r
    one = fma(s, s, t * t)
    s, t = fma(slide_x, p, side_y * q), side_y * r
    return smaller(one, fma(s, s, t * t))
