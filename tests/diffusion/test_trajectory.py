import pytest
import torch

from maquette.diffusion import (
    add_noise,
    alpha_bar_at,
    ddim,
    dpm_solver_pp,
    dpm_solver_pp_states,
    level_of,
    scaled_linear,
    times,
)

TABLE = scaled_linear()
MEAN, STD = 1.5, 0.3


def gaussian_x0(z, t):
    """The exact denoiser of data ~ N(1.5, 0.3^2)."""
    ab = alpha_bar_at(TABLE, t)
    gain = ab**0.5 * STD**2 / (ab * STD**2 + 1 - ab)
    return MEAN + gain * (z - ab**0.5 * MEAN)


def test_time_is_a_fraction_of_the_table_and_zero_is_clean():
    assert [level_of(t, 1000) for t in (0.0, 0.001, 0.5, 1.0)] == [-1, 0, 499, 999]
    assert alpha_bar_at(TABLE, 0.0) == 1.0
    assert alpha_bar_at(TABLE, 1.0) == float(TABLE[-1]) == pytest.approx(0.0047, abs=1e-4)  # Stable Diffusion's
    with pytest.raises(ValueError, match="outside"):
        level_of(1.2, 1000)


def test_times_hit_both_ends():
    assert times(4) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert times(2, start=0.001, stop=1.0) == [0.001, 0.5005, 1.0]
    with pytest.raises(ValueError, match="at least 1"):
        times(0)


def test_noising_has_the_variance_of_im3d_section_3():
    draw = torch.Generator().manual_seed(0)
    x0 = 0.5 + 0.2 * torch.randn(400_000, generator=draw)
    noise = torch.randn(400_000, generator=draw)
    for ab in (0.1, 0.6, 0.95):
        z = add_noise(x0, noise, ab)
        assert z.var().item() == pytest.approx(ab * x0.var().item() + 1 - ab, rel=0.01)
    assert torch.equal(add_noise(x0, noise, 1.0), x0)


@pytest.mark.parametrize(("steps", "mean", "std"), [(10, 1.480, 0.196), (20, 1.476, 0.240), (40, 1.473, 0.268)])
def test_dpm_solver_reproduces_the_known_numbers_of_a_one_dimensional_gaussian(steps, mean, std):
    # The whole map noise -> sample is affine here, so two starting points give its mean and standard deviation.
    ends = dpm_solver_pp(gaussian_x0, torch.tensor([0.0, 1.0], dtype=torch.float64), times(steps), TABLE)
    assert ends[0].item() == pytest.approx(mean, abs=0.002)  # published to three digits for a grid shifted by one level
    assert (ends[1] - ends[0]).abs().item() == pytest.approx(std, abs=0.002)


def test_dpm_solver_is_of_second_order_and_ddim_of_first():
    # Away from both ends, halving the step quarters the error of one and halves that of the other.
    z = torch.tensor([0.3, 1.1], dtype=torch.float64)
    fine = ddim(gaussian_x0, z, [0.8 - 0.6 * i / 600 for i in range(601)], TABLE)

    def error(solver, steps):
        return (solver(gaussian_x0, z, times(steps, start=0.8, stop=0.2), TABLE) - fine).abs().max().item()

    assert error(ddim, 12) / error(ddim, 24) == pytest.approx(2.0, rel=0.25)
    assert error(dpm_solver_pp, 12) / error(dpm_solver_pp, 24) > 3.0
    assert error(dpm_solver_pp, 12) < 0.2 * error(ddim, 12)


def test_one_evaluation_for_each_interval_and_the_last_state_is_the_last_prediction():
    seen = []

    def denoise(z, t):
        seen.append(t)
        return 0.5 * z

    states = list(dpm_solver_pp_states(denoise, torch.ones(3), times(5), TABLE))
    assert seen == times(5)[:-1]
    assert len(states) == 5
    torch.testing.assert_close(states[-1], 0.5 * states[-2])  # at alpha_bar = 1 nothing but the prediction is left


def test_a_schedule_that_ends_in_pure_noise_is_handled():
    table = scaled_linear(100)
    table[-1] = 0.0
    for solver in (ddim, dpm_solver_pp):
        end = solver(
            lambda z, t: torch.full_like(z, 0.7), torch.randn(5, generator=torch.Generator()), times(10), table
        )
        torch.testing.assert_close(end, torch.full((5,), 0.7))


def test_ddim_there_and_back_returns():
    noise = torch.tensor([-0.9, 0.2, 1.4], dtype=torch.float64)
    sample = ddim(gaussian_x0, noise, times(500, stop=0.001), TABLE)
    back = ddim(gaussian_x0, sample, times(500, start=0.001, stop=1.0), TABLE)
    torch.testing.assert_close(back, noise, rtol=0, atol=0.03)  # first order, 500 steps of 2 levels
    with pytest.raises(ValueError, match="clean time"):
        ddim(gaussian_x0, sample, times(10, start=0.0, stop=1.0), TABLE)
    with pytest.raises(ValueError, match="falling"):
        dpm_solver_pp(gaussian_x0, sample, times(10, start=0.1, stop=1.0), TABLE)
