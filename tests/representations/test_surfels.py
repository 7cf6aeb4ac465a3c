"""Rows of surfels: shapes, activations, orientation, and the way to Gaussians and back."""

import math

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.core.rotation import quat_to_matrix
from maquette.representations import from_points
from maquette.representations.surfels import (
    SurfelCloud,
    from_oriented_points,
    gaussians_from_surfels,
    surfels_from_gaussians,
)


@pytest.fixture
def surfels():
    draw = torch.Generator().manual_seed(0)
    normals = torch.randn(30, 3, generator=draw)
    cloud = from_oriented_points(torch.randn(30, 3, generator=draw), normals, torch.rand(30, 3, generator=draw))
    wider = cloud.log_scales + torch.randn(30, 2, generator=draw) * 0.3
    return SurfelCloud(cloud.means, wider, cloud.quats, cloud.logit_opacities, cloud.sh)


def test_normals_are_the_third_axis():
    normals = torch.tensor([[0.0, 0, 3], [0, 0, -1], [2, 0, 0], [-1, -1, 0], [1e-4, 0, -1]])
    cloud = from_oriented_points(torch.randn(5, 3), normals, torch.full((5, 3), 0.25), opacity=0.75)
    torch.testing.assert_close(cloud.normals, torch.nn.functional.normalize(normals, dim=-1), atol=2e-3, rtol=0)
    torch.testing.assert_close(cloud.opacities, torch.full((5,), 0.75))
    torch.testing.assert_close(cloud.rgb, torch.full((5, 3), 0.25))


def test_there_and_back(surfels):
    back = surfels_from_gaussians(gaussians_from_surfels(surfels, thin=0.05))
    axes, again = quat_to_matrix(surfels.quats), quat_to_matrix(back.quats)
    torch.testing.assert_close(back.log_scales, surfels.log_scales)
    torch.testing.assert_close((axes * again).sum(1).abs(), torch.ones(30, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shortest", [0, 1, 2])
def test_the_shortest_axis_becomes_the_normal(shortest):
    draw = torch.Generator().manual_seed(1)
    cloud = from_points(torch.randn(20, 3, generator=draw), torch.rand(20, 3, generator=draw))
    scales = torch.rand(20, 3, generator=draw) - 2
    scales[:, shortest] -= 3
    quats = torch.randn(20, 4, generator=draw)
    cloud = type(cloud)(cloud.means, scales, quats, cloud.logit_opacities, cloud.sh)
    flat = surfels_from_gaussians(cloud)
    normal = quat_to_matrix(quats)[:, :, shortest]
    torch.testing.assert_close((flat.normals * normal).sum(-1).abs(), torch.ones(20), atol=1e-5, rtol=0)
    # The discs span the same ellipse: the covariance less that of the lost axis.
    turn, tangents = quat_to_matrix(quats), quat_to_matrix(flat.quats)[:, :, :2] * flat.scales[:, None]
    turn = turn * cloud.scales[:, None]
    lost = turn[:, :, shortest, None] @ turn[:, :, shortest, None].mT
    torch.testing.assert_close(tangents @ tangents.mT, turn @ turn.mT - lost, atol=1e-6, rtol=1e-4)


def test_rows_and_floats(surfels):
    assert len(surfels.select(torch.arange(30) < 7)) == 7
    assert surfels.to(torch.float64).means.dtype == torch.float64
    assert surfels.scales[0, 0].item() == pytest.approx(math.exp(surfels.log_scales[0, 0]))
    assert not surfels.map(lambda raw: raw.requires_grad_()).detach().means.requires_grad


def test_what_does_not_fit_is_refused(surfels):
    with pytest.raises(BadInput, match="1, 4, 9 or 16"):
        SurfelCloud(*list(surfels.tensors().values())[:4], torch.zeros(30, 5, 3))
    with pytest.raises(BadInput, match="normals"):
        from_oriented_points(torch.zeros(2, 3), torch.full((2, 3), float("nan")), torch.zeros(2, 3))
    with pytest.raises(BadInput, match="thin"):
        gaussians_from_surfels(surfels, thin=0.0)
