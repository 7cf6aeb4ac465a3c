"""Latent points moved, and the object drawn anew: the same noise, the same words, the same points elsewhere."""

import json
from dataclasses import replace

import pytest
import torch

from maquette.apps.cli import run as command
from maquette.core import BadInput
from maquette.edit import Box, HalfSpace, Latent, Select, Session, apply, read_log, replay
from maquette.edit.latent import last_latent, moved, points_of
from maquette.pipelines.gaussian_anything import TINY, run
from maquette.priors.point_latent import load_point_latent
from maquette.representations.surfels import gaussians_from_surfels


@pytest.fixture(scope="module")
def made(checkpoint):
    """An object of 24 points and 96 Gaussians, and the edit that draws it as it is."""
    folder = checkpoint("gaussian-anything")
    *_, last = run(TINY, load_point_latent(folder), prompt="a red apple", seed=3)
    points = tuple(tuple(point) for point in last.asset.points.tolist())
    edit = Latent("a red apple", 3, 24, tuple(range(24)), points, TINY.guidance, TINY.steps, str(folder))
    return gaussians_from_surfels(last.asset.surfels), edit


def _height(points):
    """Above it are the six highest points."""
    y = sorted(point[1] for point in points)
    return (y[-7] + y[-6]) / 2


@pytest.fixture
def session(tmp_path, made):
    with Session.create(tmp_path / "apple.mq", made[0]) as opened:
        opened.do(Select("top", HalfSpace((0.0, _height(made[1].points), 0.0), (0.0, 1.0, 0.0))))
        yield opened


def test_points_that_stay_draw_the_same_bits(session, made):
    before = session.hash
    report = session.do(made[1])
    assert session.hash == before and report.changed == 0 and report.evaluations == 8


def test_a_moved_part_is_drawn_elsewhere_and_the_other_points_stay(session, made, tmp_path):
    cloud, edit = made
    chosen = points_of(session.scene, "top", 24)
    assert 3 <= chosen.sum() <= 8
    floor = _height(edit.points)
    stretched = moved(edit, session.scene, "top", factors=(1.0, 1.4, 1.0), pivot=(0.0, floor, 0.0))
    old, new = torch.tensor(edit.points), torch.tensor(stretched.points)
    assert torch.equal(new[~chosen], old[~chosen])
    torch.testing.assert_close(new[chosen][:, 1], ((old[chosen][:, 1] - floor) * 1.4 + floor).clamp(max=0.5))
    assert torch.equal(new[:, [0, 2]], old[:, [0, 2]])
    before = session.hash
    report = session.do(stretched)
    assert report.rows == 96 and report.changed > 0 and report.outside_changed == 0
    rows = chosen.repeat_interleave(4)
    assert session.scene.cloud.means[rows, 1].mean() > cloud.means[rows, 1].mean()
    assert torch.equal(points_of(session.scene, "top", 24), chosen)  # a part follows its points
    session.undo()
    assert session.hash == before and last_latent(session.entries) is None
    session.redo()
    assert last_latent(session.entries) == stretched
    assert replay(tmp_path / "apple.mq", tmp_path / "again.mq") == []


def test_points_taken_away_leave_the_others_their_noise(session, made):
    _, edit = made
    chosen = points_of(session.scene, "top", 24)
    less = moved(edit, session.scene, "top", is_removed=True)
    assert less.drawn == 24 and less.rows == tuple((~chosen).nonzero()[:, 0].tolist())
    report = session.do(less)
    assert report.rows == 4 * len(less.points) and report.removed == 96
    assert not session.scene.parts["top"].any()
    session.undo()
    off = []
    for rows in (edit.rows[::-1], edit.rows):  # the same noise at the same places, and noise of other points
        cloud = apply(replace(edit, rows=rows, points=edit.points[::-1]), session.scene)[0].cloud
        turned = [tensor.unflatten(0, (24, 4)).flip(0).flatten(0, 1) for tensor in cloud.tensors().values()]
        pairs = zip(turned, made[0].tensors().values(), strict=True)
        off.append(max((one - other).abs().max().item() for one, other in pairs))
    assert off[0] < 0.2 * off[1]


def test_parts_without_points_and_other_scenes(session, made, tmp_path):
    _, edit = made
    first = session.scene.cloud.means[0].tolist()
    session.do(Select("speck", Box(tuple(first), (1e-5, 1e-5, 1e-5))))
    with pytest.raises(BadInput, match="'speck' holds no latent point"):
        moved(edit, session.scene, "speck", by=(0.0, 0.1, 0.0))
    session.remove("speck")
    with pytest.raises(BadInput, match="which 24 latent points cannot have made"):
        moved(edit, session.scene, "all", by=(0.0, 0.1, 0.0))
    with pytest.raises(BadInput, match="expected at least 16"):
        moved(edit, Session.create(tmp_path / "other.mq", made[0]).scene, "all", is_removed=True)
    with pytest.raises(BadInput, match="no weights of gaussian-anything"):
        session.do(replace(edit, weights=str(tmp_path)))


def test_from_words_to_an_edited_object_on_the_command_line(tmp_path, checkpoint, capsys):
    folder, asset, chair = checkpoint("gaussian-anything"), str(tmp_path / "chair"), str(tmp_path / "chair.mq")
    line = ["generate", "a wooden chair", "--pipeline", "gaussian-anything", "--weights", str(folder)]
    assert command([*line, "--quality", "tiny", "--device", "cpu", "--out", asset, "--session", chair]) == 0
    assert command(["edit", chair, "select", "top", "--plane", "0,0.1,0,0,1,0"]) == 0
    stretch = ["edit", chair, "latent", "top", "--stretch", "1,1.4,1", "--about", "0,0.1,0"]
    assert command(stretch) == 2
    assert "give --asset FOLDER once" in capsys.readouterr().err
    assert command([*stretch, "--asset", asset]) == 0
    assert command(["edit", chair, "latent", "top", "--by", "0.1,0,0"]) == 0
    first, second = (entry.edit for entry in read_log(tmp_path / "chair.mq")[-2:])
    assert first["prompt"] == json.loads((tmp_path / "chair" / "run.json").read_text())["understood"]
    old, new = torch.tensor(first["points"]), torch.tensor(second["points"])
    shifts = (new - old)[:, 0]
    assert (
        torch.equal(new[:, 1:], old[:, 1:])
        and ((shifts == 0) | ((shifts - 0.1).abs() < 1e-6) | (new[:, 0] == 0.5)).all()
    )
    assert 0 < (shifts > 0).sum() < 24
    (tmp_path / "chair" / "run.json").write_text(json.dumps({"pipeline": "im3d", "config": {}}))
    assert command([*stretch, "--asset", asset]) == 2
    assert "made by im3d" in capsys.readouterr().err
