"""From raw parameters to pictures, and beside the same discs as flat Gaussians."""

from dataclasses import replace

import torch

from maquette.core.camera import orbit, turntable
from maquette.render import render_gaussians
from maquette.render.surfels import render_surfels
from maquette.representations.surfels import from_oriented_points, gaussians_from_surfels


def ball(n=1500, radius=0.4):
    """Opaque discs on a sphere, colored by height."""
    k = torch.arange(n) + 0.5
    height, angle = 1 - 2 * k / n, k * 2.399963
    ring = (1 - height.square()).sqrt()
    normals = torch.stack([ring * angle.cos(), height, ring * angle.sin()], dim=-1)
    colors = torch.stack([(height + 1) / 2, torch.full((n,), 0.3), torch.full((n,), 0.1)], dim=-1)
    return from_oriented_points(normals * radius, normals, colors, opacity=0.95)


def test_a_ball_has_the_depth_and_the_normals_of_a_ball():
    camera = turntable(3, size=64)
    seen = render_surfels(ball(), camera)
    origins, directions = camera.rays()
    middle = (origins * directions).sum(-1)
    below = middle.square() - origins.square().sum(-1) + 0.4**2
    along = -middle - below.clamp(min=0).sqrt()
    facing = below > 0.4**2 * 0.5  # the rays that meet the ball at less than 45 degrees
    depth = along * (directions * camera.world_from_camera[:, None, None, :3, 2]).sum(-1)
    assert (seen.alpha[facing] > 0.95).all()
    assert (seen.median_depth - depth)[facing].abs().mean() < 0.005
    assert (seen.depth - depth)[facing].abs().mean() < 0.02
    normal = (origins + along[..., None] * directions)[facing] / 0.4
    cosine = (torch.nn.functional.normalize(seen.normal[facing], dim=-1) * normal).sum(-1)
    # Discs are blended in the order of their centres, so those nearer to the camera lean over their neighbours.
    assert cosine.clamp(-1, 1).acos().mean() < 0.15
    assert (seen.normal.norm(dim=-1) <= seen.alpha + 1e-5).all()
    assert seen.distortion[facing].max() < 1e-4


def test_flat_gaussians_look_alike():
    camera = turntable(2, size=64)
    background = torch.tensor([0.1, 0.2, 0.7])
    a = render_surfels(ball(), camera, background=background)
    b = render_gaussians(gaussians_from_surfels(ball()), camera, background=background)
    assert torch.equal(a.color[:, 0, 0], torch.tensor([[0.1, 0.2, 0.7]] * 2))
    assert (a.color - b.color).abs().mean() < 0.005  # their low-pass filters differ at the rim
    assert (a.alpha - b.alpha).abs().mean() < 0.01


def test_colors_that_depend_on_the_view_and_their_gradients():
    surfels = ball(300)
    sh = torch.cat([surfels.sh, torch.zeros(300, 3, 3)], dim=1)
    sh[:, 2, 1] = 0.6  # greener seen from below, along +Z of the harmonics' axes
    surfels = replace(surfels, sh=sh).map(lambda raw: raw.requires_grad_())
    seen = render_surfels(surfels, orbit(torch.tensor([0.0, 180.0]), 0.0, size=32))
    front, back = (seen.color[k, 12:20, 12:20, 1].mean() for k in range(2))
    assert back > front + 0.1
    seen.color.sum().backward()
    assert all(raw.grad.abs().sum() > 0 for raw in surfels.tensors().values())


def test_doubles_take_the_reference():
    surfels, camera = ball(60), orbit(20.0, 10.0, size=16)
    a, b = render_surfels(surfels, camera), render_surfels(surfels.to(torch.float64), camera.to(torch.float64))
    torch.testing.assert_close(a.color.double(), b.color, atol=1e-5, rtol=0)
