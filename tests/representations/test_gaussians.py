"""Rows of Gaussians: shapes, activations, selecting, joining, hashing."""

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.representations import GaussianCloud, from_points, state_hash


@pytest.fixture
def cloud():
    draw = torch.Generator().manual_seed(0)
    return from_points(torch.randn(30, 3, generator=draw), torch.rand(30, 3, generator=draw), opacity=0.25)


def test_points_become_round_gaussians_of_their_color(cloud):
    torch.testing.assert_close(cloud.opacities, torch.full((30,), 0.25))
    assert (cloud.scales[:, 0] == cloud.scales[:, 2]).all()
    colors = torch.rand(30, 3, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(from_points(cloud.means, colors).rgb, colors, atol=1e-6, rtol=0)
    assert cloud.sh_degree == 0


def test_width_is_the_distance_to_three_neighbours():
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3], [9, 9, 9]])
    scales = from_points(points, torch.zeros(5, 3)).scales
    assert scales[0, 0].item() == pytest.approx(((1 + 4 + 9) / 3) ** 0.5)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_points(n):
    cloud = from_points(torch.arange(3.0 * n).view(n, 3), torch.zeros(n, 3))
    assert len(cloud) == n
    assert torch.isfinite(cloud.log_scales).all()


def test_coinciding_points_are_not_infinitely_thin():
    assert torch.isfinite(from_points(torch.zeros(5, 3), torch.zeros(5, 3)).log_scales).all()


@pytest.mark.parametrize("opacity", [0.0, 1.0, float("nan")])
def test_opacity_at_a_limit_is_refused(opacity):
    with pytest.raises(BadInput, match="opacity"):
        from_points(torch.zeros(1, 3), torch.zeros(1, 3), opacity=opacity)


def test_points_must_be_finite():
    with pytest.raises(BadInput, match="NaN"):
        from_points(torch.full((2, 3), torch.nan), torch.zeros(2, 3))


def test_shapes_are_checked(cloud):
    tensors = cloud.tensors()
    with pytest.raises(BadInput, match="k = 1, 4, 9 or 16"):
        GaussianCloud(**tensors | {"sh": torch.zeros(30, 2, 3)})
    with pytest.raises((BadInput, TypeError)):  # while tests run, the shape checker is faster than we are
        GaussianCloud(**tensors | {"quats": torch.zeros(29, 4)})


def test_select_and_cat_are_inverse(cloud):
    mask = cloud.means[:, 0] > 0
    both = GaussianCloud.cat([cloud.select(mask), cloud.select(~mask)])
    order = torch.cat([mask.nonzero(), (~mask).nonzero()]).squeeze(-1)
    assert state_hash(both) == state_hash(cloud.select(order))
    assert len(cloud.select(slice(0, 0))) == 0


def test_cat_fills_up_lower_degrees(cloud):
    high = GaussianCloud(**cloud.tensors() | {"sh": torch.ones(30, 16, 3)})
    both = GaussianCloud.cat([cloud, high])
    assert both.sh.shape == (60, 16, 3)
    assert (both.sh[:30, 1:] == 0).all()
    assert torch.equal(both.rgb[:30], cloud.rgb)
    with pytest.raises(BadInput, match="no clouds"):
        GaussianCloud.cat([])


def test_hash_sees_every_bit(cloud):
    before = state_hash(cloud)
    assert state_hash(cloud.map(torch.clone)) == before
    for name, tensor in cloud.tensors().items():
        changed = tensor.clone()
        changed.view(-1)[-1] = torch.nextafter(changed.view(-1)[-1], torch.tensor(9.0))
        assert state_hash(GaussianCloud(**cloud.tensors() | {name: changed})) != before, name
    assert state_hash(cloud.to(torch.float64)) != before


def test_detach_cuts_the_graph(cloud):
    assert not cloud.map(lambda tensor: tensor.requires_grad_()).detach().means.requires_grad
