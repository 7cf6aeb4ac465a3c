"""Tiny random SVD and SV3D, loaded as the real ones are, and walked beside the pipeline of diffusers."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.core import Result, orbit, turntable
from maquette.core.errors import BadInput
from maquette.diffusion import ddim, karras_table, sigma_of
from maquette.models.video_unet import predict_frames, sinusoids
from maquette.pipelines import im3d
from maquette.priors import MultiviewPrior
from maquette.priors.analytic import RandomPyramid
from maquette.priors.video import VideoPrior, load_video

SIZE, FRAMES = 64, 4
PICTURE = torch.rand(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255
FRONT = orbit(0.0, 10.0)


def write_checkpoint(folder, kind: str) -> None:
    from diffusers import (
        AutoencoderKL,
        AutoencoderKLTemporalDecoder,
        EulerDiscreteScheduler,
        UNetSpatioTemporalConditionModel,
    )
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    unet = UNetSpatioTemporalConditionModel(
        sample_size=8, block_out_channels=(64, 64), layers_per_block=1, num_attention_heads=2, cross_attention_dim=16,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"), addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=8 * {"svd": 3, "sv3d_u": 1, "sv3d_p": 5}[kind], num_frames=FRAMES,
    )  # fmt: skip
    unet.save_pretrained(folder / "unet")  # 64 channels, as a norm of one channel a group is deaf to noise levels
    stages = {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1, "latent_channels": 4, "sample_size": SIZE,
              "down_block_types": ("DownEncoderBlock2D",) * 4}  # fmt: skip
    if kind == "svd":
        vae = AutoencoderKLTemporalDecoder(**stages)
    else:
        vae = AutoencoderKL(**stages, up_block_types=("UpDecoderBlock2D",) * 4)
    vae.save_pretrained(folder / "vae")
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, projection_dim=16, num_hidden_layers=1, num_attention_heads=2,
        image_size=224, patch_size=56,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")
    EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        use_karras_sigmas=True, sigma_min=0.002, sigma_max=700.0, timestep_type="continuous",
        timestep_spacing="leading", steps_offset=1,
    ).save_pretrained(folder / "scheduler")  # fmt: skip
    name = "StableVideoDiffusionPipeline" if kind == "svd" else "StableVideo3DDiffusionPipeline"
    index = {"_class_name": name, "vae": ["diffusers", type(vae).__name__]}
    (folder / "model_index.json").write_text(json.dumps(index))


@pytest.fixture(scope="module")
def priors(tmp_path_factory):
    made = {}
    for kind in ("svd", "sv3d_u", "sv3d_p"):
        folder = tmp_path_factory.mktemp(kind)
        write_checkpoint(folder, kind)
        loaded = load_video(folder)
        made[kind] = VideoPrior(loaded.unet, loaded.vae, loaded.image_encoder, size=SIZE)
        made[kind].folder = folder
    return made


def noise(count: int = FRAMES) -> torch.Tensor:
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_table_is_edm_in_other_words():
    table = karras_table()
    assert sigma_of(float(table[0])) == pytest.approx(0.002) and sigma_of(float(table[-1])) == pytest.approx(700)
    assert sigma_of(float(karras_table(3)[1])) == pytest.approx(((0.002 ** (1 / 7) + 700 ** (1 / 7)) / 2) ** 7)
    for alpha_bar in map(float, table[::111]):
        sigma = sigma_of(alpha_bar)
        c_skip, c_out, c_in = 1 / (sigma**2 + 1), sigma / math.sqrt(sigma**2 + 1), 1 / math.sqrt(sigma**2 + 1)
        # x0 = a z - s F with z = c_in x:  a c_in is c_skip, and s is -c_out
        assert math.sqrt(alpha_bar) * c_in == pytest.approx(c_skip) and math.sqrt(1 - alpha_bar) == pytest.approx(c_out)


def test_it_is_a_prior_and_says_which(priors):
    for kind, prior in priors.items():
        assert isinstance(prior, MultiviewPrior)
        assert (prior.kind, prior.latent_shape, prior.image_size) == (kind, (4, 8, 8), SIZE)
        with pytest.raises(BadInput, match="starts from a picture"):
            prior.condition("a red apple")
    assert load_video(priors["svd"].folder).image_size == 576


@torch.no_grad()
def test_a_walk_is_the_one_of_diffusers(priors):
    from diffusers import EulerDiscreteScheduler, StableVideoDiffusionPipeline
    from transformers import CLIPImageProcessorPil

    prior, steps = priors["svd"], 4
    pipeline = StableVideoDiffusionPipeline(
        prior.vae, prior.image_encoder, prior.unet,
        EulerDiscreteScheduler.from_pretrained(prior.folder / "scheduler"),
        CLIPImageProcessorPil(crop_size=224, size=224),
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    picture = Image.fromarray((PICTURE.numpy() * 255).round().astype(np.uint8))
    asked = {"height": SIZE, "width": SIZE, "num_frames": FRAMES, "num_inference_steps": steps}
    wanted = pipeline(picture, **asked, noise_aug_strength=0.02, latents=noise()[None], output_type="latent",
                      generator=torch.Generator().manual_seed(0)).frames[0]  # fmt: skip

    condition = prior.condition("", reference=PICTURE, camera=FRONT)
    draw = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    told = condition.picture - prior.vae.encode(PICTURE.movedim(-1, 0)[None] * 2 - 1 + 0.02 * draw).latent_dist.mode()
    assert 0 < told.std() < 0.1 * condition.picture.std(), "its own draw of the little noise"
    condition = type(condition)("", condition.text, picture=condition.picture - told)

    def denoise(z: torch.Tensor, t: float) -> torch.Tensor:
        return prior.denoise(z, t, condition, turntable(FRAMES), guidance=3.0)

    # Diffusers' last level before clean is sigma_min, so of 1000 levels these are its four: entries 999, 666, 333, 0.
    before, levels = prior.evaluations, [1.0, 0.667, 0.334, 0.001, 0.0]
    got = ddim(denoise, noise(), levels, prior.alphas_cumprod)
    torch.testing.assert_close(got, wanted, atol=2e-4, rtol=2e-4)
    assert prior.evaluations - before == 2 * steps
    frames = pipeline.decode_latents(wanted[None], FRAMES)[0].movedim(0, 1)
    torch.testing.assert_close(prior.decode(wanted).movedim(-1, 1), (frames / 2 + 0.5).clamp(0, 1))


@torch.no_grad()
def test_equal_vectors_make_it_the_network_of_diffusers(priors):
    unet = priors["svd"].unet
    frames, tokens = torch.randn(2, 3, 8, 8, 8), torch.randn(2, 1, 16)
    numbers = torch.tensor([[6.0, 127.0, 0.02], [5.0, 1.0, 0.5]])
    wanted = unet(frames, 0.7, encoder_hidden_states=tokens, added_time_ids=numbers).sample
    vectors = sinusoids(numbers, 8).flatten(1)[:, None].expand(-1, 3, -1)
    torch.testing.assert_close(predict_frames(unet, frames, 0.7, tokens, vectors), wanted)
    other = torch.cat([vectors[:, :2], vectors[:, 2:] + 1], dim=1)
    assert (predict_frames(unet, frames, 0.7, tokens, other) - wanted).abs().max() > 1e-4
    with pytest.raises(BadInput, match="multiples of 2"):
        predict_frames(unet, frames[..., :7], 0.7, tokens, vectors)


def test_sv3d_is_told_of_a_turn_that_ends_at_the_picture(priors):
    """The official list: azimuths linspace(0, 360, 22)[1:] with 0 for the last, polar angles 90 - elevation."""
    prior = priors["sv3d_p"]
    seen = prior.condition("", reference=PICTURE, camera=orbit(40.0, 10.0))
    order, told = prior._frames(seen, orbit(40 + torch.arange(21) * 360 / 21, 10.0))
    assert order.tolist() == [*range(1, 21), 0]
    azimuth = torch.tensor([17.142857 * k for k in range(1, 21)] + [0.0]).deg2rad()
    wanted = [sinusoids(torch.tensor([1e-5]), 8).expand(21, -1), sinusoids(torch.full((21,), 80.0).deg2rad(), 16)]
    torch.testing.assert_close(told, torch.cat([*wanted, sinusoids(azimuth, 16)], dim=1), atol=1e-5, rtol=1e-5)
    mixed, _ = prior._frames(seen, orbit(torch.tensor([220.0, 39.999999, 130.0, -50.0]), 10.0))
    assert mixed.tolist() == [2, 0, 3, 1]


@pytest.mark.parametrize("kind", ["sv3d_u", "sv3d_p"])
def test_sv3d_does_not_mind_in_which_order_views_are_asked_for(priors, kind):
    prior, camera, z = priors[kind], turntable(FRAMES, 20.0), noise()
    seen, other = prior.condition("", reference=PICTURE, camera=FRONT), torch.tensor([2, 0, 3, 1])
    together = prior.denoise(z, 0.6, seen, camera, guidance=2.5)
    torch.testing.assert_close(prior.denoise(z[other], 0.6, seen, camera[other], guidance=2.5), together[other])
    higher = prior.denoise(z, 0.6, seen, turntable(FRAMES, 30.0), guidance=2.5)
    assert torch.equal(higher, together) == (kind == "sv3d_u"), "only SV3D_p is told the elevation"


def test_guidance_grows_over_frames(priors):
    assert priors["svd"]._growth(5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert priors["sv3d_p"]._growth(5).tolist() == [0, 0.5, 1, 0.5, 0]
    prior, camera, z = priors["svd"], turntable(FRAMES), noise()
    seen = prior.condition("", reference=PICTURE, camera=FRONT)
    with_it, without = (prior.denoise(z, 0.5, seen, camera, guidance=scale) for scale in (1.0, 0.0))
    guided = prior.denoise(z, 0.5, seen, camera, guidance=4.0)
    scales = torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None, None, None]
    torch.testing.assert_close(guided, without + scales * (with_it - without))
    assert (with_it - without).abs().max() > 1e-3, "the picture is heard"
    assert prior.evaluations % 2 == 0


def test_a_pipeline_runs_on_its_views(priors):
    prior = priors["sv3d_p"]
    before = prior.evaluations
    events = list(im3d.run(im3d.TINY, prior, RandomPyramid(), prompt="", image=PICTURE))
    assert isinstance(events[-1], Result) and prior.evaluations - before == events[-1].report["evaluations"] == 6


def test_what_is_no_such_video_model_is_refused(priors):
    prior = priors["svd"]
    odd = torch.nn.Linear(16, 8)
    unet = type("Unet", (), {"config": prior.unet.config, "add_embedding": type("E", (), {"linear_1": odd})})
    with pytest.raises(BadInput, match="2 times 8 numbers"):
        VideoPrior(unet, prior.vae, prior.image_encoder)
