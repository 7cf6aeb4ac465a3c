"""Samples of small flows: guidance, solvers, features that follow their points; folders that are no weights."""

import shutil

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.models.gaussian_vae import GaussianVae
from maquette.models.point_flow import PointFlow
from maquette.priors.multiview import POCKET
from maquette.priors.point_latent import load_point_latent, sample_flow

NO_WORDS = (torch.zeros(1, 2, 8), torch.ones(1, 2, dtype=torch.bool))


def _flow(**options) -> PointFlow:
    torch.manual_seed(0)
    given = {"width": 32, "depth": 1, "heads": 1, "text_width": 8, "mean": [0.1] * 3, "std": [0.2] * 3} | options
    flow = PointFlow(**given).eval()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return flow


def test_guidance_of_one_and_of_nothing_and_both_solvers():
    flow, draw = _flow(), torch.Generator().manual_seed(0)
    noise, text = torch.randn(2, 6, 3, generator=draw), torch.randn(2, 4, 8, generator=draw)
    told = (flow, noise, text, torch.ones(2, 4, dtype=torch.bool))
    plain, passes = sample_flow(*told, guidance=1.0, steps=4)
    close, doubled = sample_flow(*told, guidance=1.0 + 1e-6, steps=4)
    assert (passes, doubled) == (8, 16)
    torch.testing.assert_close(plain, close, atol=1e-4, rtol=0)
    assert torch.equal(plain, sample_flow(*told, guidance=1.0, steps=4)[0])
    unsaid, _ = sample_flow(flow, noise, torch.zeros_like(text), told[3], guidance=1.0, steps=4)
    torch.testing.assert_close(sample_flow(*told, guidance=0.0, steps=4)[0], unsaid, atol=1e-5, rtol=0)
    assert (plain - unsaid).abs().max() > 1e-3
    strong, _ = sample_flow(*told, guidance=4.0, steps=4)
    assert (strong - unsaid).norm() > 2 * (plain - unsaid).norm()
    fine, _ = sample_flow(*told, guidance=1.0, steps=200)
    adaptive, passes = sample_flow(*told, guidance=1.0, steps=None)
    torch.testing.assert_close(adaptive, fine, atol=2e-2, rtol=0)  # shaken weights are rough in time
    assert passes % 6 == 1


def test_features_follow_their_points_and_no_others_order():
    flow, draw = _flow(on_points=True), torch.Generator().manual_seed(0)
    noise, points = torch.randn(2, 1, 6, 3, generator=draw).unbind()
    points = 0.2 * points
    before, _ = sample_flow(flow, noise, *NO_WORDS, points=points, steps=3)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    moved, _ = sample_flow(flow, noise[:, order], *NO_WORDS, points=points[:, order], steps=3)
    torch.testing.assert_close(moved, before[:, order], atol=1e-5, rtol=0)
    points[0, 2] += 0.3
    after, _ = sample_flow(flow, noise, *NO_WORDS, points=points, steps=3)
    assert (after[0, 2] - before[0, 2]).abs().max() > 1e-4


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder as the recipes write it, of networks that have learned nothing."""
    folder = tmp_path_factory.mktemp("weights")
    small = {"width": 32, "depth": 1, "heads": 1, "text_width": 256}
    _flow(**small, std=[9.0] * 3).save_pretrained(folder / "points")
    _flow(**small | {"channels": 4, "mean": None, "std": None}, on_points=True).save_pretrained(folder / "features")
    vae = GaussianVae(4, width=32, heads=2, view_depth=1, decoder_depth=1, splits=(2,), level_widths=(16,))
    vae.save_pretrained(folder / "vae")
    for name in ("text_encoder", "tokenizer"):
        shutil.copytree(POCKET / name, folder / name)
    return folder


def test_a_folder_gives_points_in_the_box_their_features_and_surfels(weights):
    prior = load_point_latent(weights)
    words, noise = prior.words("a red apple"), torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    points = prior.sample_points(noise, words, guidance=2.0, steps=2)
    assert points.shape == (20, 3) and points.abs().max() == 0.5  # with so wide a spread
    features = prior.sample_features(torch.randn(20, 4), points, words, guidance=1.0, steps=2)
    assert prior.evaluations == 8 + 4
    levels = prior.decode(points, features)
    assert [len(level) for level in levels] == [20, 40]
    assert (levels[0].means - points).abs().max() <= 0.025 + 1e-6


def test_without_weights_the_recipes_and_the_place_are_named(tmp_path, weights):
    with pytest.raises(BadInput, match=r"no points, features, vae, text_encoder, tokenizer") as told:
        load_point_latent(tmp_path)
    assert str(tmp_path) in told.value.message
    for said in ("maquette train gaussian_vae", "train point_flow --part points", "--part features", "--weights"):
        assert said in told.value.next_step
    with pytest.raises(BadInput, match=r"pocket.gaussian_anything: no points"):  # nothing is shipped yet
        load_point_latent()
    shutil.copytree(weights, tmp_path / "half")
    shutil.rmtree(tmp_path / "half" / "features")
    with pytest.raises(BadInput, match="half: no features;"):
        load_point_latent(tmp_path / "half")


def test_broken_and_mismatched_weights(tmp_path, weights):
    for name in ("empty", "cut", "torn"):
        shutil.copytree(weights, tmp_path / name)
    (tmp_path / "empty" / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    whole = (weights / "points" / "diffusion_pytorch_model.safetensors").read_bytes()
    (tmp_path / "cut" / "points" / "diffusion_pytorch_model.safetensors").write_bytes(whole[: len(whole) // 2])
    config = (tmp_path / "torn" / "features" / "config.json").read_text()
    (tmp_path / "torn" / "features" / "config.json").write_text(config.replace('"width": 32', '"width": 64'))
    for name in ("empty", "cut", "torn"):
        with pytest.raises(BadInput, match=f"weights in .*{name} cannot be read"):
            load_point_latent(tmp_path / name)
    shutil.copytree(weights, tmp_path / "other")
    vae = GaussianVae(5, width=32, heads=2, view_depth=1, decoder_depth=1, splits=(2,), level_widths=(16,))
    vae.save_pretrained(tmp_path / "other" / "vae")
    with pytest.raises(BadInput, match="do not fit"):
        load_point_latent(tmp_path / "other")
