"""Line plots with nothing but Pillow, for reports of runs: a few curves, axes with round numbers, and a legend."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from maquette.core.errors import BadInput

# Okabe and Ito (2008): told apart by color-blind eyes; then darker ones.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#444444", "#8C564B", "#999900")
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 26, 40


@dataclass(frozen=True)
class Line:
    """One curve; a point whose y is None is left out."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    spread: Sequence[float | None] = ()
    """Half of the height of a pale band around each point; none where it is None or left out."""


def line_plot(
    lines: Sequence[Line], *, title: str, x_label: str, width: int = 460, height: int = 300
) -> Float[Tensor, "height width 3"]:
    """Curves over common axes that hold all points, as an sRGB picture without a legend (`legend` draws one for many).

    Lines take `COLORS` in their order, around again after the last. Raises `BadInput` where there is no point.
    """
    points = [_points(line) for line in lines]
    bands = [_band(line) for line in lines]
    known = [point for line in (*points, *bands) for point in line]
    if not known:
        raise BadInput(f"the plot {title!r} has no point", "give at least one curve with a finite value")
    x_low, x_high = _range([x for x, _ in known])
    y_low, y_high = _range([y for _, y in known])
    scale = 2  # drawn larger and shrunk: Pillow draws lines without smoothing
    image = Image.new("RGB", (width * scale, height * scale), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=11 * scale)

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - x_low) / (x_high - x_low) * (width - _LEFT - _RIGHT)
        down = height - _BOTTOM - (y - y_low) / (y_high - y_low) * (height - _TOP - _BOTTOM)
        return across * scale, down * scale

    for y in round_numbers(y_low, y_high):
        left, right = place(x_low, y), place(x_high, y)
        draw.line([left, right], fill="#DDDDDD", width=scale)
        draw.text((left[0] - 5 * scale, left[1]), f"{y:g}", fill="black", font=font, anchor="rm")
    for x in round_numbers(x_low, x_high):
        foot = place(x, y_low)
        draw.line([foot, (foot[0], foot[1] + 4 * scale)], fill="black", width=scale)
        draw.text((foot[0], foot[1] + 6 * scale), f"{x:g}", fill="black", font=font, anchor="mt")
    draw.line([place(x_low, y_high), place(x_low, y_low), place(x_high, y_low)], fill="black", width=scale)
    middle = (_LEFT + (width - _LEFT - _RIGHT) / 2) * scale
    draw.text((middle, 6 * scale), title, fill="black", font=font, anchor="mt")
    draw.text((middle, (height - 6) * scale), x_label, fill="black", font=font, anchor="mb")
    for i, band in enumerate(bands):
        if len(band) > 2:
            veil = Image.new("L", image.size)
            ImageDraw.Draw(veil).polygon([place(x, y) for x, y in band], fill=40)
            image.paste(COLORS[i % len(COLORS)], mask=veil)
    for i, line in enumerate(points):
        color, spots = COLORS[i % len(COLORS)], [place(x, y) for x, y in line]
        if len(spots) > 1:
            draw.line(spots, fill=color, width=2 * scale, joint="curve")
        for across, down in spots:
            draw.ellipse([across - 5, down - 5, across + 5, down + 5], fill=color)
    return _pixels(image.resize((width, height), Image.Resampling.BOX))


def legend(names: Sequence[str], width: int, *, height: int = 24) -> Float[Tensor, "height width 3"]:
    """The names of the lines in a row, beside their colors."""
    image = Image.new("RGB", (width, height), "white")
    draw, font, left = ImageDraw.Draw(image), ImageFont.load_default(size=13), 12.0
    for i, name in enumerate(names):
        draw.rectangle([left, height / 2 - 3, left + 18, height / 2 + 3], fill=COLORS[i % len(COLORS)])
        draw.text((left + 23, height / 2), name, fill="black", font=font, anchor="lm")
        left += 40 + font.getlength(name)
    return _pixels(image)


def round_numbers(low: float, high: float, *, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], some `about` of them.

    >>> round_numbers(0.03, 0.61)
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    """
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / rough)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def _points(line: Line) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(line.x, line.y, strict=True) if y is not None and math.isfinite(y)]


def _band(line: Line) -> list[tuple[float, float]]:
    """The corners around what is between y - spread and y + spread: along the top, and back along the bottom."""
    rows = zip(line.x, line.y, line.spread, strict=False)
    known = [(x, y, half) for x, y, half in rows if y is not None and half is not None and math.isfinite(y + half)]
    return [(x, y + half) for x, y, half in known] + [(x, y - half) for x, y, half in reversed(known)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From the least to the most with a margin; never empty."""
    low, high = min(values), max(values)
    margin = (high - low) * 0.04 or max(abs(high), 1.0) * 0.1
    return low - margin, high + margin


def _pixels(image: Image.Image) -> Float[Tensor, "height width 3"]:
    return torch.from_numpy(np.array(image, dtype=np.float32) / 255)
