"""Where the ink of a plot is."""

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.io.plot import COLORS, Line, legend, line_plot, round_numbers


def ink(picture, i: int) -> torch.Tensor:
    """Pixels in the color of line i, as (row, column)."""
    wanted = torch.tensor([int(COLORS[i][k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return ((picture - wanted).abs().amax(dim=-1) < 0.05).nonzero().float()


def test_lines_are_where_their_numbers_are():
    rising = Line("rising", [0, 10, 20], [0.0, 0.5, 1.0])
    level = Line("level", [0, 20], [0.25, 0.25])
    picture = line_plot([rising, level], title="t", x_label="x", width=400, height=300)
    assert picture.shape == (300, 400, 3)
    up, flat = ink(picture, 0), ink(picture, 1)
    assert torch.corrcoef(up.T)[0, 1] < -0.999, "rows count downwards"
    quarter = up[:, 0].max() - (up[:, 0].max() - up[:, 0].min()) / 4
    assert (flat[:, 0] - quarter).abs().max() <= 4
    assert flat[:, 1].max() - flat[:, 1].min() == pytest.approx((up[:, 1].max() - up[:, 1].min()).item(), abs=3)


def test_gaps_and_single_points_and_nothing():
    points = Line("a", [0, 1, 2], [None, 0.5, float("nan")])
    assert len(ink(line_plot([points], title="", x_label=""), 0)) > 5, "one dot"
    assert torch.equal(
        line_plot([Line("a", [0, 2], [1.0, 3.0])], title="", x_label=""),
        line_plot([Line("a", [0, 1, 2], [1.0, None, 3.0])], title="", x_label=""),
    )
    with pytest.raises(BadInput, match="has no point"):
        line_plot([Line("a", [0], [None])], title="t", x_label="x")


def test_a_band_lies_around_its_line_and_the_axes_hold_it():
    line = Line("a", [0, 10, 20], [0.5, 0.5, 0.5])
    banded = Line("a", [0, 10, 20], [0.5, 0.5, 0.5], [0.1, 0.2, None])
    picture = line_plot([banded], title="", x_label="")
    pale = ((picture[..., 2] - picture[..., 0] > 0.05) & (picture[..., 0] > 0.6)).nonzero().float()
    row, end = ink(picture, 0)[:, 0].median(), ink(picture, 0)[:, 1].max()
    assert len(pale) > 1000 and pale[:, 0].mean() == pytest.approx(row.item(), abs=3)
    left, middle = (
        pale[(pale[:, 1] - x).abs() < 3][:, 0] for x in (pale[:, 1].min() + 4, (pale[:, 1].min() + end) / 2 - 6)
    )
    assert (middle.max() - middle.min()) == pytest.approx(2 * (left.max() - left.min()).item(), rel=0.15)
    beyond = pale[(pale[:, 1] > end - 100) & (pale[:, 1] < end)]
    assert (beyond[:, 0] - row).abs().max() < 8, "where the spread is not known there is none"
    plain = line_plot([line], title="", x_label="")
    assert ((plain[..., 2] - plain[..., 0] > 0.05) & (plain[..., 0] > 0.6)).sum() < 100  # soft edges of the line


def test_the_legend_shows_every_color():
    picture = legend(["one", "two", "three"], 300)
    columns = [ink(picture, i)[:, 1].mean().item() for i in range(3)]
    assert columns == sorted(columns) and picture.shape == (24, 300, 3)


@pytest.mark.parametrize("low_high", [(0.0, 1.0), (-0.04, 1200.0), (0.231, 0.2391), (3e-5, 8e-5), (-7.0, -2.0)])
def test_axes_have_a_few_round_numbers_inside(low_high):
    low, high = low_high
    numbers = round_numbers(low, high)
    assert 3 <= len(numbers) <= 9 and low <= numbers[0] and numbers[-1] <= high
    steps = {f"{b - a:.6g}" for a, b in zip(numbers, numbers[1:], strict=False)}
    assert len(steps) == 1 and steps.pop().replace("e-05", "").strip("0.")[0] in "125"
