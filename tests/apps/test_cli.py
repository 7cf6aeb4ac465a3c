"""The command line as a person meets it: a subprocess, its exit code, and what it says."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import torch

from maquette.apps import cli
from maquette.apps.prior import Source
from maquette.core import BadInput, NonFinite, Notice, Progress, Result
from maquette.training.recipes import RECIPES, load_recipe


def maquette(*args: str, cwd) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "maquette", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120)


def everything_in(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_no_words_and_help_show_the_commands(tmp_path):
    for words in ([], ["--help"]):
        done = maquette(*words, cwd=tmp_path)
        assert done.returncode == 0
        for command in cli.COMMANDS:
            assert command in done.stdout


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.run([command, "--help"])
    assert stop.value.code == 0
    assert len(capsys.readouterr().out) > 100


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["generate"], "the prompt is empty"),
        (["generate", "  "], "the prompt is empty"),
        (["generate", "x" * 100_000], "100000 characters"),
        (["generate", "a \x07 bell"], "U+0007"),
        (["generate", "a red apple", "--seed", "-1"], "seed is -1"),
        (["generate", "a red apple", "--seed", str(2**63)], "seed is"),
        (["generate", "a red apple", "--image", "missing.png"], "no picture missing.png"),
        (["generate", "a red apple", "--out", "file"], "is a file"),
        (["generate", "a red apple", "--out", "file/below"], "is a file"),
        (["generate", "a red apple", "--out", "x" * 300], "too long"),
        (["generate", "a red apple", "--set", "steps"], "has no value"),
        (["evaluate", "missing.txt"], "cannot read missing.txt"),
        (["evaluate", "file"], "holds no prompts"),
        (["evaluate", "file", "--limit", "0"], "limit is 0"),
        (["render", "missing.glb"], "missing.glb"),
        (["render", "missing.ply", "--out", "turn.gif"], "neither .mp4 nor .png"),
        (["convert", "missing.ply", "out.ply"], "missing.ply"),
        (["convert", "file", "out.ply"], "ends in nothing"),
        (["convert", "missing.ply", "out.fbx"], "ends in .fbx"),
        (["train", "alchemy"], "no recipe 'alchemy'"),
    ],
)
def test_mistakes_of_the_user_are_named_with_a_next_step_and_leave_nothing(
    words, complaint, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert cli.run(words) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert "\n  next: " in said.err
    assert "Traceback" not in said.err
    assert everything_in(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "words", [["frobnicate"], ["generate", "x", "--frob"], ["generate", "x", "--seed", "two"], ["train"]]
)
def test_a_line_that_does_not_parse_ends_with_2(words, tmp_path):
    done = maquette(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_empty_prompt_is_refused_well_within_two_seconds(tmp_path):
    start = time.perf_counter()
    done = maquette("generate", "", cwd=tmp_path)
    seconds = time.perf_counter() - start
    assert done.returncode == 2
    assert seconds < 2  # nothing heavy is imported first: this takes 0.2 s on an idle core


def test_errors_are_one_json_object_for_machines(tmp_path):
    done = maquette("generate", "", "--json", cwd=tmp_path)
    event = json.loads(done.stdout)
    assert (event["event"], event["kind"]) == ("error", "BadInput")
    assert event["next_step"]


@pytest.fixture
def run_of(monkeypatch, tmp_path):
    """Lets `generate` read the events of another run than a real one, in an empty folder."""

    def replace(run) -> None:
        module = types.ModuleType("maquette.apps.generate")
        module.generate_to_folder = run
        monkeypatch.setitem(sys.modules, "maquette.apps.generate", module)

    monkeypatch.chdir(tmp_path)
    return replace


def working(prompt, *, out, seed, **options):
    yield Notice(f"{prompt} {seed} {options}")
    yield Progress("fit", 1, 2)
    (out / "asset.ply").write_bytes(b"x" * 2048)
    yield Result(None, {"seed": seed})


def test_options_reach_the_machinery_and_the_files_are_listed(run_of, capsys):
    run_of(working)
    words = ["generate", "a  red apple", "--seed", "3", "--set", "steps=600", "--set", "loss=l2", "--device", "cpu"]
    assert cli.run(words) == 0
    said = capsys.readouterr()
    options = {"image": None, "pipeline": "im3d", "prior": Source(), "device": "cpu"}
    options |= {
        "overrides": {"quality": "standard", "steps": 600, "loss": "l2"},
        "best_of": 1,
        "script": None,
        "start": None,
    }
    assert f"a red apple 3 {options}" in " ".join(said.err.split())
    assert said.out.split() == [os.path.join("out", "a-red-apple-3", "asset.ply"), "2", "KiB"]


def test_json_lines_end_in_the_result(run_of, capsys):
    run_of(working)
    assert cli.run(["generate", "a red apple", "--json"]) == 0
    said = capsys.readouterr()
    events = [json.loads(line) for line in said.out.splitlines()]
    assert [event["event"] for event in events] == ["notice", "progress", "result"]
    assert events[-1]["report"] == {"seed": 0}
    assert said.err == ""


def test_ctrl_c_says_how_to_continue_and_ends_with_130(run_of, capsys):
    def interrupted(prompt, **options):
        yield Progress("fit", 1, 2)
        signal.raise_signal(signal.SIGINT)
        yield Result(None)

    run_of(interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in jobs in the background
    try:
        assert cli.run(["generate", "a red apple", "--out", "apple"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr().err
    assert "kept in apple; the same command continues it" in said
    assert "Traceback" not in said


def test_a_refusal_found_late_leaves_no_empty_folder_but_keeps_a_folder_that_was_there(run_of, capsys, tmp_path):
    def refusing(prompt, **options):
        raise BadInput("no word of it is known", "try apple")
        yield

    run_of(refusing)
    (tmp_path / "old").mkdir()
    for folder in ("new", "old"):
        assert cli.run(["generate", "xyzzy", "--out", folder]) == 2
        assert "no word of it is known" in capsys.readouterr().err
    assert everything_in(tmp_path) == ["old"]


@pytest.mark.parametrize(
    ("failure", "complaint"),
    [
        (NonFinite("means is NaN at step 3", "lower the rate"), "means is NaN"),
        (KeyError("x"), "KeyError: 'x'"),
        (MemoryError(), "out of memory"),
    ],
)
def test_our_own_failures_end_with_1_and_show_their_origin_only_on_demand(failure, complaint, run_of, capsys):
    def failing(prompt, **options):
        raise failure
        yield

    run_of(failing)
    assert cli.run(["generate", "a red apple"]) == 1
    said = capsys.readouterr().err
    assert complaint in said
    assert "Traceback" not in said
    assert cli.run(["generate", "a red apple", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    command = [sys.executable, "-m", "maquette", "generate", "--help"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait(60)


@pytest.mark.parametrize(
    ("text", "name"),
    [("A red Apple!", "a-red-apple-3"), ("../../etc", "etc-3"), ("🍎", "asset-3"), ("x" * 500, "x" * 60 + "-3")],
)
def test_folder_names_are_safe_whatever_the_prompt(text, name):
    assert cli._folder_name(text, 3) == name


def test_overrides_are_numbers_lists_or_words():
    assert cli._parsed(("a=1", "b=2.5", "c=true", "d=l2", "e=[4, 8]", "f=x=y")) == {
        "a": 1, "b": 2.5, "c": True, "d": "l2", "e": [4, 8], "f": "x=y",
    }  # fmt: skip
    for text in ("a", "=1", ""):
        with pytest.raises(BadInput):
            cli._parsed((text,))


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_can_be_configured_from_the_command_line(recipe, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.run(["train", recipe, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert f"maquette train {recipe}" in shown
    for option in dataclasses.fields(load_recipe(recipe).Config):
        assert option.name.replace("_", "-") in shown


def test_options_of_a_recipe_reach_it(monkeypatch, capsys):
    recipe, seen = load_recipe("views"), []
    monkeypatch.setattr(recipe, "main", seen.append)
    assert cli.run(["train", "views", "--out", "elsewhere"]) == 0
    assert seen == [dataclasses.replace(recipe.Config(), out=Path("elsewhere"))]


def test_info_counts_the_words_and_lists_them(capsys):
    assert cli.run(["info"]) == 0
    about = capsys.readouterr().out
    assert f"torch {torch.__version__}" in about
    assert "methods  im3d" in about
    assert cli.run(["info", "--vocabulary"]) == 0
    words = capsys.readouterr().out
    assert "apple" in words
    assert "red" in words
