"""The density grid: twins agree, and one Gaussian is the formula."""

import math

import pytest
import torch

from maquette.kernels.density import evaluate


def cloud(seed, count):
    generator = torch.Generator().manual_seed(seed)
    means = torch.rand(count, 3, generator=generator) - 0.5
    quats = torch.randn(count, 4, generator=generator)
    scales = torch.exp(torch.randn(count, 3, generator=generator) * 0.8 - 3)  # some far flatter than a cell
    opacities = torch.rand(count, generator=generator)
    return means, quats, scales, opacities


@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 14, 5), (16, 16, 16)])
@pytest.mark.parametrize("count", [0, 1, 120])
def test_twins_agree(shape, count):
    gaussians = cloud(count, count)
    grid = {"origin": torch.tensor([-0.45, -0.3, -0.5]), "step": 0.07, "shape": shape}
    fast = evaluate(*gaussians, **grid)
    exact = {**grid, "origin": grid["origin"].double()}
    truth = evaluate(*(part.double() for part in gaussians), **exact, backend="reference")
    assert fast.shape == shape
    # Rounding may put a point on the other side of the reach, where a Gaussian is worth 1e-3.
    assert torch.allclose(fast.double(), truth, atol=1.5e-3)
    assert ((fast.double() - truth).abs() < 2e-5).double().mean() > 0.99


def test_one_gaussian_is_the_formula_along_its_own_axes():
    turn = torch.tensor([[math.cos(0.4), 0.0, 0.0, math.sin(0.4)]])  # 0.8 rad about +Z
    along = torch.tensor([math.cos(0.8), math.sin(0.8), 0.0])
    for distance, scale, axis in ((0.3, 0.2, along), (0.1, 0.05, torch.tensor([-along[1], along[0], 0.0]))):
        value = evaluate(
            torch.zeros(1, 3), 5 * turn, torch.tensor([[0.2, 0.05, 0.1]]), torch.tensor([0.7]),
            origin=distance * axis, step=1.0, shape=(1, 1, 1),
        )  # fmt: skip
        assert value.item() == pytest.approx(0.7 * math.exp(-0.5 * (distance / scale) ** 2), rel=1e-4)


def test_the_bytes_do_not_depend_on_the_number_of_threads():
    import numba

    gaussians, grid = cloud(4, 200), {"origin": torch.full((3,), -0.5), "step": 0.05, "shape": (21, 21, 21)}
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = evaluate(*gaussians, **grid)
    finally:
        numba.set_num_threads(before)
    assert torch.equal(alone, evaluate(*gaussians, **grid))
