"""A session from the terminal: words in, reports out, errors that say what to do."""

import json

import pytest
import torch

from maquette.apps.edit import edit_session, replay_session
from maquette.core import BadInput
from maquette.edit import Select, Session, Sphere, to_json
from maquette.io import load_splats, save_splats
from maquette.representations import from_points


@pytest.fixture
def asset(tmp_path):
    draw = torch.Generator().manual_seed(0)
    points, colors = torch.rand(80, 3, generator=draw) - 0.5, torch.rand(80, 3, generator=draw)
    save_splats(tmp_path / "knight.ply", from_points(points, colors, opacity=0.8))
    return tmp_path / "knight.ply"


@pytest.fixture
def knight(tmp_path, asset, capsys):
    folder = tmp_path / "knight.mq"
    edit_session([str(folder), "new", str(asset)])
    capsys.readouterr()

    def say(*words: str) -> str:
        edit_session([str(folder), *words])
        return capsys.readouterr().out

    say.folder = folder
    return say


def test_an_afternoon_with_a_knight(tmp_path, asset, knight, capsys):
    assert "outside 0 rows changed, 0 pixels" in knight("select", "head", "--sphere", "0,0.35,0,0.3")
    knight("move", "head", "--by", "-0.1,0,0")
    knight("rotate", "head", "--degrees", "-30", "--axis", "0,1,0")
    knight("stretch", "head", "--factors", "1,2,1", "--axes", "own")
    knight("mirror", "head")
    knight("duplicate", "head", "--as", "twin", "--by", "0.5,0,0")
    knight("drag", "--from", "-0.2,0.1,0", "--to", "-0.45,0.3,0", "--to", "0,0.6,0", "--radius", "0.3")
    knight("paste", str(asset), "--as", "dragon", "--at", "-0.1,-0.4,0", "--scale", "1.4")
    knight("select", "rest", "--inverse", "dragon")
    knight("remove", "twin")
    assert knight("undo", "2") == "8 edits done, 2 undone\n"
    assert knight("redo") == "9 edits done, 1 undone\n"
    knight("forget", "rest")
    listed = knight("log").splitlines()
    assert len(listed) == 15
    assert "gone" in listed[10] and "remove part=twin" in listed[10]
    assert knight("export", str(tmp_path / "out.ply")) == f"{tmp_path / 'out.ply'}\n"
    replay_session(knight.folder, tmp_path / "again.mq")
    assert "the same state" in capsys.readouterr().out
    with Session.open(tmp_path / "again.mq") as again:
        assert len(load_splats(tmp_path / "out.ply")) == len(again.scene.cloud)
        assert {"head", "twin", "dragon"} == set(again.scene.parts)


def test_parts_come_back_from_a_glb(tmp_path, knight, capsys):
    knight("select", "head", "--sphere", "0,0.35,0,0.3")
    knight("select", "up", "--plane", "0,0,0,0,1,0")
    knight("export", str(tmp_path / "knight.glb"))
    edit_session([str(tmp_path / "again.mq"), "new", str(tmp_path / "knight.glb")])
    assert capsys.readouterr().out.endswith("80 Gaussians, head, up\n")
    with Session.open(knight.folder) as one, Session.open(tmp_path / "again.mq") as other:
        sizes = [{name: int(rows.sum()) for name, rows in session.scene.parts.items()} for session in (one, other)]
    assert sizes[0] == sizes[1]


def test_reports_for_programs(knight):
    answer = json.loads(knight("select", "up", "--plane", "0,0,0,0,1,0", "--json"))
    assert answer["outside_changed"] == 0 and answer["selected"] > 0 and len(answer["hash"]) == 32
    assert json.loads(knight("undo", "--json"))["done"] == 0
    assert [json.loads(line)["what"] for line in knight("--json", "log").splitlines()] == ["start", "edit", "undo"]


@pytest.mark.parametrize(
    "words",
    [
        ("--box", "0,0,0,0.3,0.3,0.3"),
        ("--component", "0,0,0,5"),
        ("--color", "0.5,0.5,0.5,0.5"),
        ("--same", "a"),
        ("--grow", "a"),
        ("--shrink", "a", "--how", "union"),
    ],
)
def test_every_way_to_select(knight, words):
    knight("select", "a", "--plane=-0.2,0,0,1,0,0")
    assert " 0 selected" not in knight("select", "a", *words)


