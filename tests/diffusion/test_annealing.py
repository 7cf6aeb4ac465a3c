import pytest
import torch

from maquette.core import Constant, Linear
from maquette.diffusion import level_of, scaled_linear
from maquette.diffusion.annealing import (
    MVDREAM,
    PROLIFICDREAMER,
    SJC,
    TimeRange,
    dreamtime,
    dreamtime_bell,
    dreamtime_plateau,
    linear_time,
    sqrt_time,
    time_of,
)

PROGRESS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


def test_times_and_levels_are_inverse():
    assert [level_of(time_of(level), 1000) for level in range(-1, 1000)] == list(range(-1, 1000))
    assert [level_of(time_of(level, 7), 7) for level in range(-1, 7)] == list(range(-1, 7))


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        (dreamtime_plateau(), (1000, 930, 834, 681, 528, 431, 303)),
        (dreamtime_bell(scaled_linear()), (1000, 720, 642, 556, 470, 394, 264)),
        (dreamtime_bell(scaled_linear(), middle=0.75), (1000, 945, 887, 810, 727, 650, 517)),
    ],
)
def test_dreamtime_to_the_published_entries(weights, wanted):
    assert [round(1000 * dreamtime(progress, weights)) for progress in PROGRESS] == list(wanted)
    falling = [dreamtime(i / 200, weights) for i in range(201)]
    assert falling == sorted(falling, reverse=True)
    assert weights.sum().item() == pytest.approx(1)


def test_ranges_move_and_hold_their_ends():
    def ends(times, step):
        return times.low(step), times.high(step)

    assert ends(PROLIFICDREAMER, 4999) == (0.02, 0.98) and ends(PROLIFICDREAMER, 5000) == (0.02, 0.5)
    assert ends(MVDREAM, 0) == (0.98, 0.98)
    assert ends(MVDREAM, 4000) == pytest.approx((0.5, 0.74))
    assert ends(MVDREAM, 8000) == ends(MVDREAM, 9999) == pytest.approx((0.02, 0.5))
    # The first step of MVDream knows its noise level; entries 10 to 969 are SJC's.
    draw = torch.Generator().manual_seed(0)
    assert MVDREAM.sample(0, draw) == pytest.approx(0.98)
    assert (level_of(SJC.low(0), 1000), level_of(SJC.high(0), 1000)) == (10, 969)


def test_samples_fill_their_range_evenly_and_again():
    times = TimeRange(Linear(0.2, 0.4, 10), Constant(0.6))
    draws = [times.sample(5, torch.Generator().manual_seed(seed)) for seed in range(400)]
    assert 0.3 <= min(draws) < 0.31 and 0.59 < max(draws) <= 0.6
    assert sum(draws) / len(draws) == pytest.approx(0.45, abs=0.02)
    assert draws[:3] == [times.sample(5, torch.Generator().manual_seed(seed)) for seed in range(3)]


def test_lines_hit_their_ends():
    for line in (linear_time, sqrt_time):
        assert line(0.0) == 0.98 and line(1.0) == pytest.approx(0.02)
        assert line(1.0, start=0.98, end=0.25) == pytest.approx(0.25)
    assert sqrt_time(0.25) == linear_time(0.5) == pytest.approx(0.5)
