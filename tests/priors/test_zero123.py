"""A tiny random Zero123++, loaded as the real one is; its attention held against one made of hooks."""

import json
import shutil

import pytest
import torch
from diffusers import DDIMScheduler

from maquette.core import Streams, orbit, turntable
from maquette.core.errors import BadInput
from maquette.diffusion import add_noise, x0_from_v
from maquette.priors import MultiviewPrior
from maquette.priors.hub import family_of
from maquette.priors.load import load_prior
from maquette.priors.zero123 import V1_1, Zero123Prior, as_grid, as_views, six_cameras

SIZE = 64
PICTURE = torch.rand(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0))
SEEN_BY = orbit(40.0, 10.0)
CAMERA = six_cameras(SEEN_BY)
RAMP = [round(0.05 * i, 2) for i in range(77)]


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    path = tmp_path_factory.mktemp("zero123") / "plus"
    shutil.copytree(checkpoint("sd-v"), path)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, projection_dim=16, num_hidden_layers=1, num_attention_heads=2,
        image_size=56, patch_size=28,
    )  # fmt: skip
    torch.manual_seed(0)
    CLIPVisionModelWithProjection(config).save_pretrained(path / "vision_encoder")
    (path / "pipeline.py").write_text("raise SystemExit('remote code was run')")
    (path / "model_index.json").write_text(json.dumps({
        "_class_name": "Zero123PlusPipeline", "ramping_coefficients": RAMP
    }))  # fmt: skip
    return path


@pytest.fixture(scope="module")
def prior(folder):
    full = load_prior(folder)
    assert full.image_size == 320 and full.latent_shape == (4, 40, 40) and full.predicts == "v_prediction"
    return Zero123Prior(
        full.unet, full.vae, full.text_encoder, full.tokenizer, full.vision_encoder,
        DDIMScheduler.from_pretrained(folder / "scheduler"), ramp=RAMP, size=SIZE,
    )  # fmt: skip


@pytest.fixture(scope="module")
def seen(prior):
    return prior.condition("", reference=PICTURE, camera=SEEN_BY)


def tiles() -> torch.Tensor:
    return torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def test_it_is_a_prior_of_pictures(prior, seen, folder):
    assert isinstance(prior, MultiviewPrior) and prior.latent_shape == (4, 8, 8) and family_of(folder).is_multiview
    with pytest.raises(BadInput, match="starts from a picture"):
        prior.condition("a red apple")
    assert torch.equal(seen.text[:, 0], prior.blank.text[:, 0]), "the ramp begins at nothing"
    last = (seen.text - prior.blank.text)[:, 1:] / torch.tensor(RAMP[1:])[None, :, None]
    torch.testing.assert_close(last, last[:, :1].expand_as(last), atol=1e-5, rtol=1e-4)


def test_views_are_tiles_in_rows():
    numbered = torch.arange(6.0)[:, None, None, None].expand(6, 1, 2, 2)
    grid = as_grid(numbered)
    assert grid[0, 0, ::2, ::2].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert torch.equal(as_views(grid), numbered) and torch.equal(as_views(as_grid(tiles())), tiles())
    with pytest.raises(BadInput, match="4 views"):
        as_grid(numbered[:4])


def test_only_its_own_cameras_will_do(prior, seen):
    azimuth = torch.atan2(CAMERA.position[:, 0], CAMERA.position[:, 2]).rad2deg()
    torch.testing.assert_close((azimuth - 40) % 360, torch.tensor([30.0, 90, 150, 210, 270, 330]), atol=1e-3, rtol=0)
    assert torch.where(CAMERA.position[:, 1] > 0, 1, -1).tolist() == [1, -1] * 3
    prior.denoise(tiles(), 0.5, seen, six_cameras(SEEN_BY, elevations_deg=V1_1), guidance=1.0)
    for wrong in (six_cameras(orbit(0.0, 10.0)), turntable(6, 20.0), CAMERA[[1, 0, 2, 3, 4, 5]], CAMERA[:5]):
        with pytest.raises(BadInput, match="six fixed views"):
            prior.denoise(tiles()[: len(wrong)], 0.5, seen, wrong, guidance=1.0)