def test_a_region_from_a_file(tmp_path, knight):
    (tmp_path / "r.json").write_text('{"kind": "sphere", "center": [0, 0, 0], "radius": 0.4}')
    assert "selected" in knight("select", "a", "--region", str(tmp_path / "r.json"))
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(BadInput, match="JSON"):
        knight("select", "a", "--region", str(tmp_path / "r.json"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("select", "a"), "0 regions given"),
        (("select", "a", "--sphere", "0,0,0,1", "--same", "b"), "2 regions given"),
        (("select", "a", "--sphere", "0,0,0"), "--sphere is '0,0,0'; expected 4 numbers"),
        (("move", "all", "--by", "0,x,0"), "expected 3 numbers"),
        (("move", "all", "--by", "0,inf,0"), "expected 3 numbers"),
        (("move", "arm", "--by", "0,1,0"), "there is no part 'arm'"),
        (("undo",), "cannot undo"),
        (("repaint", "all", "green"), "nothing to make"),
        (("repaint", "head", "a green apple"), "there is no part 'head'"),
        (("repaint", "all", "a green apple", "--times", "0.5,x"), "--times"),
        (("repaint", "all", "a green apple", "--times", "0.5,2"), "all in"),
        (("drag", "--from", "0,0,0", "--to", "0,0,0", "--radius", "1"), "goes nowhere"),
        (
            ("drag", "--from", "0,0,0", "--to", "0,1,0", "--radius", "1", "--words", "a cat", "--no-fill"),
            "always fills",
        ),
        (("drag", "--from", "0,0,0", "--to", "0,1,0", "--radius", "1", "--words", "green"), "nothing to make"),
        (("regenerate", "arm", "a green apple"), "there is no part 'arm'"),
        (("regenerate", "all", "a green apple", "--times", "0.5,0.1"), "ends of a range"),
        (("refine", "all", "green"), "nothing to make"),
        (("refine", "all", "a green apple", "--levels", "17"), "17 levels"),
        (("export", "x.txt"), "ends in .txt"),
    ],
)
def test_mistakes_are_named(knight, words, message):
    with pytest.raises(BadInput, match=message):
        knight(*words)
    with Session.open(knight.folder) as session:
        assert session.done == 0


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("refine", "all", "a cat", "--levels", "12"), {"kind": "refine", "levels": 12, "times": [0.6, 0.45, 0.3]}),
        (("regenerate", "all", "a cat", "--times", "0.2,0.9"), {"kind": "regenerate", "times": [0.2, 0.9]}),
        (
            ("drag", "--from", "-0.1,0,0", "--to", "0,1,0", "--to", "1,1,0", "--radius", "1", "--words", "a cat"),
            {"kind": "guided_drag", "source": [-0.1, 0, 0], "path": [[0, 1, 0], [1, 1, 0]], "prompt": "a cat"},
        ),
    ],
)
def test_words_reach_the_edit(knight, monkeypatch, words, wanted):
    """What the session is asked to do; the doing has tests of its own."""
    asked = []

    def doing(session, edit):
        asked.append(to_json(edit))
        return (yield from Session._doing_before(session, Select("head", Sphere((0, 0, 0), 9.0))))

    monkeypatch.setattr(Session, "_doing_before", Session.doing, raising=False)
    monkeypatch.setattr(Session, "doing", doing)
    knight(*words)
    assert wanted.items() <= asked[0].items()


def test_help_needs_no_session(capsys):
    for words in ([], ["--help"], ["s.mq"], ["s.mq", "drag", "--help"]):
        with pytest.raises(SystemExit):
            edit_session(words)
        assert "maquette edit" in capsys.readouterr().out


def test_the_command_line_reaches_sessions(tmp_path, asset, capsys):
    from maquette.apps.cli import run

    session = str(tmp_path / "knight.mq")
    assert run(["edit", session, "new", str(asset)]) == 0
    assert run(["edit", session, "select", "low", "--plane", "0,0,0,0,-1,0"]) == 0
    assert run(["edit", session, "move", "nothing", "--by", "1,0,0"]) == 2
    assert "nothing" in capsys.readouterr().err
    assert run(["replay", session, "--out", str(tmp_path / "again.mq")]) == 0
    assert "the same state" in capsys.readouterr().out
