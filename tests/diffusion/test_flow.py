"""The path against its own derivative, the solvers against Gaussian data, whose flow is known."""

import math

import pytest
import torch

from maquette.core.errors import NonFinite
from maquette.diffusion import times
from maquette.diffusion.flow import dormand_prince, euler, gvp, heun, x0_from_velocity

MEAN, STD = 0.7, 0.3


def _pair():
    draw = torch.Generator().manual_seed(0)
    return torch.randn(2, 5, 3, generator=draw, dtype=torch.float64).unbind()


def exact(z, t):
    """E[dz/dt | z] for data N(MEAN, STD^2): closed form, notes of SiT, eq. 9 for a Gaussian."""
    a, s = math.cos(math.pi * t / 2), math.sin(math.pi * t / 2)
    variance = a * a * STD**2 + s * s
    x0 = MEAN + a * STD**2 / variance * (z - a * MEAN)
    eps = s / variance * (z - a * MEAN)
    return math.pi / 2 * (a * eps - s * x0)


def test_ends_numbers_and_derivative_of_the_path():
    x0, eps = _pair()
    assert torch.allclose(gvp(x0, eps, 0.0)[0], x0) and torch.allclose(gvp(x0, eps, 1.0)[0], eps)
    z, velocity = gvp(x0, eps, 0.75)
    torch.testing.assert_close(z, 0.3826834323650898 * x0 + 0.9238795325112867 * eps)
    torch.testing.assert_close(velocity, 0.6011173929270638 * eps - 1.4512265760326413 * x0, atol=1e-6, rtol=0)
    h = 1e-6
    slope = (gvp(x0, eps, 0.4 + h)[0] - gvp(x0, eps, 0.4 - h)[0]) / (2 * h)
    torch.testing.assert_close(slope, gvp(x0, eps, 0.4)[1], atol=1e-8, rtol=0)
    t = torch.tensor([0.1, 0.5, 0.9, 0.0, 1.0], dtype=torch.float64)[:, None]
    torch.testing.assert_close(gvp(x0, eps, t)[0][1], gvp(x0, eps, 0.5)[0][1])


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_the_clean_sample_comes_back(t):
    x0, eps = _pair()
    z, velocity = gvp(x0, eps, t)
    torch.testing.assert_close(x0_from_velocity(z, velocity, t), x0)


def test_gaussian_noise_flows_to_gaussian_data():
    """The flow of one dimension keeps order, so noise e ends at MEAN + STD e exactly; and goes back."""
    noise = torch.linspace(-3, 3, 41, dtype=torch.float64)
    wanted = MEAN + STD * noise
    calls = 0

    def counted(z, t):
        nonlocal calls
        calls += 1
        return exact(z, t)

    found = dormand_prince(counted, noise, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found, wanted, atol=1e-7, rtol=0)
    fine, calls = calls, 0
    found = dormand_prince(counted, noise)
    torch.testing.assert_close(found, wanted, atol=2e-3, rtol=0)
    assert 7 <= calls < fine < 500
    back = dormand_prince(exact, wanted, start=0.0, stop=1.0, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(back, noise, atol=1e-6, rtol=0)


def test_orders_of_the_fixed_steps():
    noise = torch.linspace(-3, 3, 41, dtype=torch.float64)

    def error(solver, steps):
        return (solver(exact, noise, times(steps)) - (MEAN + STD * noise)).abs().max().item()

    assert 1.8 < error(euler, 40) / error(euler, 80) < 2.2
    assert 3.6 < error(heun, 40) / error(heun, 80) < 4.4
    assert error(heun, 80) < 1e-3


def test_one_data_point_is_where_everything_ends():
    target = torch.tensor([0.2, -0.4], dtype=torch.float64)

    def to_it(z, t):
        a, s = math.cos(math.pi * t / 2), math.sin(math.pi * t / 2)
        eps = (z - a * target) / s
        return math.pi / 2 * (a * eps - s * target)

    noise = torch.randn(2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for steps in (3, 50):
        away = (euler(to_it, noise, times(steps, stop=1e-3)) - target).abs().max()
        assert away < 2.5 / steps


def test_a_velocity_that_is_not_a_number_is_refused():
    with pytest.raises(NonFinite, match="time"):
        dormand_prince(lambda z, t: z * math.nan, torch.ones(2))
