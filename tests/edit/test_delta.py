"""Differences lead forth and back to the bit, whatever changed."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core import BadInput
from maquette.edit import Change, Scene, scene_hash
from maquette.edit.delta import backward, difference, forward
from maquette.edit.scene import changed_in_place, descended, extended
from maquette.representations import GaussianCloud
from maquette.training import density


def both_ways(before: Scene, change: Change) -> dict[str, torch.Tensor]:
    delta = difference(before, change)
    assert scene_hash(forward(delta, before)) == scene_hash(change.scene)
    assert scene_hash(backward(delta, change.scene)) == scene_hash(before)
    return delta.tensors


def test_nothing_changed_costs_nothing(scene):
    assert both_ways(scene, changed_in_place(scene, scene.cloud, scene.rows("all"))) == {}


def test_signs_of_zero_and_bits_of_nan_survive(scene):
    means = scene.cloud.means.clone()
    means[3] = torch.tensor([0.0, -0.0, torch.nan])
    before = replace(scene, cloud=replace(scene.cloud, means=means))
    other = means.clone()
    other[3] = torch.tensor([-0.0, 0.0, 1.0])
    kept = torch.arange(60)
    stored = both_ways(before, changed_in_place(before, replace(scene.cloud, means=other), kept == 3))
    assert stored["means.at"].tolist() == [3]
    only_sign = scene.cloud.means.clone()
    only_sign[5, 0] = 0.0
    before = replace(scene, cloud=replace(scene.cloud, means=only_sign))
    other = only_sign.clone()
    other[5, 0] = -0.0
    stored = both_ways(before, changed_in_place(before, replace(scene.cloud, means=other), kept == 5))
    assert stored["means.at"].tolist() == [5]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_any_mixture_of_lost_changed_and_added_rows(seed):
    draw = torch.Generator().manual_seed(seed)

    def cloud(n: int, coefficients: int) -> GaussianCloud:
        shapes = ((n, 3), (n, 3), (n, 4), (n,), (n, coefficients, 3))
        return GaussianCloud(*(torch.randn(shape, generator=draw) for shape in shapes))

    few, many = (1, 4) if seed % 3 else (4, 4)
    before = Scene(cloud(40, few), {"a": torch.rand(40, generator=draw) > 0.5, "b": torch.rand(40, generator=draw) > 0})
    kept = (torch.rand(40, generator=draw) > 0.3).nonzero()[:, 0]
    changes = torch.rand(len(kept), generator=draw) > 0.7
    rows = before.cloud.select(kept)
    rows = GaussianCloud(**rows.tensors() | {"quats": torch.where(changes[:, None], -rows.quats, rows.quats)})
    after = GaussianCloud.cat([rows, cloud(seed % 5, many)])
    parts = {"a": torch.rand(len(after), generator=draw) > 0.5, "c": torch.ones(len(after), dtype=torch.bool)}
    both_ways(before, Change(Scene(after, parts), torch.ones(40, dtype=torch.bool), kept))


def test_a_difference_of_another_scene_is_refused(scene, make_cloud):
    new = make_cloud(3, degree=1)
    change = extended(scene, new, torch.tensor([0, 40, -1]), scene.parts["left"])
    assert change.scene.parts["left"][60:].tolist() == [True, False, False]
    delta = difference(scene, change)
    with pytest.raises(BadInput, match="does not fit"):
        forward(delta, change.scene)
    with pytest.raises(BadInput, match="does not fit"):
        backward(delta, scene)


def test_parts_survive_density_control(make_cloud):
    """Clones, split children and survivors are in the parts of the row that they come from."""
    cloud = make_cloud(200)
    scene = Scene(cloud, {"left": cloud.means[:, 0] < 0})
    gradient = torch.linspace(0, 1, 200)
    state = density.DensityState(gradient, torch.ones(200), torch.zeros(200))
    config = density.AdaptiveDensity(gradient=0.5, split_scale=0.05, prune_opacity=0.3, prune_scale=None)
    grown, _, rows = density.refine(config, cloud, state, torch.Generator().manual_seed(0))
    kept = rows.parent[~rows.is_fresh]
    assert 0 < len(kept) < 200 < len(grown) + 100
    change = descended(scene, grown, rows.parent, kept, torch.ones(200, dtype=torch.bool))
    assert torch.equal(change.scene.parts["left"], (cloud.means[:, 0] < 0)[rows.parent])
    both_ways(scene, change)
