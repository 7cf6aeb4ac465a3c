import os
import runpy
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from maquette.core import BadInput, Notice, Preview, Progress, Result, Scalar, Streams, orbit, turntable
from maquette.core.schedule import Constant, Exponential
from maquette.guidance import color_loss, mask_loss, ms_ssim, perceptual
from maquette.pipelines import PIPELINES, im3d
from maquette.priors.analytic import RandomPyramid, RenderOracle, Solids
from maquette.render import render_gaussians
from maquette.representations.gaussians import state_hash
from maquette.training import density, optim

TOY = Solids.toy()
PYRAMID = RandomPyramid()
SMALL = replace(
    im3d.PAPER,
    views=8, resolution=48, first_steps=4, rounds=2, round_every=100, refine_steps=3, iterations=240,
    init_points=500, batch_views=4,
    control=replace(im3d.CONTROL, end=200, most=1200),
    rates=replace(im3d.RATES, means=Exponential(3e-3, 2e-4, 240)),
)  # fmt: skip


def run(config, prior, **options):
    return list(im3d.run(config, prior, PYRAMID, prompt="a toy", **options))


def psnr(a, b):
    return (-10 * torch.log10((a - b).square().mean())).item()


def seen(cloud, camera):
    return render_gaussians(cloud, camera, background=torch.ones(3))


# --- the schedule and what it costs


def test_the_papers_schedule_regenerates_at_500_and_1000_and_costs_80_evaluations():
    assert im3d.PAPER.regenerates_at == [500, 1000]
    assert (im3d.PAPER.iterations, im3d.PAPER.init_points, im3d.PAPER.control.every) == (1200, 5000, 50)
    due = [step for step in range(1, 1201) if im3d.PAPER.control.is_due(step)]
    assert due == list(range(50, due[-1] + 1, 50))
    assert due[-1] >= 1000
    weights = im3d.PAPER.weights
    assert (weights.perceptual, weights.ms_ssim, weights.mask, weights.color) == (10, 0.2, 1, 0)
    # The numbers of evaluations are those of a real run with the paper's steps, on pictures of 16 px.
    config = replace(
        im3d.TINY, views=16, resolution=16, iterations=5, rounds=2, round_every=2, strengths=(0.5, 0.3),
        first_steps=im3d.PAPER.first_steps, refine_steps=im3d.PAPER.refine_steps, guidance=4.0,
    )  # fmt: skip
    prior = RenderOracle(TOY.look, image_size=16)
    prior.evaluations = 1000  # earlier runs do not count
    report = run(config, prior)[-1].report
    assert report["evaluations"] == 80
    assert run(replace(config, guidance=1.0), prior)[-1].report["evaluations"] == 40


