"""The recipe of the point latent: it learns, it resumes, and what it saves loads."""

import json
from dataclasses import replace

import pytest
import torch

from maquette.data.posed import PosedSizes
from maquette.data.procedural import procedural_mesh
from maquette.models.gaussian_vae import GaussianVae
from maquette.models.surfel_decoder import Level
from maquette.priors.encoders import load_encoder
from maquette.training.loop import LoopConfig
from maquette.training.recipes.gaussian_vae import Config, Network, draw_batch, picture_of, picture_terms, train

TINY = Network(
    latent_channels=4, width=32, heads=2, view_depth=1, decoder_depth=1, splits=(2, 2), level_widths=(32, 16)
)
SIZES = PosedSizes(inputs=2, targets=2, pixels=16, points=24)


def _config(out, **loop) -> Config:
    return Config(
        out=out, batch=2, thin_from=2, sizes=SIZES, level_pixels=(8, 12, 16), network=TINY,
        loop=LoopConfig(**{"rate": 5e-3, "warmup": 2, "decay_from": 1.0, "save_minutes": 60.0} | loop),
    )  # fmt: skip


def test_it_learns_and_what_it_saves_loads(tmp_path):
    config = replace(_config(tmp_path, steps=60, ema=0.8), thin_from=1000)
    averaged = train(config, lambda number: procedural_mesh(5 * number), 2)  # two boxes
    batch = draw_batch(config, lambda number: procedural_mesh(5 * number), 2, torch.Generator().manual_seed(9))
    views, points = (torch.stack([getattr(posed, name) for posed in batch]) for name in ("views", "points"))
    encoder, losses = load_encoder(config.encoder), []
    torch.manual_seed(0)
    loaded = GaussianVae.from_pretrained(tmp_path / "model", low_cpu_mem_usage=False)
    for model in (GaussianVae(**vars(TINY)), averaged, loaded):
        with torch.no_grad():
            levels = model.decode(points, model.encode(views, points).mean)
            terms = picture_terms(batch, levels, {0, 2}, 0, encoder, config)
        losses.append({name: term.item() for name, term in terms.items()})
    fresh, learned, again = losses
    assert learned["color"] + learned["mask"] < 0.75 * (fresh["color"] + fresh["mask"])
    assert learned["perceptual"] < fresh["perceptual"] and learned["psnr"] > fresh["psnr"] + 2
    assert again == learned
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    row = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert {"color", "mask", "perceptual", "distortion", "normal", "divergence", "psnr"} <= set(row)


def test_an_interrupted_run_ends_in_the_same_weights(tmp_path):
    whole = train(_config(tmp_path / "whole", steps=4), procedural_mesh, 10)
    calls = 0

    def stopped(number):
        nonlocal calls
        calls += 1
        if calls == 13:  # two objects a step, and eight for the sheet after each
            raise KeyboardInterrupt
        return procedural_mesh(number)

    config = _config(tmp_path / "cut", steps=4, save_minutes=0.0)
    with pytest.raises(KeyboardInterrupt):
        train(config, stopped, 10)
    state = torch.load(tmp_path / "cut" / "state.pt", weights_only=True)
    assert 0 < state["step"] < 4 and state["model"]["steps"] == state["step"]  # it knows when the distortion begins
    GaussianVae.from_pretrained(tmp_path / "cut" / "model", low_cpu_mem_usage=False)  # and a stopped run leaves a model
    again = train(config, procedural_mesh, 10)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_perfect_picture_costs_nothing(tmp_path):
    """Targets that are renderings of the level itself: no color, no mask, no perceptual term is left."""
    config = _config(tmp_path, steps=1)
    posed = draw_batch(config, procedural_mesh, 5, torch.Generator().manual_seed(0))[0]
    level = Level(posed.points[None], torch.randn(1, 24, 13, generator=torch.Generator().manual_seed(1)))
    seen, *_ = picture_of(level, 0, posed, 16)
    own = replace(posed, rgba=torch.cat([seen.color, seen.alpha[..., None]], -1), normal=seen.normal)
    terms = picture_terms([own], [level] * 3, {2}, 1, load_encoder(config.encoder), config)
    assert terms["color"] < 1e-6 and terms["mask"] < 1e-6 and terms["perceptual"] < 1e-6
    assert terms["psnr"] > 79 and terms["distortion"] > 0
    other = picture_terms([posed], [level] * 3, {2}, 1, load_encoder(config.encoder), config)
    assert other["color"] > 0.05 and other["normal"] > 0
