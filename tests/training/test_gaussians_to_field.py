"""Distilling Gaussians: a small fit reaches the pictures of the cloud, stays where the cloud is, and repeats itself."""

import dataclasses

import pytest
import torch

from maquette.core.camera import orbit
from maquette.core.errors import BadInput
from maquette.core.event import Progress, Result
from maquette.kernels.hashgrid import GridShape
from maquette.render.field import render_field
from maquette.render.gaussians import render_gaussians
from maquette.representations.field import FieldShape
from maquette.representations.gaussians import from_points
from maquette.training.gaussians_to_field import FieldFit, extent, gaussians_to_field, views_all_around

TINY = FieldFit(
    shape=FieldShape(GridShape(levels=4, base=8, finest=32, log2_entries=12), hidden=16, sees_direction=False),
    steps=60, rays=256, views=12, size=32, samples=48, cells=24, prune_every=20,
    table_rate=(3e-2, 5e-3), network_rate=(1e-2, 2e-3),
)  # fmt: skip


def shell(count=300):
    draw = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(count, 3, generator=draw), dim=-1) * 0.3
    return from_points(points, points + 0.5, opacity=0.9)


def test_a_fit_looks_like_its_cloud_from_new_sides_and_floats_nowhere():
    cloud = shell()
    *events, last = gaussians_to_field(cloud, TINY)
    assert isinstance(last, Result) and events[-1] == Progress("distill", 60, 60)
    field, occupancy = last.asset
    assert not any(parameter.requires_grad for parameter in field.parameters())
    camera = orbit(torch.tensor([33.0, 200.0]), torch.tensor([-40.0, 15.0]), size=32)
    wanted = render_gaussians(cloud, camera, background=torch.ones(3))
    drawn = render_field(field, camera, occupancy=occupancy, samples=48, background=torch.ones(3))
    assert (drawn.color - wanted.color).abs().mean() < 0.03
    assert (drawn.alpha - wanted.alpha).abs().mean() < 0.03
    cells = occupancy.mask.nonzero() + 0.5
    away = (cells / 24 * 2 - 1).mul(occupancy.half_size).norm(dim=-1)
    cell = 2 * occupancy.half_size / 24
    assert away.max() < extent(cloud) + 3 * cell  # the corners of the cube are 0.98 away
    assert last.report["occupied"] == pytest.approx(float(occupancy.mask.float().mean()))


def test_the_same_seed_gives_the_same_field():
    few = dataclasses.replace(TINY, steps=3)
    one, two = (list(gaussians_to_field(shell(), few, seed=4))[-1].asset for _ in range(2))
    assert torch.equal(one.field.table, two.field.table)
    assert not torch.equal(one.field.table, list(gaussians_to_field(shell(), few, seed=5))[-1].asset.field.table)


def test_views_come_from_all_elevations_and_look_at_the_middle():
    camera = views_all_around(64, 32, 0.6)
    height = camera.position[:, 1] / camera.position.norm(dim=-1)
    assert height.min() < -0.98 and height.max() > 0.98 and abs(float(height.mean())) < 1e-6
    pixels, _ = camera.project(torch.zeros(1, 3))
    assert torch.allclose(pixels, torch.full_like(pixels, 16.0), atol=1e-3)


def test_clouds_with_nothing_to_see_or_no_size_are_refused():
    faint = from_points(torch.rand(5, 3), torch.rand(5, 3), opacity=0.001)
    with pytest.raises(BadInput, match="visible"):
        next(gaussians_to_field(faint, TINY))
    endless = from_points(torch.rand(5, 3), torch.rand(5, 3), opacity=0.5)
    with pytest.raises(BadInput, match="extent"):
        extent(dataclasses.replace(endless, means=endless.means * torch.inf))