class Listening(RenderOracle):
    """An oracle that writes down what it is asked."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.asked = []

    def denoise(self, latents, t, condition, camera, *, guidance=1.0, rescale=0.0):
        self.asked.append((t, camera, latents))
        return super().denoise(latents, t, condition, camera, guidance=guidance, rescale=rescale)


def test_views_are_asked_for_on_a_turntable_and_renders_are_noised_to_the_strength():
    prior = Listening(TOY.look, image_size=32)
    events = run(replace(im3d.TINY, elevation_deg=25.0, refine_steps=2), prior)
    assert [t for t, _, _ in prior.asked] == [1.0, 0.5, 0.5, 0.25]
    for _, camera, _ in prior.asked:
        torch.testing.assert_close(camera.position, turntable(4, 25.0).position)
    # What goes in at the regeneration: sqrt(ab) render + sqrt(1 - ab) noise.  The renders are nearly white here.
    ab = float(prior.alphas_cumprod[499])
    noisy = prior.asked[2][2]
    assert noisy.std().item() == pytest.approx((1 - ab) ** 0.5, rel=0.2)
    assert noisy[:, :, 0].mean().item() == pytest.approx(ab**0.5, abs=0.05)  # a row of background: white is 1
    order = [event.stage for event in events if isinstance(event, Progress)]
    assert order == ["views"] * 2 + ["fit"] * 2 + ["regenerate"] * 2 + ["fit"] * 2
    assert isinstance(events[-1], Result)
    assert {type(event) for event in events[:-1]} == {Progress, Scalar, Preview}


def test_the_table_of_pipelines_names_this_one():
    import importlib

    module = importlib.import_module(PIPELINES["im3d"])
    assert module is im3d
    assert all(isinstance(preset, im3d.Config) for preset in (module.PAPER, module.DEFAULT, module.TINY))


@pytest.mark.parametrize(
    "change", [{"batch_views": 0}, {"batch_views": 17}, {"strengths": (0.5,)}, {"strengths": (0.5, 0.0)}]
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(BadInput, match="expected"):
        replace(im3d.PAPER, **change)


# --- the loss


def test_the_loss_is_the_weighted_sum_of_its_terms():
    draw = torch.Generator().manual_seed(0)
    color, alpha = torch.rand(2, 32, 32, 3, generator=draw), torch.rand(2, 32, 32, generator=draw)
    target = torch.rand(2, 32, 32, 4, generator=draw)
    features = PYRAMID.features(target[..., :3])
    wanted = im3d.Target(torch.ones(3), target[..., :3], target[..., 3], features)

    def loss(*weights):
        return im3d.image_loss(im3d.Weights(*weights), PYRAMID, color, alpha, wanted)

    terms = [
        perceptual(PYRAMID.features(color), features),
        1 - ms_ssim(color, target[..., :3]),
        mask_loss(alpha, target[..., 3]),
        color_loss(color, target[..., :3]),
    ]
    torch.testing.assert_close(loss(10, 0.2, 1, 0), (10 * terms[0] + 0.2 * terms[1] + terms[2]).mean())
    for index, term in enumerate(terms):
        torch.testing.assert_close(loss(*(3.0 * (i == index) for i in range(4))), 3 * term.mean())


def test_every_view_is_compared_once_before_any_is_again():
    config = replace(im3d.PAPER, views=10, batch_views=4)
    chosen = torch.cat([im3d.views_of_step(config, Streams(3), step) for step in range(10)]).view(4, 10)
    assert all(sorted(epoch.tolist()) == list(range(10)) for epoch in chosen)
    assert len({tuple(epoch.tolist()) for epoch in chosen}) == 4


def test_views_on_white_are_laid_on_every_background():
    camera = turntable(2, size=32)
    rgba = TOY.look(camera)
    config = replace(im3d.TINY, backgrounds=((1.0, 1.0, 1.0), (0.0, 0.5, 0.0)))
    white, green = im3d.on_backgrounds(config, PYRAMID, rgba)
    torch.testing.assert_close(white.color, rgba[..., :3])
    own = rgba[..., :3] - (1 - rgba[..., 3:])
    torch.testing.assert_close(green.color, own + (1 - rgba[..., 3:]) * torch.tensor([0.0, 0.5, 0.0]))
    torch.testing.assert_close(green.features[0], PYRAMID.features(green.color)[0])
    assert torch.equal(green.of(torch.tensor([1])).color[0], green.color[1])
    assert run(config, RenderOracle(TOY.look, image_size=32))[-1].report["iterations"] == 4


# --- what comes out


@pytest.fixture(scope="module")
def fitted():
    """The toy fitted to its exact views: cloud and report."""
    result = run(SMALL, RenderOracle(TOY.look, image_size=48))[-1]
    return result.asset, result.report


def test_a_consistent_prior_is_reproduced_from_views_it_never_showed(fitted):
    cloud, report = fitted
    between = orbit(torch.arange(8) * 45.0 + 22.5, 15.0, size=48)
    truth = TOY.look(between)
    picture = seen(cloud, between)
    covered, wanted = picture.alpha > 0.5, truth[..., 3] > 0.5
    assert ((covered & wanted).sum() / (covered | wanted).sum()).item() > 0.9
    assert psnr(picture.color, truth[..., :3]) > 20
    # The mirrored object would be as good if the orbit ran the wrong way round.
    assert psnr(picture.color, truth[..., :3]) > psnr(picture.color.flip(2), truth[..., :3]) + 5
    assert report["regenerated_at"] == [100, 200]
    assert report["gaussians"] == len(cloud) <= 1200 + 1200 * 0.05
    assert set(report["seconds"]) == {"views", "regenerate", "fit"}


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not():
    config = replace(SMALL, iterations=30, round_every=10, control=replace(im3d.CONTROL, every=5, end=25, most=700))

    def asset(seed):
        prior = RenderOracle(TOY.look, image_size=48, candidates=3, turn_deg=4.0)
        return state_hash(run(config, prior, seed=seed)[-1].asset)

    assert asset(0) == asset(0) != asset(1)


def test_regeneration_repairs_a_prior_that_contradicts_itself():
    prior = RenderOracle(TOY.look, image_size=48, candidates=8, turn_deg=7.0, tint=0.25, seed=2)
    camera = turntable(SMALL.views, size=48)
    truth = TOY.look(camera)[..., :3]
    rounds = [event.images for event in run(SMALL, prior) if isinstance(event, Preview) and event.step in (0, 100, 200)]
    errors = [(images - truth).square().mean().item() for images in rounds if len(images) == SMALL.views]
    assert len(errors) == 3
    assert errors[1] < 0.8 * errors[0]
    assert errors[2] <= errors[1]


def test_a_start_in_the_hull_is_ahead_of_a_start_at_the_centre():
    prior = RenderOracle(TOY.look, image_size=48)
    truth = TOY.look(turntable(8, size=48))[..., :3]
    centre = replace(SMALL, rounds=0, strengths=(), iterations=12)
    shown = [
        seen(run(config, prior)[-1].asset, turntable(8, size=48)).color
        for config in (centre, replace(centre, hull=0.1))
    ]
    assert psnr(shown[1], truth) > psnr(shown[0], truth) + 3.0


def test_views_without_an_object_start_at_the_centre():
    nothing = RenderOracle(lambda camera: TOY.look(camera) * 0 + torch.tensor([1.0, 1.0, 1.0, 0.0]), image_size=16)
    config = replace(im3d.TINY, resolution=16, hull=0.2, iterations=1, rounds=0, strengths=())
    other = replace(config, hull=None)
    assert state_hash(run(config, nothing)[-1].asset) == state_hash(run(other, nothing)[-1].asset)


# --- a picture instead of words


def test_a_picture_takes_the_place_of_the_front_view_at_its_estimated_elevation():
    prior = Listening(TOY.look, image_size=32, candidates=4, turn_deg=10.0)
    picture = TOY.look(orbit(0.0, 30.0, size=64))[0]
    asked = []

    def estimate(images):
        asked.append(images)
        return 30.0

    events = run(im3d.TINY, prior, image=picture, estimate_elevation=estimate)
    assert asked[0].shape == (1, 32, 32, 3)
    assert isinstance(events[0], Notice)
    assert "30" in events[0].text
    torch.testing.assert_close(prior.asked[0][1].position, turntable(4, 30.0).position)
    previews = [event.images for event in events if isinstance(event, Preview) and len(event.images) == 4]
    assert len(previews) == 2  # after the first sample and after the regeneration
    for images in previews:
        torch.testing.assert_close(images[0], asked[0][0])
    assert events[-1].report["elevation_deg"] == 30.0


# --- interruption


SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path

from maquette.core import Progress
from maquette.pipelines import im3d
from maquette.priors.analytic import RandomPyramid, RenderOracle, Solids
from maquette.representations.gaussians import state_hash
from maquette.training import density

config = replace(
    im3d.TINY, resolution=32, iterations=40, round_every=15, rounds=2, strengths=(0.5, 0.3), refine_steps=2,
    control=density.AdaptiveDensity(every=5, begin=0, end=38, quantile=0.9, reset_every=None, most=200),
    checkpoint_every=4,
)


def lines(folder):
    prior = RenderOracle(Solids.toy().look, image_size=32, candidates=3, turn_deg=5.0)
    for event in im3d.run(config, prior, RandomPyramid(), prompt="a toy", checkpoint=folder):
        if isinstance(event, Progress):
            yield f"{event.stage} {event.step}"
    yield f"{state_hash(event.asset)} {event.report['evaluations']}"


if __name__ == "__main__":
    for line in lines(Path(sys.argv[1])):
        print(line, flush=True)
"""


