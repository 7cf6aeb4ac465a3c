from dataclasses import replace

import pytest
import torch

from maquette.core import BadInput, Notice, Preview, Progress, Result, Scalar, orbit
from maquette.core.schedule import Constant
from maquette.kernels.hashgrid import GridShape
from maquette.pipelines import magic3d
from maquette.priors.analytic import Solids
from maquette.render.surface import render_surface
from maquette.representations.field import FieldShape
from maquette.training.orbits import Around
from maquette.training.volume import Penalties, Rates

TINY = magic3d.TINY
TOY = Solids.toy()


def run(config, prior, **options):
    return list(magic3d.run(config, prior, **{"prompt": "a toy"} | options))


def seen(made, camera):
    with torch.no_grad():
        return render_surface(
            made.mesh, camera, color=lambda points: made.paint(points, points)[1], background=torch.ones(3)
        )


def test_the_published_numbers():
    paper = magic3d.PAPER
    assert (paper.coarse.iterations, paper.fine.iterations, paper.cells) == (10_000, 5000, 128)
    assert (paper.coarse.weighting, paper.fine.weighting, paper.fine.times) == ("uniform", "variance", (0.02, 0.5, 0.5))
    assert paper.coarse.guidance == paper.fine.guidance == 101.0
    assert (paper.loop.resolution(0), paper.resolution) == (64, 512)
    assert paper.loop.light.is_soft and paper.loop.light.around == "axis" and paper.surface.light.unlit_steps == 0
    assert paper.surface.smooth_normals == 10_000 and paper.surface.cameras.fov_deg == (30.0, 45.0)
    with pytest.raises(BadInput, match="expected"):
        replace(paper.fine, iterations=0)


def test_two_stages_with_their_own_pictures_and_times(known_object):
    prior = known_object(16)
    events = run(TINY, prior)
    assert [e.stage for e in events if isinstance(e, Progress)] == ["coarse"] * 3 + ["fine"] * 3
    assert {type(e) for e in events} == {Notice, Progress, Scalar, Preview, Result}
    assert all(t <= 0.5 for t, *_ in prior.asked[3:]) and {views for *_, views in prior.asked} == {2}
    made, report = events[-1].asset, events[-1].report
    assert report["evaluations"] == 12 == prior.evaluations and set(report["seconds"]) == {"coarse", "fine"}
    assert report["faces"] == len(made.mesh.faces) > 0
    # The surface lies where the field has it, before it has learned much.
    assert 0.1 < made.mesh.vertices.norm(dim=-1).mean() < 0.4


def test_a_known_object_gets_closer_as_a_mesh(known_object):
    config = replace(
        TINY,
        coarse=magic3d.Stage(60, (0.02, 0.98, 0.98), "variance", guidance=2.0),
        fine=magic3d.Stage(1, (0.02, 0.5, 0.5), "variance", guidance=2.0),
        shape=FieldShape(
            GridShape(levels=4, base=8, finest=32, log2_entries=12), hidden=16, sees_direction=False,
            activation="softplus", blob=5.0,
        ),
        loop=replace(
            TINY.loop, cameras=Around(views=4), resolution=Constant(24), samples=32, light=None, watch_every=16,
            rates=Rates(Constant(2e-2), Constant(1e-2)), penalties=Penalties(Constant(0.0), Constant(0.0)),
        ),
        cells=16,
        surface=replace(
            TINY.surface, cameras=Around(views=4), resolution=24, light=None, shape_rate=Constant(3e-2),
            smooth_normals=1.0, sign_changes=0.1,
        ),
    )  # fmt: skip
    between = orbit(torch.arange(6) * 60.0 + 10, 15.0, size=24)
    truth = TOY.look(between)
    coarse = seen(run(config, known_object(24))[-1].asset, between)
    made = run(replace(config, fine=replace(config.fine, iterations=40)), known_object(24))[-1].asset
    fine = seen(made, between)
    before, after = ((x.color - truth[..., :3]).square().mean().item() for x in (coarse, fine))
    assert after < 0.6 * before and after < 0.02
    assert (fine.color - truth[..., :3]).square().mean() < 0.5 * (fine.color.flip(2) - truth[..., :3]).square().mean()


def test_a_run_that_stops_in_either_stage_continues_to_the_same_bytes(tmp_path, known_object):
    whole = run(TINY, known_object(16))[-1]
    for stage, step in (("coarse", 2), ("fine", 1)):
        making = magic3d.run(TINY, known_object(16), prompt="a toy", checkpoint=tmp_path)
        for event in making:
            if isinstance(event, Progress) and (event.stage, event.step) == (stage, step):
                making.close()
    events = run(TINY, known_object(16), checkpoint=tmp_path)
    assert [type(e) for e in events[:2]] == [Notice] * 2
    made = events[-1].asset
    assert torch.equal(made.mesh.vertices, whole.asset.mesh.vertices)
    for one, other in zip(made.paint.parameters(), whole.asset.paint.parameters(), strict=True):
        assert torch.equal(one, other)
    assert events[-1].report["evaluations"] == whole.report["evaluations"]


def test_a_field_without_matter_says_so(known_object):
    with pytest.raises(BadInput, match="expected a surface"):
        run(replace(TINY, level=1e6), known_object(16))
