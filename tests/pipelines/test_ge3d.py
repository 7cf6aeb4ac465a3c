from dataclasses import replace

import pytest
import torch

from maquette.core import BadInput, Notice, Preview, Progress, Result, Scalar, Streams, orbit, turntable
from maquette.core.schedule import Constant, Exponential
from maquette.guidance.ge3d import NEGATIVE
from maquette.pipelines import PIPELINES, ge3d
from maquette.priors.analytic import Solids
from maquette.render import render_gaussians
from maquette.representations.gaussians import state_hash
from maquette.training import optim
from maquette.training.descent import Loop, grey_ball
from maquette.training.orbits import Around
from maquette.training.text_to_cloud import Task

TOY = Solids.toy()
RATES = optim.Rates(
    means=Exponential(5e-3, 1e-3, 60), log_scales=Constant(1e-2), quats=Constant(1e-2), logit_opacities=Constant(5e-2),
    sh=Constant(3e-2),
)  # fmt: skip
FIT = replace(
    ge3d.TINY, resolution=24, iterations=40, guidance=2.0, init_points=500, init_radius=0.4, cameras=Around(views=4),
    loop=Loop(rates=RATES),
    ending=replace(ge3d.TINY.ending, iterations=0),
)  # fmt: skip


def run(config, prior, **options):
    return list(ge3d.run(config, prior, **{"prompt": "a toy"} | options))


def psnr(cloud, camera):
    seen = render_gaussians(cloud, camera, background=torch.ones(3)).color
    return (-10 * torch.log10((seen - TOY.look(camera)[..., :3]).square().mean())).item()


# --- what is asked


def test_the_published_numbers():
    paper = ge3d.PAPER
    assert (paper.iterations, paper.guidance, paper.strength, paper.cameras.views) == (3000, 7.5, 0.1, 4)
    assert paper.balancing * paper.iterations == pytest.approx(1000)
    assert (paper.loop.control.begin, paper.loop.control.every) == (99, 100)
    assert [step for step in range(500) if paper.loop.control.is_due(step)] == [100, 200, 300, 400]
    assert sum(count for count, _ in paper.ending.circles) == 36 == 2 * paper.ending.batch_views
    module = __import__(PIPELINES["ge3d"], fromlist=["run"])
    assert module is ge3d
    assert all(isinstance(preset, ge3d.Config) for preset in (ge3d.PAPER, ge3d.DEFAULT, ge3d.TINY))
    with pytest.raises(BadInput, match="expected"):
        replace(paper, balancing=0.0)


def test_a_step_goes_up_without_words_and_down_with_them_and_all_of_it_is_counted(known_object):
    prior = known_object()
    prior.evaluations = 1000  # earlier runs do not count
    events = run(ge3d.TINY, prior)
    times = [t for t, *_ in prior.asked[:4]]
    assert times[0] == 0.001 and times[1] == times[3] < times[2]  # 0, t1 without; t2, t1 with
    assert [guidance for _, _, guidance, _ in prior.asked[:4]] == [0.0, 0.0, 7.5, 7.5]
    assert {views for *_, views in prior.asked} == {2}  # all views of a step at once
    # Two jumps: two evaluations up, two pairs down. Four steps, and one set of pictures.
    report = events[-1].report
    assert report["evaluations"] == 4 * 6 + 6 == prior.evaluations - 1000
    assert [e.stage for e in events if isinstance(e, Progress)] == ["distill"] * 4 + ["edit"] + ["reconstruct"] * 2
    assert {type(e) for e in events} == {Progress, Scalar, Preview, Result}
    assert set(report["seconds"]) == {"distill", "edit", "reconstruct"}
    assert report["gaussians"] == len(events[-1].asset)
    alone = run(replace(ge3d.TINY, ending=replace(ge3d.TINY.ending, iterations=0)), prior)[-1].report
    assert alone["evaluations"] == 24 and set(alone["seconds"]) == {"distill"}


