"""Stable Diffusion 1.5 (eps) and 2.1 (v), tiny and random; what all families share is tested in test_image_priors."""

import pytest
import torch

from maquette.core import turntable
from maquette.core.errors import BadInput
from maquette.diffusion import alpha_bar_at, x0_from_eps, x0_from_v
from maquette.guidance import ge3d, texts_by_view
from maquette.guidance.ge3d import balancing
from maquette.priors.latent_unet import load_latent_unet

CAMERA = turntable(2, 15.0)


@pytest.fixture(scope="module", params=["sd", "sd-v"])
def prior(request, checkpoint):
    return load_latent_unet(checkpoint(request.param))


def test_it_has_the_table_and_the_words_of_stable_diffusion(prior):
    assert prior.alphas_cumprod[100].item() == pytest.approx(0.894223, abs=1e-6)
    assert prior.condition("a red apple").text.shape == (1, 77, 16)
    with pytest.raises(BadInput, match="words only"):
        prior.condition("", reference=torch.ones(64, 64, 3), camera=CAMERA[0])


@torch.no_grad()
def test_it_says_what_the_network_says_at_one_entry_of_the_table(prior):
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    words, blank, t = prior.condition("a red apple"), prior.condition(""), 0.501
    assert prior.evaluations == 0
    x0_from = {"epsilon": x0_from_eps, "v_prediction": x0_from_v}[prior.predicts]
    expected = []
    for text in (words.text, blank.text):
        said = prior.unet(latents, 500, encoder_hidden_states=text.expand(2, -1, -1)).sample
        expected.append(x0_from(latents, said, alpha_bar_at(prior.alphas_cumprod, t)))
    for guidance, wanted in (
        (1.0, expected[0]),
        (0.0, expected[1]),
        (7.5, expected[1] + 7.5 * (expected[0] - expected[1])),
    ):
        got = prior.denoise(latents, t, words, CAMERA, guidance=guidance, rescale=0.0)
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    assert prior.evaluations == 1 + 1 + 2


def test_pictures_become_the_mean_and_no_sample(prior):
    images = torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    latents = prior.encode(images)
    assert torch.equal(latents, prior.encode(images))
    raw = prior.vae.encode(images.movedim(-1, 1) * 2 - 1).latent_dist.mean
    torch.testing.assert_close(latents, raw * prior.vae.config.scaling_factor)


def test_ge3d_walks_with_it(prior):
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()
    wordings, before = texts_by_view(prior, "a red apple", negative="ugly").at(CAMERA), prior.evaluations
    push = ge3d(latents, prior, wordings, CAMERA, (0.001, 0.2, 0.4), balancing(0, 10, pairs=2, width=3))
    assert torch.isfinite(push.gradient).all() and push.gradient_norm > 0
    assert prior.evaluations > before
    assert all(parameter.grad is None for parameter in prior.unet.parameters())
