"""Zoomed cameras, and pixels that an edit changed beyond its region."""

import pytest
import torch

from maquette.core import orbit
from maquette.core.rotation import normalize
from maquette.edit import Move, Scene, Select, Sphere, apply
from maquette.edit.pixels import pixels_outside
from maquette.edit.scene import changed_in_place, put
from maquette.edit.zoom import Ball, around, zoomed
from maquette.representations import GaussianCloud, from_points


def test_the_outline_of_the_ball_covers_its_share_of_the_picture():
    ball = Ball(torch.tensor([0.3, -0.2, 0.1]), 0.2)
    circle = orbit(torch.tensor([0.0, 77.0, 180.0]), 20.0, size=128)
    camera = zoomed(circle, ball, fill=0.7)
    distance = (camera.position - ball.center).norm(dim=-1)
    torch.testing.assert_close(distance, torch.full((3,), 0.81), atol=1e-4, rtol=0)  # 0.2 sqrt(1 + 1 / (0.7 tan 20)^2)
    draw = torch.Generator().manual_seed(0)
    points = ball.center + 0.2 * normalize(torch.randn(20_000, 3, generator=draw))
    pixels, _ = camera.project(points)
    reach = (pixels - 64).norm(dim=-1).amax(dim=-1) / 64
    torch.testing.assert_close(reach, torch.full((3,), 0.7), atol=7e-3, rtol=0)
    assert torch.equal(camera.world_from_camera[:, :3, :3], circle.world_from_camera[:, :3, :3])


def test_a_stray_row_neither_moves_nor_enlarges_the_ball():
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    calm = around(from_points(points, points))
    points[7] = torch.tensor([50.0, 0, 0])
    shaken = around(from_points(points, points))
    assert (shaken.center - calm.center).norm() < 0.05
    assert shaken.radius == pytest.approx(calm.radius, abs=0.05)
    alone = around(from_points(points[:1], points[:1]))
    assert alone.radius == pytest.approx(0.02)


@pytest.fixture
def two_balls() -> Scene:
    draw = torch.Generator().manual_seed(0)
    points = 0.1 * normalize(torch.randn(400, 3, generator=draw))
    is_left = torch.arange(400) < 200
    points += torch.where(is_left, -0.3, 0.3)[:, None] * torch.tensor([1.0, 0, 0])
    return Scene(from_points(points, torch.rand(400, 3, generator=draw), opacity=0.9), {"left": is_left})


def test_an_edit_that_touches_others_is_seen(two_balls):
    rows = two_balls.parts["left"]
    shifted = GaussianCloud(**two_balls.cloud.tensors() | {"means": two_balls.cloud.means + torch.tensor([0, 0.1, 0])})
    honest = changed_in_place(two_balls, put(two_balls.cloud, rows, shifted.select(rows)), rows)
    lying = changed_in_place(two_balls, shifted, rows)
    assert pixels_outside(two_balls, honest) <= 60  # the faintest rim
    assert pixels_outside(two_balls, lying) > 100
    assert pixels_outside(two_balls, changed_in_place(two_balls, shifted, torch.ones_like(rows))) == 0


def test_reports_count_them(two_balls):
    assert apply(Move("left", (0.0, 0.1, 0.0)), two_balls)[1].pixels_outside <= 60
    assert apply(Select("x", Sphere((0.3, 0, 0), 0.2)), two_balls)[1].pixels_outside == 0
