import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import BadInput
from maquette.representations.farthest import farthest_points


def _cloud(seed, count):
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_on_a_line_it_takes_ends_then_middles():
    points = torch.zeros(9, 3)
    points[:, 0] = torch.arange(9.0)
    assert farthest_points(points, 9).tolist() == [0, 8, 4, 2, 6, 1, 3, 5, 7]
    assert farthest_points(points, 3, first=3).tolist() == [3, 8, 0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 40))
def test_the_rule_itself(seed, count):
    """Each is the farthest from those before; a beginning is an answer; all of them are a permutation."""
    points = _cloud(seed, 40)
    taken = farthest_points(points, count)
    assert torch.equal(farthest_points(points, count - 1), taken[:-1])
    apart = torch.cdist(points, points)
    gaps = [apart[taken[:k]].amin(0).max() for k in range(1, count)]
    for k, gap in enumerate(gaps, start=1):
        assert apart[taken[:k], taken[k]].min() == pytest.approx(float(gap), abs=1e-12)
    assert gaps == sorted(gaps, reverse=True)
    assert sorted(farthest_points(points, 40).tolist()) == list(range(40))


def test_duplicates_come_last_and_once():
    points = torch.cat([_cloud(0, 5), _cloud(0, 5)])
    taken = farthest_points(points, 10).tolist()
    assert sorted(taken) == list(range(10))
    assert sorted(index % 5 for index in taken[:5]) == list(range(5))


@pytest.mark.parametrize("count", [0, 6])
def test_counts_that_cannot_be(count):
    with pytest.raises(BadInput, match="of 5 points"):
        farthest_points(_cloud(0, 5), count)


def test_a_cloud_with_a_hole_in_it():
    points = _cloud(0, 5)
    points[2, 1] = torch.nan
    with pytest.raises(BadInput, match="NaN"):
        farthest_points(points, 2)
