"""The Fréchet distance against closed forms; features of any width stand for those of a network."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import BadInput, NonFinite
from maquette.evaluation.features import Features, Network, extract
from maquette.evaluation.frechet import covariance, frechet_distance, frechet_of_moments


def features(rows: torch.Tensor, network: str = "test") -> Features:
    return Features(network, rows)


def waves() -> tuple[Features, Features]:
    """A fixture that anyone can write down again: sin(7 i + j) and cos(3 i + 2 j) + 0.1, 8 samples of 4 features."""
    i, j = torch.arange(8.0, dtype=torch.float64)[:, None], torch.arange(4.0, dtype=torch.float64)
    return features(torch.sin(7 * i + j)), features(torch.cos(3 * i + 2 * j) + 0.1)


def test_the_fixture():
    found = frechet_distance(*waves())
    assert found.value == pytest.approx(2.97245296, abs=1e-7)
    assert found.network == "test" and found.samples == (8, 8) and found.features == 4 and not found.is_singular


def test_scalar_gaussians():
    """N(0, 1) and N(1, 4): 1 + 1 + 4 - 2 * 2."""
    one, four = torch.ones(1, 1, dtype=torch.float64), torch.full((1, 1), 4.0, dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)
    assert frechet_of_moments(zero, one, zero + 1, four) == pytest.approx(2, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_gaussians_that_share_axes(seed, width):
    """With shared eigenvectors the distance is |mu|^2 + sum (s - t)^2 of the deviations, also if some are zero."""
    draw = torch.Generator().manual_seed(seed)
    axes, _ = torch.linalg.qr(torch.randn(width, width, generator=draw, dtype=torch.float64))
    s, t, mean = torch.rand(3, width, generator=draw, dtype=torch.float64)
    s[: width // 2] = 0
    found = frechet_of_moments(mean, axes @ (s**2).diag() @ axes.T, 0 * mean, axes @ (t**2).diag() @ axes.T)
    assert found == pytest.approx((mean.square().sum() + (s - t).square().sum()).item(), abs=1e-6)


def test_gaussians_that_do_not_share_axes():
    """Two dimensions have a closed form: Tr (A B)^(1/2) = sqrt(Tr A B + 2 sqrt(det A B))."""
    a = torch.tensor([[2.0, 0.7], [0.7, 1.0]], dtype=torch.float64)
    b = torch.tensor([[0.5, -0.3], [-0.3, 3.0]], dtype=torch.float64)
    zero, product = torch.zeros(2, dtype=torch.float64), a @ b
    shared = math.sqrt(product.trace() + 2 * math.sqrt(torch.linalg.det(product)))
    expected = (a.trace() + b.trace()).item() - 2 * shared
    assert frechet_of_moments(zero, a, zero, b) == pytest.approx(expected, abs=1e-12)
    assert frechet_of_moments(zero, b, zero, a) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("samples", [5, 300])
def test_a_set_and_itself_even_if_its_covariance_is_singular(samples):
    """And itself shifted a little, since rounding of roots of zeros would be negative, which nobody sees at 0."""
    rows = torch.randn(samples, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = frechet_distance(features(rows), features(rows.flip(0)))
    assert found.value == pytest.approx(0, abs=1e-9)
    assert found.is_singular == (samples == 5)
    shift = torch.zeros(64, dtype=torch.float64)
    shift[3] = 0.01
    assert frechet_distance(features(rows), features(rows + shift)).value == pytest.approx(1e-4, abs=1e-9)


def test_rotation_and_shift_of_both_change_nothing():
    draw = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 50, 6, generator=draw, dtype=torch.float64)
    axes, _ = torch.linalg.qr(torch.randn(6, 6, generator=draw, dtype=torch.float64))
    moved = [features(2 + rows @ axes) for rows in (a, 0.5 * b)]
    assert frechet_distance(*moved).value == pytest.approx(frechet_distance(features(a), features(0.5 * b)).value)


def test_few_samples_make_it_larger_and_noise_too():
    draw = torch.Generator().manual_seed(2)
    pool = torch.randn(4000, 16, generator=draw)
    few, many = (frechet_distance(features(pool[:n]), features(pool[n : 2 * n])).value for n in (40, 2000))
    assert few > 5 * many
    noisy = [
        frechet_distance(features(pool[:2000]), features(pool[2000:] + std * torch.randn(2000, 16, generator=draw)))
        for std in (0.2, 0.5, 1.0)
    ]
    assert many < noisy[0].value < noisy[1].value < noisy[2].value


def test_covariance_is_unbiased():
    rows = torch.randn(9, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert torch.allclose(covariance(rows), torch.cov(rows.T))


def test_extraction_does_not_depend_on_the_batches_and_keeps_the_name():
    network = Network("mean color", lambda pictures: pictures.mean(dim=(1, 2)))
    pictures = torch.rand(7, 5, 4, 3, generator=torch.Generator().manual_seed(4))
    some, all_at_once = extract(network, pictures, batch=3), extract(network, pictures)
    assert torch.equal(some.rows, all_at_once.rows) and some.rows.dtype == torch.float64
    assert frechet_distance(some, all_at_once).network == "mean color"


def test_what_cannot_be_compared_is_refused():
    rows = torch.rand(6, 3)
    with pytest.raises(BadInput, match="features of CLIP"):
        frechet_distance(features(rows), features(rows, "CLIP"))
    with pytest.raises(BadInput, match="4 wide"):
        frechet_distance(features(rows), features(torch.rand(6, 4)))
    with pytest.raises(BadInput, match="at least 2"):
        features(rows[:1])
    with pytest.raises(NonFinite, match="NaN"):
        features(rows / 0 * 0)
    with pytest.raises(BadInput, match="no samples"):
        extract(Network("none", lambda x: x), torch.zeros(0, 3))
