"""A row of distances over colored balls: the networks are averages, so that every number can be worked out."""

from dataclasses import replace

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.evaluation.features import Network
from maquette.evaluation.geometry import chamfer
from maquette.evaluation.suite import Assets, distances, look_at

COLOR = Network("mean color", lambda pictures: pictures.mean(dim=(1, 2)))
EXTENT = Network("extent", lambda points: points.std(dim=1))


def assets(count: int = 12, *, seed: int = 0, shade: float = 0.0, size: float = 1.0) -> Assets:
    """Balls stretched by chance, of one color each."""
    draw = torch.Generator().manual_seed(seed)
    colors = 0.8 * torch.rand(count, 1, 1, 1, 3, generator=draw) + shade
    views = colors.expand(count, 4, 8, 8, 3)
    directions = torch.nn.functional.normalize(torch.randn(count, 64, 3, generator=draw), dim=-1)
    return Assets(views, size * directions * (0.1 + 0.3 * torch.rand(count, 1, 3, generator=draw)))


def row(made: Assets, real: Assets, seed: int = 0) -> dict:
    return distances(look_at(made, COLOR, EXTENT), look_at(real, COLOR, EXTENT), seed=seed)


def test_a_set_and_itself():
    found = row(assets(), assets())
    assert found["fid"] == pytest.approx(0, abs=1e-9) and found["p_fid"] == pytest.approx(0, abs=1e-9)
    assert found["coverage"] == 1.0 and found["mmd"] == 0.0
    assert found["kid"]["mean"] < 1e-3, "unbiased: may be below zero"
    assert (found["picture_network"], found["point_network"]) == ("mean color", "extent")
    assert (found["objects"], found["pictures"], found["points"]) == ([12, 12], [48, 48], [64, 64])
    assert found["singular"] == [] and found["subset_size"] == {"kid": 48, "p_kid": 12}


def test_looks_and_shapes_are_told_apart():
    real = assets()
    brighter = row(assets(shade=0.2), real)
    assert brighter["fid"] == pytest.approx(3 * 0.2**2, abs=1e-6), "the same covariance, another mean"
    assert brighter["kid"]["mean"] > 0.1
    assert brighter["p_fid"] == pytest.approx(0, abs=1e-9) and brighter["mmd"] == 0.0
    larger = row(assets(size=1.5), real)
    assert larger["fid"] == pytest.approx(0, abs=1e-9) and larger["p_fid"] > 1e-3
    pairs = [min(chamfer(1.5 * a, b) for a in real.points) for b in real.points]
    assert larger["mmd"] == pytest.approx(sum(pairs) / 12, abs=1e-6)


def test_sizes_may_differ_and_too_few_samples_are_told():
    found = row(assets(3, seed=1), assets())
    assert found["objects"] == [3, 12] and found["coverage"] <= 3 / 12
    assert found["singular"] == ["p_fid"], "three clouds for three features; twelve pictures are enough"


def test_the_seed_chooses_the_subsets_of_kid_only(monkeypatch):
    monkeypatch.setattr("maquette.evaluation.suite.SUBSET", 8)
    made, real = assets(seed=1), assets()
    assert row(made, real) == row(made, real)
    other = row(made, real, seed=1)
    assert other["kid"] != row(made, real)["kid"] and other["fid"] == row(made, real)["fid"]


def test_renders_without_points_are_refused():
    with pytest.raises(BadInput, match="12 objects and points of 11"):
        replace(assets(), points=assets().points[1:])
