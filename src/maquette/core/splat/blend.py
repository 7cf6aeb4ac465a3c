"""One splat after another into the planes of a tile, and back: what does not depend on the kind of splat.

A pixel that has ended carries its transmittance with a minus sign, which no blending can undo.
"""

import numpy as np

from maquette.core.lanes import compiled, fma, load, magnitude, store, where
from maquette.core.splat import ALPHA_CAP, ALPHA_CUT
from maquette.core.splat import STOP as _STOP
from maquette.core.splat.tiles import PIXELS, TILE, pixel

THROUGH, SUM_RED, SUM_GREEN, SUM_BLUE, SUM_DEPTH = (plane * PIXELS for plane in range(5))
"""Planes of the forward pass; each kind of splat may have more behind them."""
BEHIND, D_RED, D_GREEN, D_BLUE, D_DEPTH = (plane * PIXELS for plane in range(1, 6))
"""Planes of the backward pass, besides THROUGH."""
CUT, CAP, STOP = np.float32(ALPHA_CUT), np.float32(ALPHA_CAP), np.float32(_STOP)


@compiled
def weigh(work, at, alpha, is_drawn):
    """Let a block's light through a splat: its weights, the light before and after it, and which pixels it ends."""
    through = load(work, at + THROUGH)
    weight = where(is_drawn, alpha * through, 0.0)
    left_over = through - weight
    ends = left_over < STOP
    weight = where(ends, 0.0, weight)
    store(work, at + THROUGH, where(ends, -magnitude(through), left_over))
    return weight, through, left_over, ends


@compiled
def add_color(work, at, weight, red, green, blue, z):
    """Add a splat's color and depth to the sums of a block."""
    store(work, at + SUM_RED, fma(weight, red, load(work, at + SUM_RED)))
    store(work, at + SUM_GREEN, fma(weight, green, load(work, at + SUM_GREEN)))
    store(work, at + SUM_BLUE, fma(weight, blue, load(work, at + SUM_BLUE)))
    store(work, at + SUM_DEPTH, fma(weight, z, load(work, at + SUM_DEPTH)))


@compiled
def over_background(work, at, back_red, back_green, back_blue):
    """From the sums of a block to its images, in place, coverage where the transmittance was; returns the coverage."""
    through = magnitude(load(work, at + THROUGH))
    covered = 1.0 - through
    store(work, at + THROUGH, covered)
    store(work, at + SUM_RED, fma(through, back_red, load(work, at + SUM_RED)))
    store(work, at + SUM_GREEN, fma(through, back_green, load(work, at + SUM_GREEN)))
    store(work, at + SUM_BLUE, fma(through, back_blue, load(work, at + SUM_BLUE)))
    store(work, at + SUM_DEPTH, load(work, at + SUM_DEPTH) / where(covered > 0.0, covered, 1.0))
    return covered


@compiled
def write_images(work, view, left, upper, width, height, color, alpha, depth):
    """The pixels of a tile into the images."""
    for y in range(min(TILE, height - upper)):
        to = (view * height + upper + y) * width + left
        for x in range(min(TILE, width - left)):
            at = pixel(x, y)
            color[(to + x) * 3] = work[at + SUM_RED]
            color[(to + x) * 3 + 1] = work[at + SUM_GREEN]
            color[(to + x) * 3 + 2] = work[at + SUM_BLUE]
            alpha[to + x] = work[at + THROUGH]
            depth[to + x] = work[at + SUM_DEPTH]


@compiled
def effect_of(work, at, value, weight, raw, alpha):
    """dL / d ln(alpha) of a splat whose weights change the loss by `value`; none where its alpha was capped.

    With w the weight of splat i and f = dL / dw_i, alpha dL/dalpha = w f - (sum of w f behind i) alpha / (1 - alpha).
    What is behind is the pixel's total, known from the forward pass, less what has been passed.
    """
    behind = load(work, at + BEHIND) - value
    store(work, at + BEHIND, behind)
    return where((weight > 0.0) & (raw <= CAP), value - behind * alpha / (1.0 - alpha), 0.0)
