from dataclasses import replace

import pytest
import torch

from maquette.core import Streams, orbit
from maquette.guidance.regularisers import disparity, total_variation
from maquette.render import render_gaussians
from maquette.training.descent import grey_ball
from maquette.training.variation import Regularisers, Variation, regularisation, varied

CAMERA = orbit(torch.tensor([0.0, 90.0]), 15.0, size=24)
BALL = grey_ball(40, 0.3, Streams(1).generator("points"))


def draw():
    return torch.Generator().manual_seed(0)


def test_nothing_varies_by_default():
    seen, images = varied(Variation(), BALL, CAMERA, draw())
    plain = render_gaussians(BALL, CAMERA, background=torch.ones(3))
    assert torch.equal(images[..., :3], plain.color) and torch.equal(images[..., 3], plain.alpha)
    assert seen.screen_probe.shape == (2, 40, 2)


def test_all_views_of_a_step_are_mirrored_together():
    seen, images = varied(Variation(flip=1.0), BALL, CAMERA, draw())
    assert torch.equal(images[..., :3], seen.color.flip(2)) and torch.equal(images[..., 3], seen.alpha.flip(2))


def test_backgrounds_are_black_or_colored_half_of_the_time():
    corners = [varied(Variation(background=0.5), BALL, CAMERA, g)[1][0, 0, 0, :3] for g in map(_seeded, range(60))]
    white = sum(bool((c == 1).all()) for c in corners)
    black = sum(bool((c == 0).all()) for c in corners)
    assert 20 <= white <= 40 and 5 <= black <= 25
    assert 60 - white - black >= 5


def _seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_noise_on_scales_is_relative_and_gradients_pass():
    raw = BALL.log_scales.clone().requires_grad_()
    seen, _ = varied(Variation(scale_noise=0.112), replace(BALL, log_scales=raw), CAMERA, draw())
    plain = render_gaussians(BALL, CAMERA, background=torch.ones(3))
    assert 0 < (seen.color - plain.color).abs().max() < 0.3
    seen.color.sum().backward()
    assert raw.grad.abs().sum() > 0


def test_total_variation_by_hand():
    images = torch.zeros(1, 2, 3, 1)
    images[0, 0, 0] = 1.0  # one of three steps down, one of four across
    assert total_variation(images).item() == pytest.approx(2 * (1 / 3 + 1 / 4))
    assert total_variation(torch.cat([images, images])).item() == pytest.approx(2 * (1 / 3 + 1 / 4))


def test_disparity_runs_from_the_farthest_to_the_nearest_point():
    alpha, depth = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)
    alpha[0, 0], depth[0, 0] = 1.0, torch.tensor([2.0, 3.0])
    near = disparity(depth, alpha, torch.tensor([2.5]))
    torch.testing.assert_close(near[0], torch.tensor([[1.0, 0.0], [0.0, 0.0]]), atol=1e-4, rtol=0)
    assert torch.equal(disparity(depth, torch.zeros_like(alpha), torch.tensor([2.5])), torch.zeros(1, 2, 2))


def test_regularisers_add_up_with_their_weights():
    seen, _ = varied(Variation(), BALL, CAMERA, draw())
    near = disparity(seen.depth, seen.alpha, CAMERA.focal_px[:, 0])[..., None]
    terms = [total_variation(seen.color), total_variation(near), BALL.scales.mean()]
    assert regularisation(Regularisers(), BALL, seen, CAMERA) == 0.0
    torch.testing.assert_close(
        regularisation(Regularisers(2.0, 3.0, 5.0), BALL, seen, CAMERA), 2 * terms[0] + 3 * terms[1] + 5 * terms[2]
    )
    sparsity = regularisation(
        Regularisers(sparsity=2.0), BALL, replace(seen, alpha=torch.full((2, 24, 24), 0.24)), CAMERA
    )
    assert sparsity.item() == pytest.approx(2 * 0.26)
