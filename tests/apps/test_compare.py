"""Methods by name, and whole comparisons with a budget of a few evaluations: added to, interrupted, at one scale."""

import json
import os
import signal
import subprocess
import sys

import pytest

from maquette.apps import comparison
from maquette.apps.cli import run
from maquette.apps.comparison import rates
from maquette.apps.guides import METHODS, methods
from maquette.core.errors import BadInput
from maquette.evaluation.runs import folder_of


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Clouds and pictures of a size for tests."""
    monkeypatch.setattr(comparison, "POINTS", 300)
    monkeypatch.setattr(comparison, "RENDER_PX", 32)
    monkeypatch.setattr(comparison, "DRAWN_STEPS", 1)


def compare(out, *options, guidance="sds", evaluations=4):
    return run(
        ["compare", *options, "--guidance", guidance, "--evaluations", str(evaluations), "--out", str(out)]
    )  # fmt: skip


def timeless(value):
    """A report without what a clock said."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key != "seconds"}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def report(out):
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def test_names():
    assert list(methods("ism, sds,")) == ["ism", "sds"]
    for wrong in ("sds,nonsense", "", ","):
        with pytest.raises(BadInput, match="there is no guidance"):
            methods(wrong)
    from maquette.apps.compare import ALL

    assert ",".join(METHODS) == ALL, "the command line names them without importing them"


def test_rates_come_to_rest_at_the_end_of_each_run():
    for name in ("sds", "ge3d"):
        method = METHODS[name]
        found = rates(method, 300, "step")
        assert found.means(0) == pytest.approx(5e-3)
        assert found.means(300 / method.evaluations) == pytest.approx(5e-4)


def test_at_the_pace_of_evaluations_all_methods_can_go_equally_far():
    way = {name: rates(METHODS[name], 300, "evaluation").sh(0) / METHODS[name].evaluations for name in METHODS}
    assert list(way.values()) == pytest.approx([0.02 / 6] * len(way))
    assert rates(METHODS["ism"], 300, "evaluation") == rates(METHODS["ism"], 300, "step")


def test_a_small_comparison_to_which_methods_and_prompts_are_added(tmp_path, capsys):
    out, apple = tmp_path / "out", "a red apple"
    assert compare(out, apple, guidance="sds", evaluations=8) == 0
    first = (folder_of(out, apple) / "sds.safetensors").stat()
    (tmp_path / "more.jsonl").write_text('{"prompt": "a blue chair"}\n{"prompt": "a red apple"}\n')
    assert compare(out, apple, "--prompts", str(tmp_path / "more.jsonl"), guidance="sds,vsd", evaluations=8) == 0
    assert (folder_of(out, apple) / "sds.safetensors").stat().st_mtime_ns == first.st_mtime_ns, "made once"
    prompts = report(out)["prompts"]
    assert list(prompts) == [apple, "a blue chair"]
    found = prompts[apple]["methods"]
    assert {name: row["steps"] for name, row in found.items()} == {"sds": 4, "vsd": 2}
    assert {name: row["curve"][-1]["evaluations"] for name, row in found.items()} == {"sds": 8, "vsd": 8}
    begins = [row["curve"][0] for row in found.values()]
    assert timeless(begins[0]) == timeless(begins[1]), "both begin with the same cloud"
    assert found["sds"]["curve"][-1]["similarity"] != found["vsd"]["curve"][-1]["similarity"]
    assert (folder_of(out, apple) / "vsd.ply").is_file()
    # Other settings would not be comparable with what is there.
    capsys.readouterr()
    assert compare(out, apple, "--seed", "1", "--scale", "3", evaluations=4) == 2
    said = capsys.readouterr().err
    assert "evaluations 8 (now 4)" in said and "scale None (now 3.0)" in said and "seed 0 (now 1)" in said
    assert "weights" not in said
    assert compare(out, apple, evaluations=0) == 2 and compare(out) == 2
    assert compare(out, apple, "--scale", "1") == 2


def test_one_scale_for_all_reaches_the_prior(tmp_path, monkeypatch):
    asked = set()
    denoise = comparison.MultiviewLatentPrior.denoise

    def listen(self, *args, guidance, **options):
        asked.add((type(self).__name__, guidance))
        return denoise(self, *args, guidance=guidance, **options)

    monkeypatch.setattr(comparison.MultiviewLatentPrior, "denoise", listen)
    assert compare(tmp_path, "a red apple", "--scale", "3", guidance="sds,ism,sdi", evaluations=4) == 0
    assert asked == {("Rescaled", scale) for scale in (0.0, 3.0, -3.0)} | {("MultiviewLatentPrior", 4.0)}


SCRIPT = """
import sys
from maquette.apps import comparison
from maquette.apps.cli import run

comparison.POINTS, comparison.RENDER_PX, comparison.DRAWN_STEPS = 300, 32, 1
sys.exit(run(["compare", "a red apple", "--guidance", "sds,ism", "--evaluations", "12", "--json", *sys.argv[1:]]))
"""


def test_a_killed_comparison_continues_and_reports_what_an_unbroken_one_does(tmp_path):
    broken, whole, finished = tmp_path / "broken", tmp_path / "whole", 0
    command = [sys.executable, "-c", SCRIPT, "--out", str(broken)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for line in process.stdout:
            event = json.loads(line)
            finished += event["event"] == "notice" and "steps in" in event["text"]
            if finished == 1 and event["event"] == "progress" and event["step"] > 12 + 2:  # in the second method
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    folder = folder_of(broken, "a red apple")
    kept = (folder / "sds.safetensors").stat().st_mtime_ns
    assert not (broken / "report.json").exists() and not (folder / "ism.safetensors").exists()
    for out in (broken, whole):
        assert compare(out, "a red apple", guidance="sds,ism", evaluations=12) == 0
    assert (folder / "sds.safetensors").stat().st_mtime_ns == kept, "what was finished is not made again"
    assert timeless(report(broken)) == timeless(report(whole))
    files = [path.relative_to(whole) for path in whole.rglob("*.ply")]
    assert len(files) == 2
    assert all((broken / path).read_bytes() == (whole / path).read_bytes() for path in files)
