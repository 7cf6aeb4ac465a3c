"""Which clouds may be the shape of a latent, and what becomes of them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import BadInput
from maquette.representations.point_latent import LEAST, latent_points


def _draw(seed=0):
    return torch.Generator().manual_seed(seed)


def _rows(cloud):
    return {tuple(row) for row in cloud.tolist()}


@settings(max_examples=40, deadline=None)
@given(st.integers(LEAST, 300), st.integers(LEAST, 64), st.integers(1, 4), st.integers(0, 99))
def test_what_comes_out_are_distinct_points_of_the_cloud_or_the_cloud_itself(rows, count, copies, seed):
    cloud = (torch.rand(rows, 3, generator=_draw(seed)) - 0.5).repeat(copies, 1)
    points = latent_points(cloud, count, _draw())
    if len(cloud) <= count:
        assert torch.equal(points, cloud)
        return
    assert len(points) == min(count, rows) and len(_rows(points)) == len(points)
    assert _rows(points) <= _rows(cloud)


def test_few_points_of_many_cover_the_cloud_evenly():
    """Of a dense line 17 points are its ends and what divides it; drawn by lot, the largest gap would be larger."""
    line = torch.zeros(5001, 3)
    line[:, 1] = torch.linspace(-0.5, 0.5, 5001)
    y = latent_points(line, 17, _draw())[:, 1].sort().values
    assert y[0] == -0.5 and y[-1] == 0.5
    assert y.diff().max() < 1 / 16 + 1e-3 and y.diff().min() > 1 / 16 - 1e-3


def test_ten_million_points_are_thinned_and_their_order_is_drawn():
    cloud = torch.rand(10_000_000, 3, generator=_draw()) - 0.5
    points = latent_points(cloud, 32, _draw(1))
    assert points.shape == (32, 3)
    corners = 0.5 * torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    assert torch.cdist(corners, points).min(1).values.max() < 0.4
    assert torch.equal(points, latent_points(cloud, 32, _draw(1)))


def test_a_hair_outside_of_the_box_is_cut_and_more_is_refused():
    cloud = torch.rand(40, 3, generator=_draw()) - 0.5
    cloud[0] = torch.tensor([0.5004, 0.0, -0.5004])
    assert latent_points(cloud, 64, _draw())[0].tolist() == [0.5, 0.0, -0.5]
    cloud[0, 2] = -0.6
    with pytest.raises(BadInput, match=r"-0\.6 to .* along x, y and z; expected -0\.5 to 0\.5") as told:
        latent_points(cloud, 64, _draw())
    assert "longest side to 1" in told.value.next_step


@pytest.mark.parametrize(
    ("cloud", "says"),
    [
        (torch.zeros(0, 3), "has 0 points; expected at least 16"),
        (torch.zeros(1, 3), "has 1 points"),
        (torch.full((40, 3), 0.1), "of 40 points 1 are distinct"),
        (torch.full((100_000, 3), 0.1), "1 are distinct"),
        (torch.tensor([[0.1, float("nan"), 0.0]] * 3 + [[0.0, 0.0, 0.0]] * 40), "3 of 43 points hold NaN"),
        (torch.full((40, 3), float("inf")), "40 of 40 points hold NaN or infinity"),
        (torch.full((40, 3), 1e30), "reaches from"),
    ],
)
def test_clouds_that_are_no_shape(cloud, says):
    with pytest.raises(BadInput, match=says):
        latent_points(cloud, 32, _draw())