def test_an_image_prior_hears_the_side_and_what_to_keep_away_from(known_object):
    prior = known_object()
    config = replace(
        ge3d.TINY, iterations=1, view_words=True, negative=NEGATIVE, cameras=replace(ge3d.PAPER.cameras, views=2),
        inversion="negative", ending=replace(ge3d.TINY.ending, iterations=0),
    )  # fmt: skip
    run(config, prior)
    said = {prompt for _, prompt, _, _ in prior.asked}
    assert NEGATIVE in said and {"a toy, front view", "a toy, side view"} <= said
    assert {views for *_, views in prior.asked} == {1}
    assert {guidance for _, _, guidance, _ in prior.asked} == {1.0}


def test_a_cloud_may_be_given(known_object):
    given = grey_ball(40, 0.2, Streams(5).generator("points"))
    config = replace(ge3d.TINY, iterations=1, loop=Loop(rates=RATES), ending=replace(ge3d.TINY.ending, iterations=0))
    cloud = run(config, known_object(), initial=given)[-1].asset
    assert len(cloud) == 40 and 0 < (cloud.means - given.means).abs().max() < 0.006
    assert len(run(config, known_object())[-1].asset) == config.init_points


# --- what comes out


@pytest.fixture(scope="module")
def distilled(known_object):
    """The toy after the distillation alone."""
    return run(FIT, known_object(24))[-1].asset


def test_a_known_object_is_reached_from_a_grey_ball(distilled):
    between = orbit(torch.arange(6) * 60.0 + 10, 15.0, size=24)
    start = grey_ball(FIT.init_points, FIT.init_radius, Streams(0).generator("points"))
    before, after = psnr(start, between), psnr(distilled, between)
    assert after > 20 and after > before + 5
    # Not its mirror image: then left would be taken for right somewhere.
    seen = render_gaussians(distilled, between, background=torch.ones(3)).color
    truth = TOY.look(between)[..., :3]
    assert (seen - truth).square().mean() < 0.5 * (seen.flip(2) - truth).square().mean()


def test_the_ending_sharpens_what_the_distillation_left(distilled, known_object):
    config = replace(
        FIT, iterations=1, loop=Loop(rates=RATES),
        ending=replace(
            ge3d.TINY.ending, circles=((6, 15.0),), guidance=1.0, iterations=40, batch_views=4, loop=Loop(rates=RATES)
        ),
    )  # fmt: skip
    cloud = run(config, known_object(24), initial=distilled)[-1].asset
    between = orbit(torch.arange(6) * 60.0 + 10, 15.0, size=24)
    assert psnr(cloud, between) > psnr(distilled, between) + 0.5


def test_pictures_of_the_ending_are_edits_of_the_renderings(known_object):
    """The oracle's answer is the truth, so the pictures are near it, whatever the cloud."""
    cloud = grey_ball(100, 0.3, Streams(0).generator("points"))
    config = replace(FIT, ending=replace(ge3d.TINY.ending, circles=((3, 0.0), (2, 40.0)), guidance=1.0))
    prior = known_object(24)
    making = ge3d.edited(Task("ge3d", config, prior, "a toy", 0, None), cloud, {})
    assert [next(making).step for _ in range(2)] == [1, 2]
    with pytest.raises(StopIteration) as end:
        next(making)
    camera, pictures = end.value.value
    assert 0.1 < max(t for t, *_ in prior.asked) <= 0.2  # along the nodes of the ending, not of the distillation
    truth = TOY.look(camera)
    assert pictures.shape == truth.shape == (5, 24, 24, 4)
    assert (pictures - truth).abs().mean() < 0.05
    torch.testing.assert_close(camera[:3].position, turntable(3, 0.0).position)


# --- interruption (test_interruption.py has more of it)


def test_a_finished_run_answers_from_its_state_and_another_run_is_refused_it(tmp_path, known_object):
    first = run(ge3d.TINY, known_object(), checkpoint=tmp_path)
    again = run(ge3d.TINY, known_object(), checkpoint=tmp_path)
    assert [type(e) for e in again] == [Notice, Progress, Preview, Notice, Result]
    assert state_hash(again[-1].asset) == state_hash(first[-1].asset)
    assert again[-1].report["evaluations"] == first[-1].report["evaluations"]
    for other in ({"seed": 1}, {"prompt": "another"}, {"config": replace(ge3d.TINY, guidance=2.0)}):
        with pytest.raises(BadInput, match="another run"):
            run(**{"config": ge3d.TINY, "prior": known_object(), "checkpoint": tmp_path} | other)
