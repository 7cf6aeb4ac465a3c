"""Which noise level at which step: ranges that move, straight and square-root lines, and DreamTime.

Times are fractions in [0, 1] at every door; `time_of` and `level_of` go between them and entries of a table.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import Constant, Linear, Steps


@dataclass(frozen=True)
class TimeRange:
    """t ~ U(low, high) with ends that may move with the step."""

    low: Callable[[float], float]  # schedules: the value at a step
    high: Callable[[float], float]

    def sample(self, step: float, generator: torch.Generator) -> float:
        """One noise level for all views of the step (Prolific, LucidDreamer, GE3D and MVDream share it so)."""
        low, high = self.low(step), self.high(step)
        return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


DREAMFUSION = TimeRange(Constant(0.02), Constant(0.98))
PROLIFICDREAMER = TimeRange(Constant(0.02), Steps((0.98, 0.5), (5000,)))
MVDREAM = TimeRange(Linear(0.98, 0.02, 8000), Linear(0.98, 0.5, 8000))
SJC = TimeRange(Constant(0.011), Constant(0.97))  # without the first 30 and the last 10 of a falling list


def time_of(level: int, noise_levels: int = 1000) -> float:
    """The time of entry `level` of a table: the inverse of `level_of`. -1 is clean."""
    return (level + 1) / noise_levels


def linear_time(progress: float, *, start: float = 0.98, end: float = 0.02) -> float:
    """A straight line over the run: DreamGaussian as it stands; SDI falls from 0.98 to 0.25."""
    return start + (end - start) * progress


def sqrt_time(progress: float, *, start: float = 0.98, end: float = 0.02) -> float:
    """start - (start - end) sqrt(progress): fast at first (HiFA, arXiv 2305.18766)."""
    return start + (end - start) * math.sqrt(progress)


def dreamtime_plateau(
    noise_levels: int = 1000, *, m1: float = 0.8, m2: float = 0.5, s1: float = 0.3, s2: float = 0.1
) -> Float[Tensor, " noise_levels"]:
    """The weights W(t) of DreamTime (arXiv 2306.12422, v1): 1 between m2 and m1, falling off as Gaussians outside.

    Entry i belongs to time (i + 1) / noise_levels; they sum to 1.
    """
    t = _times(noise_levels)
    above, below = (t - m1).clamp_min(0) / s1, (t - m2).clamp_max(0) / s2
    weights = torch.exp(-(above.square() + below.square()) / 2)
    return weights / weights.sum()


def dreamtime_bell(
    alphas_cumprod: Float[Tensor, " noise_levels"], *, middle: float = 0.5, width: float = 0.125
) -> Float[Tensor, " noise_levels"]:
    """The weights of the later DreamTime: a Gaussian around `middle`, times the noise-to-signal ratio."""
    alpha_bar = alphas_cumprod.double()
    weights = ((1 - alpha_bar) / alpha_bar).sqrt() * torch.exp(
        -((_times(len(alpha_bar)) - middle) ** 2) / (2 * width**2)
    )
    return weights / weights.sum()


def dreamtime(progress: float, weights: Float[Tensor, " noise_levels"]) -> float:
    """The time t' with the weight at and above it nearest to `progress`: falls from 1, slowly at large weights."""
    at_and_above = weights.flip(0).cumsum(0).flip(0)
    return time_of(int((at_and_above - progress).abs().argmin()), len(weights))


def _times(noise_levels: int) -> Float[Tensor, " noise_levels"]:
    return torch.arange(1, noise_levels + 1, dtype=torch.float64) / noise_levels
