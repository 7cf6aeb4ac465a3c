"""Pretrained priors from the command line: a tiny random Stable Diffusion, from words to files."""

import json
import os
import resource
import subprocess
import sys

import pytest
import torch

from maquette.apps.cli import run
from maquette.apps.generate import generate_to_folder
from maquette.apps.make import configured
from maquette.apps.prior import PRECISIONS, Source
from maquette.core import BadInput, Notice, Unsupported
from maquette.pipelines import ge3d, lucid

FILES = {"asset.ply", "asset.glb", "turntable.mp4", "preview.png", "run.json", "asset.health.json"}


def make(prior, out, **options):
    values = {"image": None, "pipeline": "lucid", "seed": 0, "device": "cpu", "overrides": {"quality": "tiny"}}
    return list(generate_to_folder("a zebra", prior=prior, out=out, **values | options))


def test_a_tiny_stable_diffusion_makes_all_files_from_the_command_line(checkpoint, tmp_path, capsys):
    folder = checkpoint("sd")
    line = ["generate", "a blue zebra, please", "--pipeline", "lucid", "--quality", "tiny", "--prior", str(folder)]
    assert run([*line, "--offline", "--device", "cpu", "--json", "--out", str(tmp_path)]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    notices = [event["text"] for event in events if event["event"] == "notice"]
    weights = sum((folder / part).stat().st_size for part in (
        "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    ))  # fmt: skip
    (loaded,) = [text for text in notices if "loaded" in text]
    assert "LatentUnetPrior in float32 on cpu" in loaded
    size = int(loaded.split(", ", 1)[1].split(" bytes")[0].replace(",", ""))
    assert abs(size - weights) < 60_000  # headers of three files, and a few buffers
    assert {path.name for path in tmp_path.iterdir()} == FILES
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["prompt"] == "a blue zebra, please" and report["understood"] is None, "said as it was given"
    assert report["prior"] == str(folder) and "LatentUnetPrior" in report["loaded"]
    assert report["config"]["view_words"] and report["config"]["negative"] == lucid.PAPER.negative
    assert report["evaluations"] > 8 * report["iterations"], "each view alone, guided, with Perp-Neg"


def test_pixels_and_ge3d_go_the_same_way(checkpoint, tmp_path):
    report = make(Source(str(checkpoint("if"))), tmp_path, pipeline="ge3d")[-1].report
    assert "PixelUnetPrior" in report["loaded"] and {path.name for path in tmp_path.iterdir()} == FILES


def test_image_priors_take_the_published_settings():
    assert configured({}, "lucid", is_image_prior=True) == lucid.PAPER
    assert configured({"quality": "standard"}, "ge3d", is_image_prior=True) == ge3d.PAPER
    assert (ge3d.PAPER.resolution, ge3d.PAPER.view_words) == (512, True)
    assert configured({"iterations": 7}, "lucid", is_image_prior=True).iterations == 7
    assert configured({}, "lucid") == lucid.DEFAULT


def test_sets_of_views_from_an_image_prior_are_refused_before_anything_is_loaded(checkpoint, tmp_path, monkeypatch):
    def loaded(*_, **__):
        raise AssertionError("it was loaded")

    monkeypatch.setattr("maquette.priors.load.load_prior", loaded)
    with pytest.raises(Unsupported, match="single images") as caught:
        make(str(checkpoint("sd")), tmp_path / "out", pipeline="im3d")
    assert "--pipeline lucid" in caught.value.next_step
    line = ["generate", "an apple", "--prior", str(checkpoint("sd")), "--out", str(tmp_path / "other")]
    assert run(line) == Unsupported.exit_code
    assert not (tmp_path / "other").exists()


def test_a_run_that_was_stopped_continues_only_with_its_own_prior(checkpoint, tmp_path):
    def stopped(prior, out):
        events = generate_to_folder(
            "a zebra", image=None, pipeline="lucid", prior=prior, seed=0, out=out, device="cpu",
            overrides={"quality": "tiny"},
        )  # fmt: skip
        for event in events:
            if getattr(event, "stage", None) == "distill" and event.step == 2:
                events.close()
                return

    stopped(str(checkpoint("sd")), tmp_path / "out")
    with pytest.raises(BadInput, match="that was stopped, with the prior"):
        make(str(checkpoint("sd-v")), tmp_path / "out")
    events = make(str(checkpoint("sd")), tmp_path / "out")
    assert any(isinstance(event, Notice) and "continuing distill at step 2" in event.text for event in events)


def test_a_missing_prior_is_said_in_less_than_two_seconds_and_leaves_nothing(tmp_path):
    line = ["generate", "an apple", "--pipeline", "lucid", "--prior", "stabilityai/stable-diffusion-xl-base-1.0"]
    for extra in ([], ["--offline"]):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "maquette", *line, *extra, "--out", "here"], cwd=tmp_path, capture_output=True,
            text=True, env={**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"},
        )  # fmt: skip
        assert done.returncode == 2
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Nothing heavy is imported: half a second of an idle core, and 1.5 s at most for the hub to answer.
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
        for said in ("about 14 GB", "OpenRAIL++-M", "hf download stabilityai/stable-diffusion-xl-base-1.0"):
            assert said in done.stderr
    assert not (tmp_path / "here").exists()


def test_a_wrong_dtype_is_a_mistake_of_the_user():
    with pytest.raises(BadInput, match="float32, float16, bfloat16"):
        Source("pocket", dtype="int8")
    assert all(isinstance(getattr(torch, name), torch.dtype) for name in PRECISIONS)
