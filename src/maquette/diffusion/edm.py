"""Continuous noise levels of EDM (Karras et al., arXiv 2206.00364) in the terms of a variance-preserving table.

A variance-exploding sample  x + sigma eps,  divided by sqrt(1 + sigma^2), is the variance-preserving sample with
alpha_bar = 1 / (1 + sigma^2). Stable Video Diffusion (arXiv 2311.15127, appendix D) preconditions its network F with
c_in = 1 / sqrt(sigma^2 + 1), c_skip = c_in^2, c_out = -sigma c_in and c_noise = ln(sigma) / 4, so in those terms F sees
the sample as it is and says its velocity: D = a z - s F. This module knows no network.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def karras_table(
    noise_levels: int = 1000, *, sigma_min: float = 0.002, sigma_max: float = 700.0, rho: float = 7.0
) -> Float[Tensor, " noise_levels"]:
    """The table `alphas_cumprod` whose sigmas rise from `sigma_min` to `sigma_max`, evenly in sigma^(1 / rho) (eq. 5).

    Equal steps of time in it are therefore the steps that EDM samples with.
    """
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    sigma = torch.linspace(low, high, noise_levels, dtype=torch.float64) ** rho
    return 1 / (1 + sigma.square())


def sigma_of(alpha_bar: float) -> float:
    """sqrt((1 - alpha_bar) / alpha_bar), the standard deviation of the noise on a sample of unit scale."""
    return math.sqrt((1 - alpha_bar) / alpha_bar)
