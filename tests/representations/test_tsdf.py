"""Surfaces from depth maps that are known: balls, planes, what silhouettes carve, and what cannot be fused."""

import math

import numpy as np
import pytest
import torch

from maquette.core.camera import orbit, turntable
from maquette.core.errors import BadInput
from maquette.representations.tsdf import fuse, fused_mesh


def ball_maps(camera, radius, center=(0.0, 0.0, 0.0)):
    """Depth along the axis and coverage of a ball."""
    origins, directions = camera.rays()
    origins = origins - torch.tensor(center)
    middle = (origins * directions).sum(-1)
    below = middle.square() - origins.square().sum(-1) + radius**2
    depth = (-middle - below.clamp(min=0).sqrt()) * (directions * camera.world_from_camera[:, None, None, :3, 2]).sum(
        -1
    )
    return torch.where(below > 0, depth, 0.0), (below > 0).float()


def all_around(size=64):
    return orbit(torch.tensor([0.0, 60, 120, 180, 240, 300, 30, 90, 150, 210, 270, 330, 0, 0]),
                 torch.tensor([25.0] * 6 + [-25.0] * 6 + [85.0, -85.0]), size=size)  # fmt: skip


def volume(mesh):
    a, b, c = mesh.vertices.double()[mesh.faces].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum()) / 6


def is_closed(mesh):
    start, end = mesh.faces.numpy().ravel(), np.roll(mesh.faces.numpy(), -1, axis=1).ravel()
    forth, back = set(zip(start, end, strict=True)), set(zip(end, start, strict=True))
    return forth == back and len(forth) == len(start)


def test_a_ball_comes_back_within_a_cell():
    camera = all_around()
    tsdf = fuse(*ball_maps(camera, 0.4, (0.05, 0.0, -0.1)), camera, resolution=48)
    mesh = fused_mesh(tsdf)
    radius = (mesh.vertices - torch.tensor([0.05, 0.0, -0.1])).norm(dim=-1)
    assert is_closed(mesh)
    assert (radius - 0.4).abs().mean() < 0.2 * tsdf.step
    assert (radius - 0.4).abs().max() < 1.5 * tsdf.step
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi * 0.4**3, rel=0.03)  # positive: faces look outward


def test_distances_are_those_of_a_plane_in_front_of_one_camera():
    camera = orbit(0.0, 0.0, size=32)  # looks along -z from z = 2.2
    depth = torch.full((1, 32, 32), 2.0)  # the plane z = 0.2
    tsdf = fuse(depth, torch.ones_like(depth), camera, half_size=0.4, resolution=16, truncation_cells=3.0)
    z = (torch.arange(17) * tsdf.step - 0.4).expand(17, 17, 17)
    expected = ((z - 0.2) / tsdf.truncation).clamp(max=1.0)
    inner = (slice(3, 14), slice(3, 14), slice(1, 16))
    measured = tsdf.weights[inner] > 0
    clear = (expected + 1).abs()[inner] > 1e-4
    assert torch.equal(measured[clear], (expected >= -1)[inner][clear])
    torch.testing.assert_close(tsdf.values[inner][measured], expected[inner][measured], atol=1e-5, rtol=0)
    assert (tsdf.values[inner][~measured] == -1).all()


def test_weights_say_whom_to_believe():
    camera = turntable(2, 0.0, size=32)
    depth = torch.stack([torch.full((32, 32), 2.0), torch.full((32, 32), 2.5)])  # the second sees z = 0.3 from behind
    weight = torch.stack([torch.full((32, 32), 3.0), torch.ones(32, 32)])
    one = torch.ones_like(depth)
    tsdf = fuse(depth, one, camera, weight=weight, half_size=0.4, resolution=16, truncation_cells=40.0)
    middle = tsdf.values[8, 8]
    z = torch.arange(17) * tsdf.step - 0.4
    expected = (3 * (z - 0.2) + (0.3 - z)) / 4 / tsdf.truncation
    torch.testing.assert_close(middle[1:-1], expected[1:-1], atol=1e-5, rtol=0)


def test_silhouettes_alone_carve_a_hull():
    camera = all_around()
    _, alpha = ball_maps(camera, 0.3)
    mesh = fused_mesh(fuse(torch.zeros_like(alpha), alpha, camera, resolution=48))
    radius = mesh.vertices.norm(dim=-1)
    assert is_closed(mesh)
    assert radius.min() > 0.29 and radius.max() < 0.42


def test_floaters_are_dropped():
    camera = all_around()
    depth, alpha = ball_maps(camera, 0.3)
    near, far = ball_maps(camera, 0.025, (0.45, 0.0, 0.0))
    depth = torch.where((far > 0) & ((alpha == 0) | (near < depth)), near, depth)
    mesh = fused_mesh(fuse(depth, torch.maximum(alpha, far), camera, resolution=64))
    assert mesh.vertices[:, 0].max() < 0.35


def test_what_cannot_be_fused_is_refused():
    camera = all_around(16)
    depth, alpha = ball_maps(camera, 0.3)
    with pytest.raises(BadInput, match="one map for each camera"):
        fuse(depth[:3], alpha[:3], camera)
    with pytest.raises(BadInput, match="NaN"):
        fuse(torch.full_like(depth, float("nan")), alpha, camera)
    with pytest.raises(BadInput, match="resolution"):
        fuse(depth, alpha, camera, resolution=4)
    with pytest.raises(BadInput, match="both signs"):
        fused_mesh(fuse(depth, torch.zeros_like(alpha), camera, resolution=16))
