"""Laying one picture over another."""

import torch

from maquette.core.camera import turntable
from maquette.render import change_background, over, random_color, render_gaussians
from maquette.representations import from_points


def test_changing_the_background_equals_drawing_over_it():
    draw = torch.Generator().manual_seed(0)
    cloud = from_points(torch.randn(50, 3, generator=draw) * 0.2, torch.rand(50, 3, generator=draw), opacity=0.6)
    camera, old, new = turntable(2, size=32), random_color(draw), random_color(draw)
    first, second = (render_gaussians(cloud, camera, background=color) for color in (old, new))
    torch.testing.assert_close(change_background(first.color, first.alpha, old, new), second.color, atol=1e-6, rtol=0)


def test_over():
    half = over(torch.full((2, 2, 3), 0.25), torch.full((2, 2), 0.5), torch.ones(3))
    torch.testing.assert_close(half, torch.full((2, 2, 3), 0.75))


def test_random_color_repeats_with_its_generator():
    a, b = (random_color(torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(a, b)
    assert 0 <= a.min() <= a.max() < 1