def test_a_killed_run_continues_to_the_same_bytes(tmp_path):
    source = tmp_path / "killable.py"
    source.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, source, tmp_path / "broken"], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line == "fit 26\n":
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    lines = runpy.run_path(str(source))["lines"]
    continued, whole = list(lines(tmp_path / "broken")), list(lines(tmp_path / "whole"))
    assert continued[-1] == whole[-1]  # the same bytes, and the same count of evaluations
    assert continued[0] in ("fit 25", "fit 29")  # from the last state (the next one may have been on disk), not before


def test_a_finished_run_answers_from_its_state_and_another_run_is_refused_it(tmp_path):
    prior = RenderOracle(TOY.look, image_size=32)
    first = run(im3d.TINY, prior, checkpoint=tmp_path)
    again = run(im3d.TINY, prior, checkpoint=tmp_path)
    assert [type(event) for event in again] == [Notice, Result]
    assert state_hash(again[-1].asset) == state_hash(first[-1].asset)
    assert again[-1].report == first[-1].report
    for other in ({"seed": 1}, {"config": replace(im3d.TINY, guidance=2.0)}):
        with pytest.raises(BadInput, match="another run"):
            run(other.get("config", im3d.TINY), prior, checkpoint=tmp_path, seed=other.get("seed", 0))


def test_settings_of_the_fit_are_values():
    assert im3d.RATES.means(0) == 3e-3
    assert isinstance(im3d.RATES, optim.Rates)
    assert isinstance(im3d.RATES.quats, Constant)
    assert isinstance(im3d.CONTROL, density.AdaptiveDensity)
