"""Words to an asset through two small flows; seeds for shape and look; clouds that somebody brings."""

import json
from dataclasses import replace
from hashlib import blake2b

import pytest
import torch

from maquette.apps.cli import run as command
from maquette.apps.generate import generate_to_folder
from maquette.core import BadInput, Notice, Progress, Result, Unsupported
from maquette.io import load_points, load_surfels, save_points
from maquette.pipelines import PIPELINES, gaussian_anything
from maquette.pipelines.gaussian_anything import TINY, run
from maquette.priors.point_latent import load_point_latent

FILES = {
    "asset.ply", "asset.glb", "turntable.mp4", "preview.png", "run.json", "asset.health.json", "points.ply",
    "surfels.ply",
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(checkpoint):
    """A folder as the recipes write it."""
    return checkpoint("gaussian-anything")


@pytest.fixture(scope="module")
def prior(weights):
    return load_point_latent(weights, dtype=torch.float32)


def _made(prior, config=TINY, seed=0, prompt="a red apple", **options):
    *_, last = run(config, prior, prompt=prompt, seed=seed, **options)
    assert isinstance(last, Result)
    return last


def _is_same(one, other):
    pairs = zip(one.surfels.tensors().values(), other.surfels.tensors().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_one_seed_makes_one_asset_and_shape_and_look_have_their_own(prior):
    assert __import__(PIPELINES["gaussian-anything"], fromlist=["run"]) is gaussian_anything
    first = _made(prior)
    assert first.asset.points.shape == (24, 3) and len(first.asset.surfels) == 96
    assert first.report["evaluations"] == 2 * 2 * 2 * 2  # flows, steps, evaluations of Heun, and guidance
    assert _is_same(first.asset, _made(prior).asset)
    other = _made(prior, seed=1).asset
    assert not torch.equal(other.points, first.asset.points)
    look = _made(prior, replace(TINY, look_seed=1)).asset
    assert torch.equal(look.points, first.asset.points) and not torch.equal(look.features, first.asset.features)
    both = _made(prior, replace(TINY, shape_seed=1, look_seed=1)).asset
    assert _is_same(both, other)
    shape = _made(prior, replace(TINY, shape_seed=1))
    assert torch.equal(shape.asset.points, other.points) and not torch.equal(shape.asset.features, other.features)
    assert (shape.report["shape_seed"], shape.report["look_seed"]) == (1, 0)
    assert not _is_same(_made(prior, prompt="a blue car").asset, first.asset)


def test_points_that_are_brought_keep_their_noise(prior):
    """The paper's editing: the same noise and words; unmoved points give the same object, a moved one another."""
    first = _made(prior, replace(TINY, shape_seed=5))
    again = _made(prior, cloud=first.asset.points)
    assert _is_same(again.asset, first.asset) and again.report["shape_seed"] is None
    assert again.report["evaluations"] == first.report["evaluations"] / 2
    moved = first.asset.points.clone()
    moved[3, 1] = 0.45
    edited = _made(prior, cloud=moved).asset
    rest = torch.arange(24) != 3
    assert torch.equal(edited.points[rest], first.asset.points[rest])
    assert not torch.equal(edited.features, first.asset.features)
    near = (edited.surfels.means.view(24, 4, 3) - edited.points[:, None]).abs().amax()
    assert near <= 0.025 + 0.25 + 1e-6  # the reach of a point and of its children


def test_large_clouds_are_thinned_and_small_ones_are_told_of(prior):
    cloud = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    assert len(_made(prior, cloud=cloud).asset.points) == 24
    events = list(run(TINY, prior, prompt="a red apple", cloud=cloud[:20]))
    assert [event.text for event in events if isinstance(event, Notice)] == [
        "the cloud gives 20 points; the flow was taught with 24"
    ]
    assert len(events[-1].asset.points) == 20
    assert [event.stage for event in events if isinstance(event, Progress)] == ["points"] * 2 + ["features"] * 2


def test_the_adaptive_solver_ends_where_many_steps_do(prior):
    adaptive = _made(prior, replace(TINY, steps=None, guidance=1.0)).asset
    many = _made(prior, replace(TINY, steps=60, guidance=1.0)).asset
    torch.testing.assert_close(adaptive.points, many.points, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("values", "says"),
    [({"points": 3}, "3 points"), ({"steps": 0}, "0 steps"), ({"look_seed": -1}, "seed is -1")],
)
def test_settings_that_make_no_sense(values, says):
    with pytest.raises(BadInput, match=says):
        replace(TINY, **values)


def test_the_command_writes_the_files_and_its_points_make_the_asset_again(tmp_path, weights):
    line = [
        "generate",
        "a red apple",
        "--pipeline",
        "gaussian-anything",
        "--weights",
        str(weights),
        "--quality",
        "tiny",
    ]
    line += ["--device", "cpu", "--look-seed", "8"]
    assert command([*line, "--shape-seed", "3", "--out", str(tmp_path / "one")]) == 0
    assert {path.name for path in (tmp_path / "one").iterdir()} == FILES
    report = json.loads((tmp_path / "one" / "run.json").read_text())
    assert (report["seed"], report["shape_seed"], report["look_seed"]) == (0, 3, 8)
    assert report["config"]["weights"] == str(weights) and report["surfels"] == 96
    points = tmp_path / "one" / "points.ply"
    assert command([*line, "--points", str(points), "--out", str(tmp_path / "two")]) == 0
    again = json.loads((tmp_path / "two" / "run.json").read_text())
    assert again["cloud_hash"] == blake2b(points.read_bytes(), digest_size=8).hexdigest() and not report["cloud_hash"]
    for name in ("asset.ply", "surfels.ply", "points.ply"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert len(load_surfels(tmp_path / "two" / "surfels.ply")) == 96 and load_points(points).shape == (24, 3)


def test_without_weights_or_with_a_broken_cloud_a_sentence_and_no_folder(tmp_path, weights, capsys):
    line = ["generate", "a red apple", "--pipeline", "gaussian-anything", "--out", str(tmp_path / "out")]
    assert command([*line, "--weights", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"no weights of gaussian-anything in {tmp_path}" in said and "maquette train point_flow" in said
    cloud = torch.rand(40, 3) - 0.5
    cloud[7] = float("nan")
    save_points(tmp_path / "broken.ply", cloud)
    assert command([*line, "--weights", str(weights), "--points", str(tmp_path / "broken.ply")]) == 2
    assert "1 of 40 points hold NaN" in capsys.readouterr().err
    assert command([*line, "--points", str(tmp_path / "nowhere.ply")]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_its_options_belong_to_it_and_it_asks_no_other_prior(tmp_path):
    asked = {"prompt": "a red apple", "image": None, "seed": 0, "out": tmp_path / "out", "device": "cpu"}
    with pytest.raises(BadInput, match="shape_seed"):
        list(generate_to_folder(**asked, pipeline="im3d", prior="pocket", overrides={"shape_seed": 3}))
    with pytest.raises(Unsupported, match="weights of its own"):
        list(generate_to_folder(**asked, pipeline="gaussian-anything", prior="elsewhere", overrides={}))
    assert not (tmp_path / "out").exists()
