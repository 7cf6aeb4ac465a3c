import pytest
import torch

from maquette.diffusion import alpha_bar_at
from maquette.guidance import Wording, sds, sjc
from maquette.guidance.wording import guided_eps


def test_published_value_at_one_point(standard, point, cameras, time):
    push = sjc(point(0.5), standard, Wording(standard.condition("y")), cameras(), time(500), point(0.3))
    assert push.gradient.item() == pytest.approx(-44.7957150, abs=6e-7)


def test_it_is_the_chained_score_of_the_variance_exploding_process(standard, point, cameras, time):
    # z = y + sigma n, and D(z) = z - sigma eps from a network that reads z / sqrt(1 + sigma^2).
    words, latents, noise, t = Wording(standard.condition("y")), point(0.5, -0.4), point(0.3, 1.1), time(500)
    alpha_bar = alpha_bar_at(standard.alphas_cumprod, t)
    sigma = ((1 - alpha_bar) / alpha_bar) ** 0.5
    assert sigma == pytest.approx(1.6182788, abs=6e-8)
    z = latents + sigma * noise
    denoised = z - sigma * guided_eps(standard, z / (1 + sigma**2) ** 0.5, t, words, cameras(2), 7.5)
    pushes = [
        sjc(latents, standard, words, cameras(2), t, noise, scale=7.5, variance_reduced=reduced).gradient
        for reduced in (True, False)
    ]
    torch.testing.assert_close(pushes[0], -(denoised - latents) / sigma)
    torch.testing.assert_close(pushes[1], -(denoised - z) / sigma)
    same = sds(latents, standard, words, cameras(2), t, noise, scale=7.5, weighting="uniform")
    torch.testing.assert_close(pushes[0], same.gradient)
