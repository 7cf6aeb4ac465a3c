from dataclasses import replace

import pytest
import torch

from maquette.core import BadInput, NonFinite, Notice, Preview, Progress, Result, Scalar, Streams, orbit
from maquette.core.schedule import Constant, Exponential
from maquette.pipelines import PIPELINES, lucid
from maquette.priors.analytic import Solids
from maquette.render import render_gaussians
from maquette.representations.gaussians import state_hash
from maquette.training import optim
from maquette.training.descent import Loop, grey_ball
from maquette.training.orbits import Around

TOY = Solids.toy()
FIT = replace(
    lucid.TINY, resolution=24, iterations=40, init_points=500, cameras=Around(views=4), stride=0.4,
    loop=Loop(
        rates=optim.Rates(
            means=Exponential(5e-3, 1e-3, 60), log_scales=Constant(1e-2), quats=Constant(1e-2),
            logit_opacities=Constant(5e-2), sh=Constant(3e-2),
        ),
    ),
)  # fmt: skip


def run(config, prior, **options):
    return list(lucid.run(config, prior, prompt="a toy", **options))


def test_the_published_numbers():
    paper = lucid.PAPER
    assert (paper.iterations, paper.guidance, paper.strength, paper.cameras.every) == (5000, 7.5, 0.1, 500)
    assert paper.warm_up * paper.iterations == 1500
    assert paper.cameras.elevation_deg == (-15.0, 45.0)
    assert __import__(PIPELINES["lucid"], fromlist=["run"]) is lucid
    assert all(isinstance(preset, lucid.Config) for preset in (paper, lucid.DEFAULT, lucid.TINY))
    with pytest.raises(BadInput, match="range"):
        replace(paper, times=(0.6, 0.98, 0.5))


def test_times_and_intervals_fall_as_published_and_evaluations_are_counted(known_object):
    prior = known_object(16)
    events = run(replace(lucid.TINY, resolution=16, iterations=30), prior)
    guided = [(i, t) for i, (t, _, guidance, _) in enumerate(prior.asked) if guidance == 7.5]
    assert len(guided) == 30
    early, late = [t for _, t in guided[:9]], [t for _, t in guided[9:]]
    assert max(early) > 0.6 and max(late) <= 0.5 and min(late) < 0.12
    # Before each guided question stands the blank one at s, the interval earlier: 0.1 at first, 0.05 after warming up.
    gaps = [t - prior.asked[i - 1][0] for i, t in guided if t > 0.11]
    assert gaps[0] == pytest.approx(0.1, abs=2e-3) and gaps[-1] == pytest.approx(0.05, abs=2e-3)
    assert {guidance for _, _, guidance, _ in prior.asked} == {0.0, 7.5}
    blank = sum(guidance == 0.0 for _, _, guidance, _ in prior.asked)
    assert events[-1].report["evaluations"] == blank + 2 * 30
    assert {type(e) for e in events} == {Progress, Scalar, Preview, Result}


def test_a_known_object_is_reached_from_a_grey_ball(known_object):
    cloud = run(FIT, known_object(24))[-1].asset
    between = orbit(torch.arange(6) * 60.0 + 10, 15.0, size=24)
    truth = TOY.look(between)[..., :3]

    def psnr(cloud):
        seen = render_gaussians(cloud, between, background=torch.ones(3)).color
        return (-10 * torch.log10((seen - truth).square().mean())).item()

    start = grey_ball(FIT.init_points, FIT.init_radius, Streams(0).generator("points"))
    assert psnr(cloud) > 20 and psnr(cloud) > psnr(start) + 5


def test_a_run_that_stops_continues_to_the_same_bytes(tmp_path, known_object):
    config = replace(lucid.TINY, resolution=16, iterations=8, loop=replace(lucid.TINY.loop, checkpoint_every=3))
    whole = run(config, known_object(16))[-1]
    events = lucid.run(config, known_object(16), prompt="a toy", checkpoint=tmp_path)
    for event in events:
        if isinstance(event, Progress) and event.step == 5:
            events.close()
    continued = run(config, known_object(16), checkpoint=tmp_path)
    assert isinstance(continued[0], Notice) and "step 3" in continued[0].text
    assert state_hash(continued[-1].asset) == state_hash(whole.asset)
    assert continued[-1].report["evaluations"] == whole.report["evaluations"]
    with pytest.raises(BadInput, match="another run"):
        run(replace(config, guidance=3.0), known_object(16), checkpoint=tmp_path)
    with pytest.raises(NonFinite, match="step 0 of distill"):
        run(config, known_object(16, broken_at=2))
