"""Interaction scripts from a file, through the command line to the files of an asset."""

import json

import pytest
import torch

import maquette
from maquette.apps.cli import run
from maquette.apps.interactions import as_json, read_script, scripted
from maquette.core import BadInput, Notice, Unsupported
from maquette.edit.edit import finished
from maquette.io import save_splats
from maquette.representations.gaussians import from_points, state_hash

TOP = {"kind": "select", "part": "frozen", "region": {"kind": "sphere", "center": [0, 0.3, 0], "radius": 0.25}}
FILES = {"asset.ply", "asset.glb", "turntable.mp4", "preview.png", "run.json", "asset.health.json"}


@pytest.fixture
def written(tmp_path):
    """Writes a script beside a small dragon, and returns its path."""
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    save_splats(tmp_path / "dragon.ply", from_points(points, points + 0.5))

    def write(value):
        path = tmp_path / "edits.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return write


def test_a_scripted_run_writes_all_its_files(tmp_path, written, capsys):
    path = written([
        {"step": 3, "kind": "paste", "cloud": "dragon.ply", "name": "dragon", "at": [0, -0.4, 0], "scale": 0.5},
        {"step": 1, **TOP},
        {"step": 4, "kind": "move", "part": "dragon", "by": [0, 0.1, 0]},
    ])  # fmt: skip
    words = ["generate", "a crimson apple", "--pipeline", "interactive3d", "--quality", "tiny", "--out"]
    assert run([*words, str(tmp_path / "out"), "--script", str(path)]) == 0
    assert "Select" in capsys.readouterr().err
    assert {file.name for file in (tmp_path / "out").iterdir()} == FILES
    report = json.loads((tmp_path / "out" / "run.json").read_text())
    assert report["edits"] == 3 and report["parts"]["dragon"] >= 20 and report["pipeline"] == "interactive3d"
    assert [one["kind"] for one in report["script"]] == ["select", "paste", "move"]
    made = maquette.load(tmp_path / "out" / "asset.ply")
    assert len(made) == report["gaussians"]


def test_what_was_done_reads_as_a_script_again(tmp_path, written):
    plan, clouds = read_script(written([{"step": 2, **TOP}, {"kind": "paste", "cloud": "dragon.ply", "name": "d"}]))
    assert [one.step for one in plan] == [0, 2]
    ((name, cloud),) = clouds.items()
    assert plan[0].edit.cloud == name == state_hash(cloud) and len(cloud) == 20
    assert read_script(written(as_json(plan[1:])))[0] == plan[1:]


def test_words_of_a_script_are_said_as_the_pocket_prior_knows_them(written):
    path = written([{"step": 9, "kind": "refine", "part": "all", "prompt": "a crimson apple"}])
    events = []
    stream = scripted(path, "interactive3d", has_pocket_words=True)
    try:
        while True:
            events.append(next(stream))
    except StopIteration as end:
        (one,) = end.value["interactions"]
    assert one.step == 9 and "red" in one.edit.prompt and isinstance(events[0], Notice)
    (plain,) = finished(scripted(path, "interactive3d", has_pocket_words=False))["interactions"]
    assert plain.edit.prompt == "a crimson apple"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ({"kind": "undo"}, "not a list of edits"),
        ([3], "not a list of edits"),
        ([{"kind": "fly"}], "one of select"),
        ([{**TOP, "step": -1}], "step of select is -1"),
        ([{**TOP, "step": 1.5}], "expected 0, 1, 2"),
        ([{"kind": "paste", "cloud": "wyvern.ply", "name": "x"}], "wyvern.ply"),
        ([{"kind": "paste", "cloud": "0" * 32, "name": "x"}], "names no file"),
        ([{"kind": "refine", "part": "all", "prompt": "xyzzy"}], "xyzzy"),
        ([{"kind": "move", "part": "nobody", "by": [0, 0.1, 0]}], "no part 'nobody'"),
    ],
)
def test_bad_scripts_are_named_and_leave_nothing(tmp_path, written, value, message):
    path = written(value)
    options = {"pipeline": "interactive3d", "quality": "tiny", "script": path, "out": tmp_path / "out"}
    with pytest.raises(BadInput, match=message):
        maquette.generate("a red apple", **options)
    assert not any(file.is_file() and file.suffix != ".json" for file in (tmp_path / "out").rglob("*"))


def test_other_pipelines_take_no_edits_and_a_missing_file_is_said(tmp_path, written, capsys):
    with pytest.raises(Unsupported, match="im3d takes no edits"):
        maquette.generate("a red apple", quality="tiny", script=written([TOP]))
    words = ["generate", "a red apple", "--pipeline", "interactive3d", "--out", str(tmp_path / "out")]
    assert run([*words, "--script", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err and not (tmp_path / "out").exists()
