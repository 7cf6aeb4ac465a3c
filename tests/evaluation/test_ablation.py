"""The table of ablations from the real pipeline at its smallest, with exact views of a known scene as the prior."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from maquette.core.event import Result
from maquette.pipelines import im3d
from maquette.priors.analytic import RandomPyramid, RenderOracle, Solids

FILE = Path(__file__).parents[2] / "benchmarks" / "methods" / "ablation.py"


@pytest.fixture(scope="module")
def ablation():
    spec = importlib.util.spec_from_file_location("ablation", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_variants_change_what_they_say(ablation):
    full = im3d.DEFAULT
    changed = {name: change(full) for name, change in ablation.VARIANTS.items()}
    assert changed["full"] == full
    assert changed["no perceptual loss"].weights == replace(full.weights, perceptual=0.0)
    assert changed["L2 instead of perceptual"].weights == replace(
        full.weights, perceptual=0.0, color=full.weights.perceptual
    )
    assert changed["no SSIM"].weights == replace(full.weights, ms_ssim=0.0)
    assert changed["no mask"].weights == replace(full.weights, mask=0.0)
    assert changed["with regeneration"].regenerates_at == [250, 500]
    assert changed["start at the centre"].hull is None
    assert changed["one first sample"] == replace(full, candidates=1)
    assert [changed[f"{n} frames"].views for n in (8, 4)] == [8, 4]


def test_one_table_from_one_call(ablation, tmp_path):
    prior = RenderOracle(Solids.toy().look, image_size=32, with_coverage=True)
    encoder = RandomPyramid()

    def run() -> dict:
        events = list(
            ablation.ablate(["one", "two"], tmp_path, config=im3d.TINY, prior=prior, encoder=encoder, judge=encoder)
        )
        assert isinstance(events[-1], Result)
        return events[-1].report

    report = run()
    assert [row[0] for row in report["rows"]] == list(ablation.VARIANTS)
    counted = {row[0]: int(row[-1]) for row in report["rows"]}
    first, again = 2 * im3d.TINY.first_steps, 2 * im3d.TINY.refine_steps  # guidance doubles every step
    assert counted["no mask"] == counted["full"] == first + again
    assert counted["with regeneration"] == first + 2 * again
    # All but "8 frames" share the first sample with "full" and pay for their own regenerations. "4 frames", "start at
    # the centre" and "one first sample" are "full" here, so the prior hears nothing new.
    assert prior.evaluations == 2 * (2 * first + 8 * again), "for two prompts"
    table = (tmp_path / "ablation.md").read_text(encoding="utf-8")
    assert table.count("\n| ") == 2 + len(ablation.VARIANTS)
    assert json.loads((tmp_path / "ablation.json").read_text(encoding="utf-8"))["full"]["judge"]["made"] == 2

    before = prior.evaluations
    assert run() == report, "a second call reads everything from the files"
    assert prior.evaluations == before


def test_memory_answers_only_the_same_question(ablation):
    prior = RenderOracle(Solids.toy().look, image_size=16)
    remembered = ablation.Remembered(prior)
    camera = im3d.turntable(2, size=16)
    latents = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    condition = prior.condition("a")

    def ask(latents=latents, t=0.5, condition=condition, camera=camera, guidance=3.0):
        answer = remembered.denoise(latents, t, condition, camera, guidance=guidance, rescale=0.0)
        return answer, remembered.evaluations, prior.evaluations

    first, counted, cost = ask()
    assert (counted, cost) == (2, 2)
    second, counted, cost = ask()
    assert torch.equal(first, second)
    assert (counted, cost) == (4, 2)
    others = [{"t": 0.4}, {"guidance": 2.0}, {"latents": latents + 1}, {"condition": prior.condition("b")},
              {"camera": im3d.turntable(2, 30.0, size=16)}]  # fmt: skip
    for number, other in enumerate(others, start=2):
        assert ask(**other)[2] == 2 * number, f"{list(other)} is another question"
