"""Normals of depth maps of planes and balls, and what leaning costs."""

import pytest
import torch

from maquette.core.camera import orbit, turntable
from maquette.guidance.surface import depth_normals, normal_consistency


def plane_depth(camera, point, normal):
    origins, directions = camera.rays()
    along = ((point - origins) @ normal) / (directions @ normal)
    return along * (directions * camera.world_from_camera[:, None, None, :3, 2]).sum(-1)


def test_a_plane_has_its_own_normal_seen_from_either_side():
    camera = orbit(torch.tensor([20.0, 200.0], dtype=torch.float64), 15.0, size=12)
    normal = torch.nn.functional.normalize(torch.tensor([0.2, 0.3, 1.0], dtype=torch.float64), dim=0)
    found = depth_normals(plane_depth(camera, torch.tensor([0.0, 0.1, 0.2], dtype=torch.float64), normal), camera)
    expected = torch.stack([normal, -normal])[:, None, None].expand(2, 10, 10, 3)
    torch.testing.assert_close(found[:, 1:-1, 1:-1], expected, atol=1e-9, rtol=0)
    assert (found[:, 0] == 0).all() and (found[:, :, -1] == 0).all()


def test_holes_have_no_normal_and_no_nan():
    camera = orbit(0.0, 0.0, size=8)
    depth = torch.full((1, 8, 8), 2.0)
    depth[0, 4, 4] = 0.0
    depth = depth.requires_grad_()
    found = depth_normals(depth, camera)
    assert (found[0, 4, 3] == 0).all() and (found[0, 3, 4] == 0).all()
    assert found[0, 2, 2].tolist() == pytest.approx([0.0, 0.0, 1.0])
    found[..., 0].sum().backward()
    assert torch.isfinite(depth.grad).all()
    empty = torch.zeros(1, 8, 8, requires_grad=True)
    normal_consistency(torch.zeros(1, 8, 8, 3), torch.zeros(1, 8, 8), empty, camera).backward()
    assert (empty.grad == 0).all()


def test_consistency_is_the_mean_of_one_less_the_cosine():
    camera = turntable(1, 0.0, size=10)
    depth = torch.full((1, 10, 10), 2.0)
    alpha = torch.full((1, 10, 10), 0.5)
    tilt = torch.tensor([0.6, 0.0, 0.8])
    loss = normal_consistency((0.5 * tilt).expand(1, 10, 10, 3), alpha, depth, camera)
    assert loss.item() == pytest.approx(0.5 * (1 - 0.5 * 0.8) * 0.64)
    straight = torch.tensor([0.0, 0.0, 1.0]).expand(1, 10, 10, 3)
    assert normal_consistency(straight, torch.ones(1, 10, 10), depth, camera).item() == pytest.approx(0.0, abs=1e-6)


def test_finite_differences():
    camera = orbit(30.0, 20.0, size=5).to(torch.float64)
    draw = torch.Generator().manual_seed(0)
    depth = (torch.rand(1, 5, 5, generator=draw, dtype=torch.float64) + 1.5).requires_grad_()
    normal = torch.randn(1, 5, 5, 3, generator=draw, dtype=torch.float64).requires_grad_()
    alpha = torch.rand(1, 5, 5, generator=draw, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda n, d: normal_consistency(n, alpha, d, camera), (normal, depth))
