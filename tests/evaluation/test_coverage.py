"""Coverage and matching on sets whose nearest neighbours are known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import BadInput, NonFinite
from maquette.evaluation.coverage import chamfer_matrix, coverage, matching
from maquette.evaluation.geometry import chamfer


def balls(count: int, points: int = 40, seed: int = 0) -> torch.Tensor:
    """Spheres of growing radius, farther apart than their points."""
    draw = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(points, 3, generator=draw), dim=-1)
    return torch.linspace(0.1, 0.5, count)[:, None, None] * directions


def test_every_entry_is_the_chamfer_distance_of_a_pair():
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(3, 30, 3, generator=draw), torch.randn(4, 20, 3, generator=draw)
    found = chamfer_matrix(a, b)
    assert found.shape == (3, 4)
    for i in range(3):
        for j in range(4):
            assert found[i, j].item() == pytest.approx(chamfer(a[i], b[j]), abs=1e-6)
    assert torch.allclose(chamfer_matrix(b, a), found.T)


def test_a_set_and_itself():
    clouds = balls(5)
    table = chamfer_matrix(clouds, clouds)
    assert coverage(table) == 1.0 and matching(table) == 0.0


def test_copies_of_one_shape_cover_one():
    real = balls(5)
    table = chamfer_matrix(real[2:3].expand(5, -1, -1), real)
    assert coverage(table) == 1 / 5
    assert matching(table) == pytest.approx(table[0].mean().item())


def test_by_hand():
    table = torch.tensor([[1.0, 2.0, 3.0], [0.5, 4.0, 5.0], [9.0, 0.25, 8.0]], dtype=torch.float64)
    assert coverage(table) == 2 / 3, "nobody is nearest to the third"
    assert matching(table) == pytest.approx((0.5 + 0.25 + 3) / 3)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 10**6))
def test_bounds_and_order(made, real, seed):
    """More made shapes never match worse or cover less, and order has no say."""
    draw = torch.Generator().manual_seed(seed)
    table = torch.rand(made, real, generator=draw, dtype=torch.float64)
    assert 1 / real <= coverage(table) <= min(1, made / real)
    shuffled = table[torch.randperm(made, generator=draw)]
    assert coverage(shuffled) == coverage(table) and matching(shuffled) == pytest.approx(matching(table))
    assert matching(table) <= matching(table[:1]) and coverage(table) >= coverage(table[:1])


def test_nothing_to_compare_is_refused():
    with pytest.raises(BadInput, match="no points"):
        chamfer_matrix(balls(2), torch.zeros(0, 5, 3))
    with pytest.raises(NonFinite, match="NaN"):
        chamfer_matrix(balls(2), balls(2) / 0)
