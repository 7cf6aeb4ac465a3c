import json

import pytest
import torch

from maquette.apps.follow import follow, json_line
from maquette.core import Notice, Preview, Progress, Result, Scalar


def short_run():
    yield Notice("understood as: a red apple [red]")
    yield Progress("views", 0, 2)
    yield Scalar(0, "loss", float("nan"))
    yield Preview(0, torch.zeros(3, 2, 2, 3))
    yield Progress("views", 2, 2)
    yield Result(object(), {"seconds": {"views": float("inf")}, "paths": ["a.ply"]})


def test_json_reader_writes_one_valid_object_for_each_event_and_returns_the_result(capsys):
    result = follow(short_run(), as_json=True)
    out, err = capsys.readouterr()
    lines = [json.loads(line, parse_constant=pytest.fail) for line in out.splitlines()]
    assert [line["event"] for line in lines] == ["notice", "progress", "scalar", "preview", "progress", "result"]
    assert lines[2]["value"] is None
    assert lines[3] == {"event": "preview", "step": 0, "images": 3}
    assert lines[5]["report"] == {"seconds": {"views": None}, "paths": ["a.ply"]}
    assert result.report["paths"] == ["a.ply"]
    assert err == ""


def test_bars_go_to_the_error_stream_and_brackets_in_notices_are_text(capsys):
    result = follow(short_run(), as_json=False)
    out, err = capsys.readouterr()
    assert out == ""
    assert "understood as: a red apple [red]" in err
    assert "views" in err
    assert "2/2" in err
    assert isinstance(result, Result)


def test_a_number_is_shown_beside_the_stage_whose_step_it_belongs_to(capsys):
    steps = [Progress("views", 1, 1), Scalar(0, "loss", 0.25), Progress("fit", 1, 2), Progress("fit", 2, 2)]
    follow(iter([*steps, Progress("mesh", 1, 1), Result(None)]), as_json=False)
    rows = capsys.readouterr().err.splitlines()
    assert [row.split()[0] for row in rows if "loss 0.25" in row] == ["fit"]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_run_without_a_result_is_our_mistake(as_json):
    with pytest.raises(RuntimeError, match="without a Result"):
        follow(iter([Progress("views", 1, 2)]), as_json=as_json)


@pytest.mark.parametrize("as_json", [True, False])
def test_errors_of_the_run_pass_through(as_json):
    def failing():
        yield Progress("views", 1, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(failing(), as_json=as_json)


def test_a_line_keeps_letters_of_every_language_and_turns_paths_into_text(tmp_path):
    line = json_line("notice", text="grün 🍎", path=tmp_path, kind="x")
    assert "grün 🍎" in line
    assert json.loads(line)["path"] == str(tmp_path)
