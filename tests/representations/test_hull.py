"""The hull of a sphere seen from all around: where its points are, what they cost when a view is wrong."""

import math

import pytest
import torch

from maquette.core import turntable
from maquette.core.camera import Camera
from maquette.representations.hull import CELLS, HALF_SIDE, hull_points

CELL = 2 * HALF_SIDE / CELLS
RADIUS = 0.3


def ball(camera: Camera, center: tuple[float, float, float] = (0.2, 0.1, -0.1)) -> torch.Tensor:
    """A ball, red where x > 0.2 and blue elsewhere, by the closed form of a ray and a sphere."""
    origins, directions = camera.rays()
    offset = origins - torch.tensor(center)
    half_b = (offset * directions).sum(-1)
    root = half_b.square() - offset.square().sum(-1) + RADIUS**2
    hit = origins + directions * (-half_b - root.clamp_min(0).sqrt())[..., None]
    red = hit[..., :1] > 0.2
    color = torch.where(red, torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
    covered = (root > 0)[..., None]
    return torch.cat([torch.where(covered, color, 1.0), covered.float()], dim=-1)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_points_fill_the_ball_and_nothing_else():
    camera = turntable(24, size=128)
    points, colors = hull_points(ball(camera), camera, 4000, stream())
    assert points.shape == colors.shape == (4000, 3)
    distance = (points - torch.tensor([0.2, 0.1, -0.1])).norm(dim=-1)
    # One ring of cameras sees no pole: its hull rises above the ball to where the tangents of 15 degrees meet.
    assert distance.max() < RADIUS / math.cos(math.radians(15)) + 2 * CELL
    # In the ball itself points are uniform: half of them lie within r / cbrt(2).
    within = distance < RADIUS - CELL
    share = (distance < (RADIUS - CELL) / 2 ** (1 / 3)).sum() / within.sum()
    assert share == pytest.approx(0.5, abs=0.04)


def test_colors_are_those_of_the_views_that_show_a_place():
    camera = turntable(16, size=128)
    points, colors = hull_points(ball(camera), camera, 2000, stream())
    right, left = points[:, 0] > 0.2 + RADIUS / 2, points[:, 0] < 0.2 - RADIUS / 2
    assert (colors[right, 0] > colors[right, 2]).all()
    assert (colors[left, 2] > colors[left, 0]).all()


def test_one_empty_view_empties_the_hull_unless_views_may_disagree():
    camera = turntable(16, size=64)
    rgba = ball(camera)
    rgba[3, ..., 3] = 0.0
    assert [len(part) for part in hull_points(rgba, camera, 100, stream())] == [0, 0]
    assert len(hull_points(rgba, camera, 100, stream(), disagreeing=0.99 / 16)[0]) == 0
    points, _ = hull_points(rgba, camera, 100, stream(), disagreeing=1 / 16)
    assert (points - torch.tensor([0.2, 0.1, -0.1])).norm(dim=-1).max() < 1.3 * RADIUS


def test_the_same_stream_gives_the_same_points():
    camera = turntable(8, size=64)
    first, again = (hull_points(ball(camera), camera, 50, stream(5)) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], hull_points(ball(camera), camera, 50, stream(6))[0])
