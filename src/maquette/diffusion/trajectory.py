"""Paths between noise and data for a variance-preserving discrete schedule, as functions of twenty lines.

Every path takes `denoise(z, t) -> x0`, the predicted clean sample, and times as fractions in [0, 1]: 0 is clean, and
t > 0 is entry `round(t * T) - 1` of the table `alphas_cumprod` of T noise levels. This module knows no network and no
guidance.
"""

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.diffusion.predict import signal_and_noise

Denoise = Callable[[Tensor, float], Tensor]


def scaled_linear(
    noise_levels: int = 1000, *, first: float = 0.00085, last: float = 0.012, zero_terminal_snr: bool = False
) -> Float[Tensor, " noise_levels"]:
    """The table `alphas_cumprod` of Stable Diffusion: beta from `first` to `last`, evenly in its square root.

    With `zero_terminal_snr` it is stretched until the last entry is pure noise (Lin et al., arXiv 2305.08891, alg. 1).
    """
    beta = torch.linspace(first**0.5, last**0.5, noise_levels, dtype=torch.float64) ** 2
    table = (1 - beta).cumprod(0)
    if not zero_terminal_snr:
        return table
    root = table.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])).square()


def level_of(t: float, noise_levels: int) -> int:
    """The index in 0..T-1 of time `t` in a table of `noise_levels` = T entries, or -1 for clean (t rounds to 0)."""
    if not 0 <= t <= 1:
        raise ValueError(f"time {t} is outside [0, 1]; 0 is clean and 1 is noise")
    return round(t * noise_levels) - 1


def alpha_bar_at(alphas_cumprod: Float[Tensor, " noise_levels"], t: float) -> float:
    """alpha_bar at time `t`: 1 at t = 0, the last entry of the table at t = 1."""
    level = level_of(t, len(alphas_cumprod))
    return 1.0 if level < 0 else float(alphas_cumprod[level])


def times(steps: int, *, start: float = 1.0, stop: float = 0.0) -> list[float]:
    """`steps` + 1 equally spaced times from `start` to `stop`, both included; falling to sample, rising to invert."""
    if steps < 1:
        raise ValueError(f"{steps} steps; expected at least 1")
    return [start + (stop - start) * i / steps for i in range(steps)] + [stop]


def add_noise(x0: Float[Tensor, "*b"], noise: Float[Tensor, "*b"], alpha_bar: float) -> Float[Tensor, "*b"]:
    """z = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) noise (the variance-preserving noising of IM-3D)."""
    a, s = signal_and_noise(alpha_bar)
    return a * x0 + s * noise


def ddim(denoise: Denoise, z: Tensor, times: list[float], alphas_cumprod: Tensor) -> Tensor:
    """Follow the deterministic DDIM path through `times` (arXiv 2010.02502, eq. 12 with eta = 0).

    Falling times sample; rising times invert (a sample back to its noise). One evaluation for each interval, at its
    first end, so an inversion has to start with a little noise: at t >= 1 / T, not at 0.
    """
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        a, s = signal_and_noise(alpha_bar_at(alphas_cumprod, t))
        a_next, s_next = signal_and_noise(alpha_bar_at(alphas_cumprod, t_next))
        if s == 0:
            raise ValueError(
                f"the path leaves from the clean time {t}; start an inversion at t >= 1 / {len(alphas_cumprod)}"
            )
        z = (s_next / s) * z + (a_next - s_next / s * a) * denoise(z, t)  # a' x0 + s' eps, with eps = (z - a x0) / s
    return z


def dpm_solver_pp_states(denoise: Denoise, z: Tensor, times: list[float], alphas_cumprod: Tensor) -> Iterator[Tensor]:
    """The state after each interval of DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2), for falling `times`.

    Multistep of order 2 in lambda = ln(a / s); the first interval, and one that ends at the clean time 0 (lambda is
    infinite there), are of order 1. One evaluation for each interval.
    """
    earlier = earlier_lambda = None
    for t, t_next in zip(times[:-1], times[1:], strict=True):
        a, s = signal_and_noise(alpha_bar_at(alphas_cumprod, t))
        a_next, s_next = signal_and_noise(alpha_bar_at(alphas_cumprod, t_next))
        if not s_next < s:
            raise ValueError(f"time goes from {t} to {t_next} with no noise removed; DPM-Solver++ needs falling times")
        lam, lam_next = _log_snr_half(a, s), _log_snr_half(a_next, s_next)
        x0 = latest = denoise(z, t)
        if earlier is not None and math.isfinite(lam_next) and math.isfinite(earlier_lambda):
            r = (lam - earlier_lambda) / (lam_next - lam)
            x0 = (1 + 1 / (2 * r)) * latest - 1 / (2 * r) * earlier
        z = (s_next / s) * z + (a_next - s_next / s * a) * x0  # = s'/s z - a' (e^-h - 1) x0, and finite at both ends
        earlier, earlier_lambda = latest, lam
        yield z


def dpm_solver_pp(denoise: Denoise, z: Tensor, times: list[float], alphas_cumprod: Tensor) -> Tensor:
    """The last state of `dpm_solver_pp_states`: a sample from noise `z` at times[0]."""
    *_, last = dpm_solver_pp_states(denoise, z, times, alphas_cumprod)
    return last


def _log_snr_half(a: float, s: float) -> float:
    if a == 0:
        return -math.inf
    return math.inf if s == 0 else math.log(a / s)
