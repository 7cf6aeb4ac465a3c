"""The whole path from words or a picture to files, with the shipped prior and the smallest settings."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import maquette
from maquette.apps.cli import run
from maquette.apps.generate import generate_to_folder
from maquette.apps.make import configured
from maquette.core import BadInput, Notice, Result, Unsupported
from maquette.edit import Session
from maquette.representations.gaussians import state_hash

FILES = {"asset.ply", "asset.glb", "turntable.mp4", "preview.png", "run.json", "asset.health.json"}
SMALL = {"quality": "tiny"}


def _run(prompt, out, **options):
    values = {"image": None, "pipeline": "im3d", "prior": "pocket", "seed": 0, "device": "cpu", "overrides": SMALL}
    return list(generate_to_folder(prompt, out=out, **values | options))


def test_words_become_a_folder_of_files_and_twice_the_same_bytes(tmp_path):
    events = _run("a crimson apple", tmp_path / "one")
    assert isinstance(events[-1], Result)
    assert any(isinstance(e, Notice) and "red" in e.text for e in events)
    assert {p.name for p in (tmp_path / "one").iterdir()} == FILES
    report = json.loads((tmp_path / "one" / "run.json").read_text())
    assert report["prompt"] == "a crimson apple" and "red" in report["understood"]
    assert report["evaluations"] > 0 and report["seconds"]["total"] > 0 and report["peak_memory_mib"] > 0
    _run("a crimson apple", tmp_path / "two")
    one, two = ((tmp_path / name / "asset.ply").read_bytes() for name in ("one", "two"))
    assert one == two
    _run("a crimson apple", tmp_path / "three", seed=1)
    assert (tmp_path / "three" / "asset.ply").read_bytes() != one


def test_a_session_begins_with_the_asset_and_only_in_an_empty_folder(tmp_path):
    line = ["generate", "a red apple", "--quality", "tiny", "--out", str(tmp_path / "out"), "--session"]
    assert run([*line, str(tmp_path / "apple.mq")]) == 0
    with Session.open(tmp_path / "apple.mq") as session:
        assert state_hash(session.scene.cloud) == state_hash(maquette.load(tmp_path / "out" / "asset.ply"))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("keep")
    assert run([*line, str(tmp_path / "taken")]) == 2
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["mine.txt"]


def test_a_picture_becomes_an_asset(tmp_path):
    picture = np.full((96, 128, 3), 250, np.uint8)
    picture[30:70, 40:90] = (200, 30, 30)
    Image.fromarray(picture).save(tmp_path / "box.png")
    events = _run(None, tmp_path / "out", image=tmp_path / "box.png")
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES | {"reference.png"}
    assert 0 <= events[-1].report["elevation_deg"] <= 45


def test_python_mirrors_the_command_line(tmp_path):
    asset = maquette.generate("a red apple", seed=0, **SMALL)
    asset.save(tmp_path / "apple.glb")
    asset.save(tmp_path / "apple.ply")
    assert len(maquette.load(tmp_path / "apple.ply")) == len(asset.cloud)
    assert torch.equal(maquette.load(tmp_path / "apple.glb").faces, asset.mesh.faces)


@pytest.mark.parametrize(
    ("prompt", "options", "says"),
    [
        ("", {}, "empty"),
        ("xyzzy qwrty", {}, "xyzzy"),
        ("a red apple", {"seed": -1}, "seed"),
        ("a red apple", {"overrides": {"colour": 3}}, "colour"),
        ("a red apple", {"overrides": {"quality": "best"}}, "best"),
        ("a red apple", {"overrides": {"iterations": "many"}}, "iterations"),
    ],
)
def test_mistakes_are_said_and_leave_nothing(tmp_path, prompt, options, says):
    with pytest.raises(BadInput, match=says):
        _run(prompt, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_an_unknown_pipeline_and_a_picture_for_one_that_reads_words_are_refused(tmp_path):
    with pytest.raises(Unsupported, match=r"magic.*im3d, ge3d, lucid"):
        _run("a red apple", tmp_path, pipeline="magic")
    with pytest.raises(Unsupported, match="ge3d makes things from words alone"):
        _run("a red apple", tmp_path, pipeline="ge3d", image=tmp_path / "box.png")


@pytest.mark.parametrize("pipeline", ["ge3d", "lucid"])
def test_score_distillation_makes_the_same_files(tmp_path, pipeline):
    report = _run("a red apple", tmp_path / "out", pipeline=pipeline)[-1].report
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES
    assert report["pipeline"] == pipeline and report["prior"] == "pocket"
    assert report["evaluations"] >= 2 * report["iterations"]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["config"]["loop"]["rates"]


def test_settings_keep_their_types():
    config = configured({"quality": "paper", "guidance": 3, "strengths": [0.4, 0.2], "weights": {"perceptual": 0.0}})
    assert config.guidance == 3.0 and config.strengths == (0.4, 0.2)
    assert config.weights.perceptual == 0.0 and config.weights.mask == 1.0
    config = configured({"iterations": 7, "nodes.count": 3, "loop.regularisers.scales": 1}, "ge3d")
    assert config.iterations == 7 and config.nodes.count == 3 and config.loop.regularisers.scales == 1.0
