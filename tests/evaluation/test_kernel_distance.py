"""The kernel distance against a double loop, a fixture, and what "unbiased" means."""

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.evaluation.features import Features
from maquette.evaluation.kernel_distance import kernel_distance, squared_mmd


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def waves() -> tuple[torch.Tensor, torch.Tensor]:
    i, j = torch.arange(8.0, dtype=torch.float64)[:, None], torch.arange(4.0, dtype=torch.float64)
    return torch.sin(7 * i + j), torch.cos(3 * i + 2 * j) + 0.1


def test_the_fixture_and_the_same_rows_twice():
    x, y = waves()
    assert squared_mmd(x, y) == pytest.approx(0.50946553, abs=1e-7)
    assert squared_mmd(x, x) == pytest.approx(-0.57178676, abs=1e-7), "no sample meets itself within, but does across"


def test_against_the_definition():
    x, y = torch.randn(5, 3, generator=draw(), dtype=torch.float64), torch.randn(4, 3, generator=draw(1)).double()

    def kernel(a, b):
        return (sum(p * q for p, q in zip(a.tolist(), b.tolist(), strict=True)) / 3 + 1) ** 3

    within_x = sum(kernel(x[i], x[j]) for i in range(5) for j in range(5) if i != j) / 20
    within_y = sum(kernel(y[i], y[j]) for i in range(4) for j in range(4) if i != j) / 12
    across = sum(kernel(a, b) for a in x for b in y) / 20
    assert squared_mmd(x, y) == pytest.approx(within_x + within_y - 2 * across, rel=1e-12)


def test_sets_of_one_kind_are_as_often_below_zero_as_above():
    pool = torch.randn(200, 20, 8, generator=draw(), dtype=torch.float64)
    found = torch.tensor([squared_mmd(a, b) for a, b in pool.unflatten(0, (100, 2))])
    assert found.mean().abs() < 3 * found.std() / 10
    assert 30 < (found < 0).sum() < 75, "skewed, but on both sides"


def test_the_expectation_does_not_depend_on_the_number_of_samples():
    """Known Gaussians in one dimension: E k(x, y) has a closed form by the moments of x and y."""
    x, y = torch.randn(20_000, 1, generator=draw()).double(), 1 + 2 * torch.randn(20_000, 1, generator=draw(1)).double()

    def expected(a, b):  # E (x y + 1)^3 for independent x, y with moments 1 to 3
        return a[2] * b[2] + 3 * a[1] * b[1] + 3 * a[0] * b[0] + 1

    standard, other = (0.0, 1.0, 0.0), (1.0, 5.0, 13.0)  # of N(0, 1) and N(1, 4): 1, 1 + 4, 1 + 3 * 4
    true = expected(standard, standard) + expected(other, other) - 2 * expected(standard, other)
    assert squared_mmd(x[:1000], y[:1000]) == pytest.approx(true, rel=0.25)
    found = kernel_distance(Features("test", x), Features("test", y), draw(), subsets=500, subset_size=20)
    assert abs(found.mean - true) < 4 * found.deviation / 500**0.5
    assert found.subsets == 500 and found.subset_size == 20 and found.network == "test"


def test_subsets_are_drawn_from_the_stream_and_are_no_larger_than_the_sets():
    x, y = (Features("test", rows) for rows in waves())
    one, two = (kernel_distance(x, y, draw(), subsets=9, subset_size=4) for _ in range(2))
    assert one == two and one.deviation > 0
    assert kernel_distance(x, y, draw(1), subsets=9, subset_size=4).mean != one.mean
    whole = kernel_distance(x, y, draw(), subsets=3)
    assert whole.subset_size == 8 and whole.mean == pytest.approx(0.50946553, abs=1e-7)
    assert whole.deviation == pytest.approx(0, abs=1e-12)


def test_what_cannot_be_compared_is_refused():
    x, y = waves()
    with pytest.raises(BadInput, match="features of CLIP"):
        kernel_distance(Features("test", x), Features("CLIP", y), draw())
    with pytest.raises(BadInput, match="subsets of 1"):
        kernel_distance(Features("test", x), Features("test", y), draw(), subset_size=1)
