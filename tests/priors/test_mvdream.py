"""A tiny random MVDream in the port's layout, loaded as the real one is, and its cameras in threestudio's world."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from maquette.core import orbit, turntable
from maquette.core.errors import BadInput
from maquette.diffusion import alpha_bar_at, ddim, guide, times, x0_from_eps
from maquette.guidance import Wording, mvdream
from maquette.models.mvdream_unet import MultiviewUnet
from maquette.priors import MultiviewPrior
from maquette.priors.hub import family_of
from maquette.priors.load import load_prior
from maquette.priors.mvdream import MVDreamPrior, camera_vectors

CAMERA = turntable(4, 15.0)


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("mvdream") / "port"
    shutil.copytree(checkpoint("sd"), path, ignore=shutil.ignore_patterns("unet"))
    torch.manual_seed(0)
    MultiviewUnet(
        image_size=8, model_channels=32, num_res_blocks=1, attention_resolutions=[2, 1], channel_mult=[1, 2],
        num_head_channels=16, context_dim=16,
    ).save_pretrained(path / "unet")  # fmt: skip
    config = json.loads((path / "unet" / "config.json").read_text())
    # As in the port: its own class, and entries that say nothing about the network.
    config |= {"_class_name": "MultiViewUNetModel", "use_checkpoint": False, "use_spatial_transformer": True}
    (path / "unet" / "config.json").write_text(json.dumps(config))
    (path / "unet" / "mv_unet.py").write_text("raise SystemExit('remote code was run')")
    (path / "model_index.json").write_text(json.dumps({
        "_class_name": ["pipeline", "MVDreamPipeline"], "unet": ["mv_unet", "MultiViewUNetModel"]
    }))  # fmt: skip
    return path


@pytest.fixture(scope="module")
def prior(folder):
    return load_prior(folder)


def test_it_loads_by_name_and_runs_no_code(prior, folder):
    assert isinstance(prior, MVDreamPrior) and isinstance(prior, MultiviewPrior) and family_of(folder).is_multiview
    assert (prior.latent_shape, prior.image_size) == ((4, 8, 8), 64)
    stored = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    loaded = prior.unet.state_dict()
    assert stored.keys() == loaded.keys() and all(torch.equal(stored[name], loaded[name]) for name in stored)
    assert "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight" in stored
    with pytest.raises(BadInput, match="words only"):
        prior.condition("", reference=torch.ones(64, 64, 3), camera=CAMERA[0])


def test_cameras_are_those_of_threestudio():
    """The fixture that both of MVDream's own code paths give, at elevation 15: azimuths 0 and 90."""
    low, high = 0.258819, 0.965926
    front = [0, -low, high, high, 1, 0, 0, 0, 0, high, low, low, 0, 0, 0, 1]
    side = [-1, 0, 0, 0, 0, -low, high, high, 0, high, low, low, 0, 0, 0, 1]
    got = camera_vectors(orbit(torch.tensor([0.0, 90.0]), 15.0, radius=2.2))
    torch.testing.assert_close(got, torch.tensor([front, side]).float(), atol=1e-6, rtol=0)


@torch.no_grad()
def test_it_says_what_its_network_says_of_the_set(prior):
    latents = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    words, blank, t = prior.condition("a red apple, 3d asset"), prior.condition(""), 0.501
    poses, before = camera_vectors(CAMERA)[None], prior.evaluations
    said, unsaid = (
        x0_from_eps(latents, prior.unet(latents[None], 500, text.text, poses)[0], alpha_bar_at(prior.alphas_cumprod, t))
        for text in (words, blank)
    )
    for guidance, wanted in ((1.0, said), (0.0, unsaid), (7.5, guide(said, unsaid, 7.5, rescale=0.5))):
        got = prior.denoise(latents, t, words, CAMERA, guidance=guidance, rescale=0.5)
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    assert prior.evaluations - before == 4
    other = prior.denoise(latents, t, words, turntable(4, 40.0), guidance=1.0)
    assert (other - said).abs().max() > 1e-4, "cameras are heard"


def test_paths_and_distillation_walk_with_it(prior):
    latents = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()
    words = prior.condition("a red apple, 3d asset")
    push = mvdream(latents, prior, Wording(words), CAMERA, 0.5, torch.randn(4, 4, 8, 8))
    assert torch.isfinite(push.gradient).all() and push.gradient_norm > 0

    def denoise(z: torch.Tensor, t: float) -> torch.Tensor:
        return prior.denoise(z, t, words, CAMERA, guidance=7.5)

    shown = prior.decode(ddim(denoise, latents.detach(), times(2), prior.alphas_cumprod))
    assert shown.shape == (4, 64, 64, 3) and shown.min() >= 0 and shown.max() <= 1
