"""From raw parameters to pictures."""

from dataclasses import replace

import pytest
import torch

from maquette.core.camera import orbit, turntable
from maquette.render import render_gaussians
from maquette.representations import from_points


@pytest.fixture
def cloud():
    """A red blob to the right of (seen from the front) and above a green one."""
    draw = torch.Generator().manual_seed(0)
    points = torch.randn(200, 3, generator=draw) * 0.04
    points[:100] += torch.tensor([0.3, 0.3, 0.0])
    colors = torch.zeros(200, 3)
    colors[:100, 0], colors[100:, 1] = 1.0, 1.0
    return from_points(points, colors, opacity=0.9)


def test_world_axes_and_the_front(cloud):
    image = render_gaussians(cloud, orbit(0.0, 0.0, size=64)).color[0]
    row, column = divmod(int(image[..., 0].argmax()), 64)
    assert row < 28  # +Y is up
    assert column > 36  # +X is right in the front view
    assert abs(divmod(int(image[..., 1].argmax()), 64)[1] - 32) < 4
    behind = render_gaussians(cloud, orbit(180.0, 0.0, size=64)).color[0]
    assert int(behind[..., 0].argmax()) % 64 < 28


def test_background_shows_where_nothing_is(cloud):
    seen = render_gaussians(cloud, turntable(2, size=32), background=torch.tensor([0.1, 0.2, 0.7]))
    assert torch.equal(seen.color[:, 0, 0], torch.tensor([[0.1, 0.2, 0.7]] * 2))
    assert (seen.alpha[:, 0, 0] == 0).all()
    assert (seen.depth[:, 0, 0] == 0).all()
    assert seen.normal is None
    assert seen.screen_probe is None


def test_depth_is_along_the_axis(cloud):
    seen = render_gaussians(cloud, orbit(0.0, 0.0, radius=2.0, size=64), normals=True)
    assert seen.depth[0, 32, 32].item() == pytest.approx(2.0, abs=0.15)
    assert (seen.normal.norm(dim=-1) <= seen.alpha + 1e-5).all()
    assert (seen.radii_px > 0).all()


def test_probe_receives_screen_gradients(cloud):
    raw = cloud.map(lambda tensor: tensor.requires_grad_())
    camera = orbit(20.0, 10.0, size=64)
    x, y = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="xy")

    def loss(seen):
        return (seen.color[0] * torch.stack([x, y, x * y / 64], dim=-1)).mean()

    seen = render_gaussians(raw, camera, probe=True)
    loss(seen).backward()
    for name, tensor in raw.tensors().items():
        assert torch.isfinite(tensor.grad).all(), name
    # Moving the principal point moves all projected means and nothing else.
    for axis, step in enumerate(torch.eye(2) * 0.05):
        ahead, back = (
            loss(render_gaussians(cloud.detach(), replace(camera, center_px=camera.center_px + sign * step)))
            for sign in (1, -1)
        )
        expected = ((ahead - back) / 0.1).item()
        # The gradient does not see the small step at the rim of each Gaussian, where alpha is 1/255.
        assert seen.screen_probe.grad[0, :, axis].sum().item() == pytest.approx(expected, rel=0.15)


def test_a_moved_cloud_is_found_again(cloud):
    camera = turntable(4, size=48)
    target = render_gaussians(cloud, camera)
    shift = torch.tensor([0.05, -0.04, 0.06], requires_grad=True)
    optimiser = torch.optim.Adam([shift], lr=0.01)
    moved = from_points(cloud.means, cloud.rgb, opacity=0.9)
    for _ in range(60):
        seen = render_gaussians(type(moved)(**moved.tensors() | {"means": moved.means + shift}), camera)
        loss = (seen.color - target.color).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert shift.norm() < 0.005