@torch.no_grad()
def test_it_attends_to_the_picture_with_the_same_noise(prior, seen, folder):
    """The same, with diffusers' own attention and hooks that keep what each self-attention was given."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
    kept: dict[str, torch.Tensor] = {}

    def keep(name):
        return lambda module, args: kept.__setitem__(name, args[0])

    def add(name):
        def hook(module, args, kwargs):
            return args, kwargs | {"encoder_hidden_states": torch.cat([args[0], kept[name]], dim=1)}

        return hook

    selves = [(name, module) for name, module in unet.named_modules() if name.endswith("attn1")]
    alpha_bar, wanted = float(prior.alphas_cumprod[599]), []
    noise = torch.randn(1, 4, 8, 8, generator=Streams(0).generator("reference/599"))
    for condition in (seen, prior.blank):
        hooks = [module.register_forward_pre_hook(keep(name)) for name, module in selves]
        unet(add_noise(condition.picture, noise, alpha_bar), 599, encoder_hidden_states=condition.text)
        for hook in hooks:
            hook.remove()
        hooks = [module.register_forward_pre_hook(add(name), with_kwargs=True) for name, module in selves]
        v = unet(as_grid(tiles()), 599, encoder_hidden_states=condition.text).sample
        for hook in hooks:
            hook.remove()
        wanted.append(as_views(x0_from_v(as_grid(tiles()), v, alpha_bar)))
    before = prior.evaluations
    with_it, without = (prior.denoise(tiles(), 0.6, seen, CAMERA, guidance=scale) for scale in (1.0, 0.0))
    torch.testing.assert_close(with_it, wanted[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(without, wanted[1], atol=1e-5, rtol=1e-4)
    guided = prior.denoise(tiles(), 0.6, seen, CAMERA, guidance=4.0)
    torch.testing.assert_close(guided, without + 4 * (with_it - without), atol=1e-4, rtol=1e-4)
    assert prior.evaluations - before == 4
    plain = x0_from_v(as_grid(tiles()), unet(as_grid(tiles()), 599, encoder_hidden_states=seen.text).sample, alpha_bar)
    assert (as_views(plain) - with_it).abs().max() > 1e-4, "the picture's tokens are heard"


def test_pictures_go_in_with_gradients_and_come_out_in_range(prior):
    images = torch.rand(6, SIZE, SIZE, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    latents = prior.encode(images)
    assert latents.shape == (6, 4, 8, 8)
    latents[3].sum().backward()
    assert images.grad[3, ..., :3].abs().sum() > 0 and images.grad[..., 3].abs().sum() == 0
    raw = prior.vae.encode(as_grid(images.detach()[..., :3].movedim(-1, 1) * 2 - 1) * 0.5 / 0.8).latent_dist.mean
    torch.testing.assert_close(as_grid(latents.detach()) / 0.75 + 0.22, raw * prior.vae.config.scaling_factor)
    shown = prior.decode(latents.detach())
    assert shown.shape == (6, SIZE, SIZE, 3) and shown.min() >= 0 and shown.max() <= 1
    again = prior.vae.decode(raw).sample * 0.8 / 0.5
    torch.testing.assert_close(as_grid(shown.movedim(-1, 1)), (again / 2 + 0.5).clamp(0, 1), atol=1e-5, rtol=1e-4)


def test_without_its_ramp_it_is_not_whole(folder, tmp_path):
    from maquette.priors.zero123 import load_zero123

    (tmp_path / "model_index.json").write_text('{"_class_name": "Zero123PlusPipeline"}')
    with pytest.raises(BadInput, match="ramping_coefficients"):
        load_zero123(tmp_path)
