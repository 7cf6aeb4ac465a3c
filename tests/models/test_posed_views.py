import pytest
import torch

from maquette.core.camera import turntable
from maquette.core.errors import BadInput
from maquette.models.posed_views import pack_views, plucker, surface_points


def test_a_plucker_ray_is_a_line_and_not_a_place_on_it():
    camera = turntable(3, 20.0, size=8).to(torch.float64)
    moment, direction = plucker(camera).split(3, dim=-1)
    assert (moment * direction).sum(-1).abs().max() < 1e-12
    torch.testing.assert_close(direction.norm(dim=-1), torch.ones(3, 8, 8, dtype=torch.float64))
    origins, _ = camera.rays()
    moved = torch.linalg.cross(origins + 0.7 * direction, direction)
    torch.testing.assert_close(moved, moment, atol=1e-12, rtol=0)
    closest = torch.linalg.cross(direction, moment)  # the line's nearest point to the origin lies on it
    torch.testing.assert_close(torch.linalg.cross(closest, direction), moment, atol=1e-12, rtol=0)


def test_points_project_to_their_own_pixel_at_their_depth():
    camera = turntable(2, -30.0, size=6).to(torch.float64)
    depth = 1.5 + torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    depth[0, 2, 3] = 0.0
    points, is_seen = surface_points(depth, camera)
    assert not is_seen[0, 2, 3] and (points[0, 2, 3] == 0).all() and is_seen.sum() == 71
    for view in range(2):
        pixels, far = camera[view].project(points[view].reshape(-1, 3))
        y, x = torch.meshgrid(torch.arange(6) + 0.5, torch.arange(6) + 0.5, indexing="ij")
        hit = is_seen[view].flatten()
        wanted = torch.stack([x, y], -1).reshape(-1, 2).double()
        torch.testing.assert_close(pixels[0][hit], wanted[hit], atol=1e-6, rtol=0)  # poses are made in float32
        torch.testing.assert_close(far[0][hit], depth[view].flatten()[hit], atol=1e-6, rtol=0)


def test_channels_are_in_the_order_of_the_paper():
    camera = turntable(2, size=8)
    color, normal = torch.rand(2, 8, 8, 3), torch.rand(2, 8, 8, 3)
    depth = torch.full((2, 8, 8), 2.0)
    packed = pack_views(color, depth, normal, camera)
    assert packed.shape == (2, 15, 8, 8)
    assert torch.equal(packed[:, :3].movedim(1, -1), color * 2 - 1)
    assert torch.equal(packed[:, 3:6].movedim(1, -1), normal)
    assert torch.equal(packed[:, 6:12].movedim(1, -1), plucker(camera))
    assert torch.equal(packed[:, 12:].movedim(1, -1), surface_points(depth, camera)[0])


def test_depths_of_other_cameras():
    with pytest.raises(BadInput, match="one depth map"):
        surface_points(torch.ones(3, 8, 8), turntable(2, size=8))
