from dataclasses import replace

import pytest
import torch

from maquette.core import BadInput, Notice, Preview, Progress, Result, Scalar, Streams, orbit
from maquette.core.schedule import Constant
from maquette.pipelines import PIPELINES, fantasia3d
from maquette.priors.analytic import Solids
from maquette.render.surface import render_surface
from maquette.representations import sdf_grid
from maquette.representations.tets import grid_to_mesh
from maquette.training.orbits import Around

TINY = fantasia3d.TINY
TOY = Solids.toy()


def run(config, prior, **options):
    return list(fantasia3d.run(config, prior, **{"prompt": "a toy"} | options))


def seen(made, camera):
    with torch.no_grad():
        return render_surface(
            made.mesh, camera, color=lambda points: made.paint(points, points)[1], background=torch.ones(3)
        )


def test_the_published_numbers():
    paper = fantasia3d.PAPER
    assert __import__(PIPELINES["fantasia3d"], fromlist=["run"]) is fantasia3d
    assert (paper.geometry.iterations, paper.appearance.iterations, paper.cells) == (3000, 2000, 128)
    assert paper.geometry.guidance == paper.appearance.guidance == 100.0
    assert paper.geometry.weighting == "fantasia3d" and paper.geometry.times.high(0) == 0.5
    assert paper.sculpting.shows_normals and paper.sculpting.color_rate is None and paper.painting.shape_rate is None
    assert paper.sculpting.cameras.fov_deg == (25.71, 45.0) and "shadow" in paper.negative
    with pytest.raises(BadInput, match="expected"):
        replace(paper.geometry, iterations=0)


def test_the_start_is_an_ellipsoid():
    axes = (0.2, 0.5, 0.3)
    grid = sdf_grid.sample(lambda points: fantasia3d.ellipsoid(points, axes), resolution=32)
    vertices = grid_to_mesh(grid).vertices
    assert (vertices / torch.tensor(axes)).norm(dim=-1).sub(1).abs().max() < 0.01
    assert fantasia3d.ellipsoid(torch.zeros(1, 3), axes) == pytest.approx(-0.2)


def test_shape_without_color_then_colors_without_shape(known_object):
    prior = known_object(16)
    encoded = []
    encode = prior.encode
    prior.encode = lambda images: (encoded.append(images.detach()), encode(images))[1]
    events = run(TINY, prior)
    assert [e.stage for e in events if isinstance(e, Progress)] == ["geometry"] * 3 + ["appearance"] * 3
    assert {type(e) for e in events} == {Progress, Scalar, Preview, Result}
    made, report = events[-1].asset, events[-1].report
    assert report["evaluations"] == 12 == prior.evaluations and set(report["seconds"]) == {"geometry", "appearance"}
    # What the prior sees first are normals, and those point to the camera.
    start = fantasia3d.HashField(TINY.paint, generator=Streams(0).generator("paint"))
    first = run(replace(TINY, appearance=replace(TINY.appearance, iterations=1)), known_object(16))[-1].asset
    assert not torch.equal(made.paint.table, start.table) and torch.equal(made.mesh.vertices, first.mesh.vertices)
    camera = TINY.sculpting.cameras.at(0, Streams(0).generator("geometry/cameras/0"), 16)
    views = [images for images in encoded if images.shape[0] == 2]
    hit = views[0][..., 3] > 0.999
    normals = views[0][hit][:, :3] * 2 - 1
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(len(normals)), atol=0.1, rtol=0)
    towards = camera.position / camera.position.norm(dim=-1, keepdim=True)
    which = hit.nonzero()[:, 0]
    assert (normals * towards[which]).sum(-1).min() > -0.3


def test_the_silhouette_and_then_the_colors_of_a_known_object_are_reached(known_object):
    config = replace(
        TINY, cells=20, half_axes=(0.3, 0.3, 0.3),
        geometry=replace(TINY.geometry, iterations=60, weighting="variance", guidance=2.0),
        appearance=replace(TINY.appearance, iterations=40, weighting="variance", guidance=2.0),
        sculpting=replace(
            TINY.sculpting, cameras=Around(views=4), resolution=24, shape_rate=Constant(5e-2), smooth_normals=1.0,
            sign_changes=0.1,
        ),
        painting=replace(TINY.painting, cameras=Around(views=4), resolution=24, color_rate=Constant(2e-2)),
    )  # fmt: skip
    between = orbit(torch.arange(6) * 60.0 + 10, 15.0, size=24)
    truth = TOY.look(between)
    once = {"geometry": replace(config.geometry, iterations=1), "appearance": replace(config.appearance, iterations=1)}
    start = seen(run(replace(config, **once), known_object(24))[-1].asset, between)
    made = seen(run(config, known_object(24))[-1].asset, between)
    before, after = ((x.alpha - truth[..., 3]).square().mean().item() for x in (start, made))
    assert after < 0.5 * before
    before, after = ((x.color - truth[..., :3]).square().mean().item() for x in (start, made))
    assert after < 0.5 * before and after < 0.03


def test_a_run_that_stops_in_either_stage_continues_to_the_same_bytes(tmp_path, known_object):
    whole = run(TINY, known_object(16))[-1]
    for stage, step in (("geometry", 2), ("appearance", 1)):
        making = fantasia3d.run(TINY, known_object(16), prompt="a toy", checkpoint=tmp_path)
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
