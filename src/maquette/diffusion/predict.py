"""The three things a network may predict, and how to turn each into the others.

With a = sqrt(alpha_bar) and s = sqrt(1 - alpha_bar), a noisy sample is  z = a x0 + s eps,  and the velocity of
Salimans & Ho (arXiv 2202.00512) is  v = a eps - s x0.  `alpha_bar` is one float, or a tensor that
broadcasts against the samples. Half-precision samples are computed and returned in float32; float64 stays float64.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

AlphaBar = float | Float[Tensor, "..."]


def signal_and_noise(alpha_bar: AlphaBar) -> tuple[AlphaBar, AlphaBar]:
    """(sqrt(alpha_bar), sqrt(1 - alpha_bar)) in double precision, because 1 - alpha_bar cancels near clean."""
    if isinstance(alpha_bar, Tensor):
        exact = alpha_bar.double()
        return exact.sqrt(), (1 - exact).sqrt()
    return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)


def x0_from_eps(z: Float[Tensor, "*b"], eps: Float[Tensor, "*b"], alpha_bar: AlphaBar) -> Float[Tensor, "*b"]:
    """x0 = (z - s eps) / a. Undefined, and refused, where nothing of the signal is left (alpha_bar = 0)."""
    a, s = signal_and_noise(_nonzero(alpha_bar, "eps says nothing about x0 at alpha_bar = 0; predict v or x0 there"))
    return _combine(z, 1 / a, eps, -s / a)


def x0_from_v(z: Float[Tensor, "*b"], v: Float[Tensor, "*b"], alpha_bar: AlphaBar) -> Float[Tensor, "*b"]:
    """x0 = a z - s v."""
    a, s = signal_and_noise(alpha_bar)
    return _combine(z, a, v, -s)


def eps_from_x0(z: Float[Tensor, "*b"], x0: Float[Tensor, "*b"], alpha_bar: AlphaBar) -> Float[Tensor, "*b"]:
    """eps = (z - a x0) / s. Undefined, and refused, where there is no noise (alpha_bar = 1)."""
    a, s = signal_and_noise(alpha_bar)
    _nonzero(s, "x0 says nothing about eps at alpha_bar = 1; there is no noise in a clean sample")
    return _combine(z, 1 / s, x0, -a / s)


def eps_from_v(z: Float[Tensor, "*b"], v: Float[Tensor, "*b"], alpha_bar: AlphaBar) -> Float[Tensor, "*b"]:
    """eps = s z + a v."""
    a, s = signal_and_noise(alpha_bar)
    return _combine(z, s, v, a)


def v_from_eps(z: Float[Tensor, "*b"], eps: Float[Tensor, "*b"], alpha_bar: AlphaBar) -> Float[Tensor, "*b"]:
    """v = (eps - s z) / a, which is a eps - s x0 with x0 eliminated."""
    a, s = signal_and_noise(_nonzero(alpha_bar, "eps does not determine v at alpha_bar = 0; predict v or x0 there"))
    return _combine(eps, 1 / a, z, -s / a)


def v_from_x0(z: Float[Tensor, "*b"], x0: Float[Tensor, "*b"], alpha_bar: AlphaBar) -> Float[Tensor, "*b"]:
    """v = (a z - x0) / s, which is a eps - s x0 with eps eliminated."""
    a, s = signal_and_noise(alpha_bar)
    _nonzero(s, "x0 does not determine v at alpha_bar = 1; there is no noise in a clean sample")
    return _combine(z, a / s, x0, -1 / s)


def _combine(first: Tensor, first_weight: AlphaBar, second: Tensor, second_weight: AlphaBar) -> Tensor:
    dtype = torch.promote_types(first.dtype, torch.float32)
    weights = [w.to(first.device, dtype) if isinstance(w, Tensor) else w for w in (first_weight, second_weight)]
    return weights[0] * first.to(dtype) + weights[1] * second.to(dtype)


def _nonzero(value: AlphaBar, message: str) -> AlphaBar:
    if (value == 0).any() if isinstance(value, Tensor) else value == 0:
        raise ValueError(message)
    return value
