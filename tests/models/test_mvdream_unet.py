"""The names of its weights, held against diffusers' own reading of latent diffusion, and what its views share."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

from maquette.core.errors import BadInput
from maquette.models.mvdream_unet import MultiviewUnet

TINY = {
    "image_size": 8, "model_channels": 32, "num_res_blocks": 1, "attention_resolutions": [2, 1],
    "channel_mult": [1, 2, 2], "num_head_channels": 16, "context_dim": 24,
}  # fmt: skip
WORDS = torch.randn(2, 7, 24, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return MultiviewUnet(**TINY).eval().requires_grad_(False)


def drawn(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def as_diffusers(weights: dict, config) -> dict:
    """The weights by the names of `UNet2DConditionModel`, without the camera's."""
    kept = {f"model.diffusion_model.{name}": value for name, value in weights.items() if "camera" not in name}
    return convert_ldm_unet_checkpoint(kept, dict(config))


def test_without_a_camera_one_view_is_stable_diffusion(unet):
    plain = UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 64, 64), layers_per_block=1, cross_attention_dim=24,
        attention_head_dim=(2, 4, 4), use_linear_projection=True,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    ).eval()  # fmt: skip
    plain.load_state_dict(as_diffusers(unet.state_dict(), plain.config))
    cameraless = MultiviewUnet(**TINY).eval()
    cameraless.load_state_dict(unet.state_dict())
    torch.nn.init.zeros_(cameraless.camera_embed[2].weight)
    torch.nn.init.zeros_(cameraless.camera_embed[2].bias)
    latents = drawn(2, 1, 4, 8, 8)
    with torch.no_grad():
        wanted = plain(latents[:, 0], 321, encoder_hidden_states=WORDS).sample
        got = cameraless(latents, 321, WORDS, drawn(2, 1, 16))
    torch.testing.assert_close(got[:, 0], wanted, atol=1e-5, rtol=1e-4)


def test_the_full_size_has_the_weights_of_stable_diffusion_2_1_and_a_camera():
    with torch.device("meta"):
        unet = MultiviewUnet()
        plain = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
        )
    shapes = {name: value.shape for name, value in as_diffusers(unet.state_dict(), plain.config).items()}
    assert shapes == {name: value.shape for name, value in plain.state_dict().items()}
    cameras = {name: tuple(value.shape) for name, value in unet.state_dict().items() if "camera" in name}
    assert cameras == {
        "camera_embed.0.weight": (1280, 16), "camera_embed.0.bias": (1280,),
        "camera_embed.2.weight": (1280, 1280), "camera_embed.2.bias": (1280,),
    }  # fmt: skip
    assert sum(weight.numel() for weight in unet.parameters()) == 865_910_724 + 1_661_440


@torch.no_grad()
def test_views_see_each_other_in_any_order_and_sets_do_not(unet):
    latents, cameras = drawn(2, 4, 4, 8, 8), drawn(2, 4, 16, seed=2)
    said = unet(latents, 500, WORDS, cameras)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(
        unet(latents[:, order], 500, WORDS, cameras[:, order]), said[:, order], atol=1e-5, rtol=1e-4
    )
    other = latents.clone()
    other[0, 3] += 1
    changed = (unet(other, 500, WORDS, cameras) - said).abs().amax(dim=(2, 3, 4))
    assert (changed[0] > 1e-4).all(), "every view of the set notices"
    assert (changed[1] < 1e-6).all(), "the other set does not"
    alone = unet(latents[:, :1], 500, WORDS, cameras[:, :1])
    assert (alone[:, 0] - said[:, 0]).abs().max() > 1e-4
    turned = cameras.clone()
    turned[0, 3] += 1
    assert ((unet(latents, 500, WORDS, turned) - said).abs().amax(dim=(2, 3, 4))[0] > 1e-6).all()
    assert not torch.equal(unet(latents, 500, WORDS.flip(0), cameras), said)
    assert not torch.equal(unet(latents, 400, WORDS, cameras), said)


def test_imagedream_is_refused():
    with pytest.raises(BadInput, match="ImageDream"):
        MultiviewUnet(**TINY, ip_dim=16)
