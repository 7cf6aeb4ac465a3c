"""Saturation and sharpness against what can be worked out by hand, in double precision."""

import colorsys
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from maquette.evaluation.appearance import LUMA, saturation, sharpness

UNIT = st.floats(0.05, 1.0)


def plain(color, alpha=1.0):
    """One picture of 6 x 6 pixels, of a color at a coverage over white."""
    rgb = torch.tensor(color, dtype=torch.float64).expand(1, 6, 6, 3)
    cover = torch.full((1, 6, 6), alpha, dtype=torch.float64)
    return rgb * alpha + (1 - alpha), cover


@pytest.mark.parametrize("hue", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 0.5, 1), (0.3, 0, 0)])
def test_a_pure_hue_is_1_and_gray_is_0(hue):
    assert saturation(*plain(hue)).item() == pytest.approx(1.0)
    assert saturation(*plain([0.4] * 3)).item() == pytest.approx(0.0)
    assert saturation(*plain([0.0] * 3)).item() == saturation(*plain([1.0] * 3)).item() == 0.0


@given(st.tuples(UNIT, UNIT, UNIT), UNIT)
def test_it_is_that_of_hsv_at_any_coverage(color, alpha):
    assert saturation(*plain(color, alpha)).item() == pytest.approx(colorsys.rgb_to_hsv(*color)[1], abs=1e-9)


def test_the_background_has_no_share_and_coverage_has():
    color, alpha = plain([1.0, 0.0, 0.0])
    alpha[:, :, 2:] = 0.0
    color[:, :, 2:] = 1.0
    assert saturation(color, alpha).item() == pytest.approx(1.0)
    color[:, :, 2:4], alpha[:, :, 2:4] = 0.5, 1.0  # as much gray as red
    assert saturation(color, alpha).item() == pytest.approx(0.5)
    assert saturation(torch.ones(2, 4, 4, 3), torch.zeros(2, 4, 4)).tolist() == [0.0, 0.0]


def wave(k: float, amplitude: float = 0.25, size: int = 64):
    """A gray wave along x with an amplitude, and full coverage in the middle only (borders repeat their pixels)."""
    row = 0.5 + amplitude * torch.cos(k * torch.arange(size, dtype=torch.float64))
    alpha = torch.zeros(1, size, size, dtype=torch.float64)
    alpha[:, 2:-2, 2:-2] = 1.0
    return row.expand(1, size, size)[..., None].expand(1, size, size, 3), alpha


@pytest.mark.parametrize("periods", [4, 8, 16])
def test_the_sharpness_of_a_wave(periods):
    """The Laplacian of cos(k x) is (2 cos k - 2) cos(k x), whose root mean square has a factor of sqrt(1/2)."""
    k = 2 * math.pi * periods / 64
    expected = 0.25 * (2 - 2 * math.cos(k)) / math.sqrt(2)
    assert sharpness(*wave(k)).item() == pytest.approx(expected, rel=0.03), "the window is not a whole of periods"
    assert sharpness(*wave(k, amplitude=0.125)).item() == pytest.approx(sharpness(*wave(k)).item() / 2)
    assert sharpness(*wave(0.0)).item() == pytest.approx(0.0, abs=1e-12)


def test_colors_count_by_their_luma():
    color, alpha = wave(1.0)
    for channel, weight in enumerate(LUMA):
        only = torch.full_like(color, 0.5)
        only[..., channel] = color[..., channel]
        assert sharpness(only, alpha).item() == pytest.approx(weight * sharpness(color, alpha).item())
    assert sum(LUMA) == pytest.approx(1.0)


def test_it_falls_with_every_blur():
    draw = torch.Generator().manual_seed(0)
    pictures = torch.rand(3, 48, 48, 3, generator=draw, dtype=torch.float64)
    alpha = torch.ones(3, 48, 48, dtype=torch.float64)
    taps = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64) / 4
    kernel = (taps[:, None] * taps).expand(3, 1, 3, 3)
    before = sharpness(pictures, alpha)
    for _ in range(6):
        padded = F.pad(pictures.movedim(-1, 1), (1, 1, 1, 1), mode="replicate")
        pictures = F.conv2d(padded, kernel, groups=3).movedim(1, -1)
        after = sharpness(pictures, alpha)
        assert (after < 0.8 * before).all()
        before = after
