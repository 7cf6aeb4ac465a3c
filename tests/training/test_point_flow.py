"""The recipe of both flows on latents of a small encoder: they learn, they resume, and what is saved is a prior."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from maquette.core.errors import BadInput
from maquette.data.posed import PosedSizes
from maquette.data.procedural import procedural_mesh
from maquette.models.gaussian_vae import GaussianVae
from maquette.models.point_flow import PointFlow
from maquette.priors.point_latent import load_point_latent
from maquette.training.loop import LoopConfig
from maquette.training.recipes.point_flow import Config, build, read_latents, train

SIZES = PosedSizes(inputs=2, targets=1, pixels=16, points=24)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Config:
    out = tmp_path_factory.mktemp("flow")
    torch.manual_seed(0)
    vae = GaussianVae(4, width=32, heads=2, view_depth=1, decoder_depth=1, splits=(2,), level_widths=(16,))
    torch.nn.init.constant_(vae.moments.contract.bias[4:], -8.0)  # features that know where they are, and little noise
    vae.save_pretrained(out / "vae")
    loop = LoopConfig(steps=80, rate=3e-3, warmup=5, decay_from=1.0, ema=0.9, save_minutes=60)
    return Config(vae=out / "vae", out=out / "run", sizes=SIZES, batch=16, width=64, depth=1, loop=loop)


def _stick(number):
    """A thin box or ball: axes differ, so that even a straight line from noise to velocity says something."""
    mesh = procedural_mesh(number)
    return replace(mesh, vertices=(mesh.vertices * [1.0, 0.15, 0.15]).astype(np.float32))


@pytest.mark.parametrize("part", ["points", "features"])
def test_it_learns_from_data_of_unit_spread(config, part):
    """A network that says zero is off by (pi / 2)^2 on average, whatever the data, if they are well normalised."""
    config = replace(config, part=part)
    latents = read_latents(config, _stick, 5)
    assert latents["points"].shape == (10, 24, 3) and latents["mean"].shape == (10, 24, 4)
    fresh = build(config, latents, 256)
    data = fresh.normalize(latents["points" if part == "points" else "mean"])
    assert data.mean((0, 1)).abs().max() < 1e-4
    spread = (
        latents["log_variance"].exp() / torch.tensor(fresh.config.std) ** 2 if part == "features" else torch.zeros(1)
    )
    assert (data.square().mean() + spread.mean()).item() == pytest.approx(1, rel=0.05)
    train(config, _stick, 5)
    row = json.loads((config.out / part / "log.jsonl").read_text().splitlines()[-1])
    assert {"noisy", "clean"} <= set(row)
    assert (config.out / part / "sheet.png").stat().st_size > 1000
    loaded = PointFlow.from_pretrained(config.out / "model" / part, low_cpu_mem_usage=False)
    draw = torch.Generator().manual_seed(0)
    errors = []
    with torch.no_grad():
        for model in (fresh, loaded):
            noise, t = torch.randn(data.shape, generator=draw.manual_seed(1)), torch.full((10,), 0.5)
            z, wanted = (data + noise) / math.sqrt(2), math.pi / 2 * (noise - data) / math.sqrt(2)
            points = latents["points"] if part == "features" else None
            said = model(z, t, torch.zeros(10, 2, 256), torch.ones(10, 2, dtype=torch.bool), points)
            errors.append((said - wanted).square().mean().item())
    assert errors[0] == pytest.approx((math.pi / 2) ** 2 * (1 + data.square().mean().item()) / 2, rel=0.1)
    assert errors[1] < 0.85 * errors[0]


def test_both_parts_together_are_a_prior_and_an_interrupted_run_ends_in_the_same_weights(config):
    config = replace(config, loop=replace(config.loop, steps=3, save_minutes=0.0), out=config.out.parent / "both")
    whole = train(replace(config, part="features"), procedural_mesh, 2)
    train(replace(config, part="points"), procedural_mesh, 2)
    prior = load_point_latent(config.out / "model")
    assert prior.channels == 4
    cut = replace(config, part="features", out=config.out.parent / "cut")
    train(replace(cut, loop=replace(cut.loop, steps=2)), procedural_mesh, 2)
    again = train(cut, procedural_mesh, 2)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_latents_of_another_decoder_or_other_objects_are_refused(config, tmp_path):
    config = replace(config, out=tmp_path / "run")
    read_latents(config, procedural_mesh, 2)
    with pytest.raises(BadInput, match="latents of another decoder"):
        read_latents(config, procedural_mesh, 3)
    torch.manual_seed(1)
    vae = GaussianVae(4, width=32, heads=2, view_depth=1, decoder_depth=1, splits=(2,), level_widths=(16,))
    vae.save_pretrained(tmp_path / "vae")
    with pytest.raises(BadInput, match="latents of another decoder"):
        read_latents(replace(config, vae=tmp_path / "vae"), procedural_mesh, 2)
    with pytest.raises(BadInput, match="no decoder in") as told:
        read_latents(replace(config, vae=tmp_path / "nowhere"), procedural_mesh, 2)
    assert "maquette train gaussian_vae" in told.value.next_step
