"""Tiny random checkpoints of every family of image priors, loaded as the real ones are and held against diffusers."""

import diffusers
import pytest
import torch

from maquette.core import turntable
from maquette.diffusion import x0_from_eps, x0_from_v
from maquette.guidance import ism, texts_by_view
from maquette.priors import MultiviewPrior
from maquette.priors.hub import FAMILIES, family_of
from maquette.priors.load import described, load_prior, spare_memory

CAMERA = turntable(2, 15.0)
SHAPES = {
    "sd": ((4, 8, 8), 64), "sd-v": ((4, 8, 8), 64), "sdxl": ((4, 8, 8), 64), "pixart-alpha": ((4, 128, 128), 1024),
    "pixart-sigma": ((4, 8, 8), 64), "if": ((3, 16, 16), 16),
}  # fmt: skip


@pytest.fixture(scope="module", params=list(SHAPES))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def prior(name, checkpoint):
    return load_prior(checkpoint(name))


def said_by_the_pipeline(folder, prompt: str) -> list[tuple[torch.Tensor, int, torch.Tensor]]:
    """What diffusers' own pipeline hands to its scheduler: (prediction after guidance, index of the table, state)."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    if isinstance(pipeline, diffusers.StableDiffusionXLPipeline):  # its Euler works on another scale of states
        pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config)
    step, heard = pipeline.scheduler.step, []

    def listening(said, t, state, **options):
        heard.append((said, int(t), state))
        return step(said, t, state, **options)

    pipeline.scheduler.step = listening
    extra = {} if "IF" in type(pipeline).__name__ else {"output_type": "latent"}
    if "PixArt" in type(pipeline).__name__:
        extra |= {"use_resolution_binning": False, "clean_caption": False}
    dice = torch.Generator().manual_seed(3)
    pipeline(prompt, num_images_per_prompt=2, num_inference_steps=3, guidance_scale=7.5, generator=dice, **extra)
    return heard


def test_it_is_a_prior_of_the_right_shape(name, prior, checkpoint):
    assert isinstance(prior, MultiviewPrior)
    assert (prior.latent_shape, prior.image_size) == SHAPES[name]
    assert not family_of(checkpoint(name)).is_multiview
    assert f"{type(prior).__name__} in float32 on cpu, " in described(prior)
    words = prior.condition("a red apple")
    assert not torch.equal(words.text, prior.condition("a blue cup").text)
    assert prior.condition("apple " * 400).text.shape == words.text.shape


@torch.no_grad()
def test_it_says_what_the_pipeline_of_diffusers_says(name, prior, checkpoint):
    heard = said_by_the_pipeline(checkpoint(name), "A red apple")
    assert len(heard) == 3
    words, before = prior.condition("A red apple"), prior.evaluations
    for said, level, state in heard:
        x0_from = {"epsilon": x0_from_eps, "v_prediction": x0_from_v}[prior.predicts]
        alpha_bar = float(prior.alphas_cumprod[level])
        wanted = x0_from(state, said[:, : state.shape[1]], alpha_bar)
        got = prior.denoise(state, (level + 1) / 1000, words, CAMERA, guidance=7.5, rescale=0.0)
        # Guidance subtracts two predictions times 7.5, and x0 from eps is divided by the signal, on both sides alike.
        torch.testing.assert_close(got, wanted, atol=2e-4 / alpha_bar**0.5, rtol=1e-4)
    assert prior.evaluations == before + 6


@torch.no_grad()
def test_words_change_the_prediction_and_views_know_nothing_of_each_other(name, prior):
    latents = torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(1))
    words, other = prior.condition("a red apple"), prior.condition("a blue cup")
    one = prior.denoise(latents, 0.5, words, CAMERA, guidance=1.0)
    assert one.dtype == torch.float32
    assert not torch.allclose(one, prior.denoise(latents, 0.5, other, CAMERA, guidance=1.0), atol=1e-6)
    blank = prior.denoise(latents, 0.5, words, CAMERA, guidance=0.0)
    torch.testing.assert_close(blank, prior.denoise(latents, 0.5, prior.condition(""), CAMERA, guidance=1.0))
    guided = prior.denoise(latents, 0.5, words, CAMERA, guidance=3.0)
    torch.testing.assert_close(guided, blank + 3 * (one - blank), atol=1e-4, rtol=1e-4)
    alone = prior.denoise(latents[1:], 0.5, words, CAMERA[1], guidance=1.0)
    torch.testing.assert_close(alone, one[1:], atol=1e-5, rtol=1e-4)


def test_pictures_go_in_with_gradients_and_come_out_in_range(name, prior):
    if prior.image_size > 64:
        pytest.skip("the same autoencoder as the smaller one, at 256 times the cost")
    size = prior.image_size
    images = torch.rand(2, size, size, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    latents = prior.encode(images)
    assert latents.shape == (2, *prior.latent_shape)
    latents.sum().backward()
    assert images.grad[..., :3].abs().sum() > 0 and images.grad[..., 3].abs().sum() == 0
    shown = prior.decode(latents.detach())
    assert shown.shape == (2, size, size, 3) and shown.min() >= 0 and shown.max() <= 1
    if name == "if":
        torch.testing.assert_close(shown, images.detach()[..., :3])
        larger = images.detach()[..., :3].repeat_interleave(2, 1).repeat_interleave(2, 2)
        assert prior.encode(larger).shape == latents.shape and prior.encode(larger).abs().max() <= 1


def test_a_distillation_mixes_words_of_sides(name, prior):
    if prior.image_size > 64:
        pytest.skip("as the smaller one")
    wordings = texts_by_view(prior, "a red apple", negative="ugly").at(turntable(8, 15.0)[1:3])
    latents = torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(2)).requires_grad_()
    push = ism(latents, prior, wordings, CAMERA, 0.5)
    assert torch.isfinite(push.gradient).all() and push.gradient_norm > 0


def test_sdxl_mixes_the_vector_of_the_sentence_with_the_words(checkpoint):
    prior = load_prior(checkpoint("sdxl"))
    texts = texts_by_view(prior, "a red apple")
    (wording,) = texts.at(turntable(8, 15.0)[1])  # 45 degrees: half front, half side
    halves = [texts.by_view[view].pooled for view in ("front", "side")]
    torch.testing.assert_close(wording.positive.pooled, sum(halves) / 2)
    assert prior.condition("").pooled.abs().sum() == 0 == prior.condition("").text.abs().sum()


def test_half_precision_keeps_the_state_and_a_delicate_autoencoder_in_full(checkpoint):
    prior = load_prior(checkpoint("sdxl"), dtype=torch.float16)
    assert prior.unet.dtype == torch.float16 and prior.vae.dtype == torch.float32
    assert "in float16 and float32 on cpu" in described(prior)
    exact = load_prior(checkpoint("sdxl"))
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    x0 = [p.denoise(latents, 0.5, p.condition("an apple"), CAMERA, guidance=1.0) for p in (prior, exact)]
    assert x0[0].dtype == torch.float32
    torch.testing.assert_close(*x0, atol=0.02, rtol=0.02)  # eleven bits in some ten layers


@torch.no_grad()
def test_thrift_changes_nothing_but_the_rounding(checkpoint):
    prior, thrifty = load_prior(checkpoint("sd")), load_prior(checkpoint("sd"))
    spare_memory(vars(thrifty))
    assert thrifty.vae.use_tiling
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    x0 = [p.denoise(latents, 0.5, p.condition("an apple"), CAMERA, guidance=7.5) for p in (prior, thrifty)]
    torch.testing.assert_close(*x0, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(prior.decode(latents), thrifty.decode(latents))


def test_every_family_can_be_imported():
    from importlib import import_module

    for family in FAMILIES.values():
        assert callable(getattr(import_module(family.module), family.loader))
