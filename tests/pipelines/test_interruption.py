"""Every distillation of a cloud, killed at several steps or fed a NaN: the same bytes in the end as an unbroken run."""

import importlib
import multiprocessing
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from maquette.core import NonFinite, Notice, Progress
from maquette.io.checkpoint import load_state
from maquette.pipelines import PIPELINES
from maquette.priors.analytic import RenderOracle, Solids
from maquette.priors.sampling import resized
from maquette.representations.gaussians import state_hash

NAMES = ("ge3d", "lucid", "dreamgaussian", "gaussiandreamer", "gsgen")


def events_of(name, folder, prior=None):
    module = importlib.import_module(PIPELINES[name])
    config = replace(module.TINY, resolution=16, loop=replace(module.TINY.loop, checkpoint_every=2))
    if prior is None:
        prior = RenderOracle(lambda camera: resized(Solids.toy().look(camera), 16), image_size=16, with_coverage=True)
    elif name == "dreamgaussian":
        config = replace(config, doublings=())  # the object is known at one size
    yield from module.run(config, prior, prompt="a toy", checkpoint=folder)


def killed_at(stop, name, folder, threads):
    """Run in a process that kills itself without warning after so many steps of all stages."""
    torch.set_num_threads(threads)
    told = (event for event in events_of(name, folder) if isinstance(event, Progress) and event.stage != "views")
    for i, _ in enumerate(told, start=1):
        if i == stop:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def server():
    """Processes with everything imported, made in a moment; they find this file however pytest was started."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*(PIPELINES[name] for name in NAMES), "maquette.priors.analytic"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(Path(__file__).parents[2]), *sys.path])
        yield context


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_continues_to_the_same_bytes(name, tmp_path, server):
    whole = list(events_of(name, tmp_path / "whole"))[-1]
    for stop in (1, 3, 6) if name == "ge3d" else (1, 3):  # 6 is in the reconstructive ending
        folder = tmp_path / f"{stop}"
        process = server.Process(target=killed_at, args=(stop, name, folder, torch.get_num_threads()))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        continued = list(events_of(name, folder))
        notices = [event.text for event in continued if isinstance(event, Notice)]
        assert any(f"continuing distill at step {min(stop, 4) // 2 * 2}" in text for text in notices) or stop == 1
        assert state_hash(continued[-1].asset) == state_hash(whole.asset)
        assert continued[-1].report["evaluations"] == whole.report["evaluations"]


@pytest.mark.parametrize("name", NAMES)
def test_a_prior_that_gives_no_number_stops_the_run_and_the_last_good_state_is_kept(name, tmp_path, known_object):
    prior, asked = known_object(16), []
    for event in events_of(name, tmp_path / "whole", prior):
        if isinstance(event, Progress) and event.stage == "distill":
            asked.append(len(prior.asked))
        last = event
    with pytest.raises(NonFinite, match="step 2 of distill"):
        list(events_of(name, tmp_path / "broken", known_object(16, broken_at=asked[2])))
    tensors, values = load_state(tmp_path / "broken" / "distill.safetensors")
    assert values["steps"] == 2 and all(x.isfinite().all() for x in tensors.values())
    mended = list(events_of(name, tmp_path / "broken", known_object(16)))[-1]
    assert state_hash(mended.asset) == state_hash(last.asset)
