"""What DreamGaussian, GaussianDreamer and GSGEN have in common, and the numbers that each brings."""

from dataclasses import replace

import pytest
import torch

from maquette.core import BadInput, Constant, Preview, Progress, Streams, orbit
from maquette.pipelines import PIPELINES, dreamgaussian, gaussiandreamer, gsgen
from maquette.priors.analytic import RenderOracle, Solids
from maquette.priors.sampling import resized
from maquette.render import render_gaussians
from maquette.representations.gaussians import from_points
from maquette.training import sds_recipe
from maquette.training.descent import Loop, grey_ball
from maquette.training.sds_recipe import grown, run_sds

TOY = Solids.toy()
MODULES = {"dreamgaussian": dreamgaussian, "gaussiandreamer": gaussiandreamer, "gsgen": gsgen}


def oracle(size):
    return RenderOracle(lambda camera: resized(TOY.look(camera), size), image_size=size, with_coverage=True)


def run(config, prior, **options):
    given = {"prompt": "a toy", "initial": None, "seed": 0, "checkpoint": None} | options
    return list(run_sds("test", config, prior, **given))


def test_the_published_numbers():
    dream, dreamer, gen = (module.PAPER for module in MODULES.values())
    assert (dream.iterations, dream.resolution, dream.init_points, dream.cameras.views) == (500, 512, 5000, 1)
    assert [dream.times.high(step) for step in (0, 500)] == pytest.approx(
        [0.98, 0.02]
    ) and dream.times.low == dream.times.high
    assert (dreamer.iterations, dreamer.resolution, dreamer.grown) == (1200, 1024, 1_000_000)
    assert [dreamer.times.high(step) for step in (499, 500)] == [0.98, 0.55]
    assert [dreamer.clip(step) for step in (0, 1000)] == [1.5, 2.0]
    due = [step for step in range(1, 1201) if dreamer.loop.control.is_due(step)]
    assert due == list(range(300, 901, 100))
    assert (gen.iterations, gen.times.high(1999), gen.times.high(2000), gen.init_opacity) == (15_000, 0.98, 0.5, 0.8)
    assert [s for s in range(1, 15_001) if gen.loop.control.is_due(s)] == list(range(2000, 10_000, 1000))
    assert {module.PAPER.guidance for module in MODULES.values()} == {100.0}
    for name, module in MODULES.items():
        assert __import__(PIPELINES[name], fromlist=["run"]) is module
        assert all(isinstance(preset, module.Config) for preset in (module.DEFAULT, module.TINY))
    with pytest.raises(BadInput, match="shares"):
        replace(dream, doublings=(30.0,))


def test_renderings_double_and_noise_falls(monkeypatch):
    prior = oracle(16)
    config = replace(
        dreamgaussian.TINY, iterations=10, resolution=32, doublings=(0.3, 0.6), times=dreamgaussian.falling(10)
    )
    config = replace(config, loop=replace(config.loop, preview_every=1))
    sizes, sds = [], sds_recipe.sds

    def watched(latents, prior, words, camera, t, *args, **options):
        sizes.append((camera.height, t))
        return sds(latents, prior, words, camera, t, *args, **options)

    monkeypatch.setattr(sds_recipe, "sds", watched)
    run(config, prior)
    assert [size for size, _ in sizes] == [8] * 3 + [16] * 3 + [32] * 4
    times = [t for _, t in sizes]
    assert times == sorted(times, reverse=True) and times[0] == 0.98 and times[-1] == pytest.approx(0.116)


def test_a_gradient_is_clipped_element_by_element(monkeypatch):
    seen, pull = [], sds_recipe.pull
    monkeypatch.setattr(sds_recipe, "pull", lambda z, g, **more: (seen.append(g), pull(z, g, **more))[1])
    run(replace(gsgen.TINY, iterations=1, clip=Constant(0.01)), oracle(16))
    (gradient,) = seen
    assert gradient.abs().max() == pytest.approx(0.01) and (gradient.abs() < 0.009).any()


def test_a_cloud_grows_around_its_points_in_like_colors():
    points = torch.tensor([[-0.4, -0.4, -0.4], [0.4, 0.4, 0.4], [0.4, -0.4, 0.0]])
    colors = torch.tensor([[0.8, 0.0, 0.0], [0.0, 0.8, 0.0], [0.0, 0.0, 0.8]])
    more = grown(from_points(points, colors, opacity=0.3), 20_000, 0.1, torch.Generator().manual_seed(0))
    torch.testing.assert_close(more.means[:3], points)
    distance, nearest = torch.cdist(more.means, points).min(dim=1)
    assert len(more) > 20 and distance.max() <= 0.1
    gap = more.rgb - colors[nearest]
    assert gap.min() > -1e-5 and 0.15 < gap.max() <= 0.2 + 1e-5
    torch.testing.assert_close(more.opacities, torch.full_like(more.opacities, 0.3))


def test_the_hull_of_drawn_views_is_a_good_start():
    """And a given cloud is taken instead, without drawing anything."""
    between = orbit(torch.arange(6) * 60.0 + 10, 15.0, size=24)
    config = replace(
        gaussiandreamer.TINY, resolution=24, iterations=30, init_points=600, grown=3000, grown_within=0.03, loop=Loop(),
        guidance=2.0,
    )  # fmt: skip

    def error(cloud):
        seen = render_gaussians(cloud, between, background=torch.ones(3)).color
        return (seen - TOY.look(between)[..., :3]).square().mean()

    events = run(config, oracle(24))
    assert [type(e) for e in events[:11]] == [Progress] * 10 + [Preview]
    report = events[-1].report
    assert report["evaluations"] == 2 * sds_recipe.DRAWN_STEPS + 2 * 30 and set(report["seconds"]) == {
        "views",
        "distill",
    }
    ball = grey_ball(600, 0.4, Streams(0).generator("points"))
    assert error(events[-1].asset) < 0.5 * error(ball)
    assert run(replace(config, grown=0, iterations=1), oracle(24), initial=ball)[-1].report["evaluations"] == 2
