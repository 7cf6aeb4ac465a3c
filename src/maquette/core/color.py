"""Colors: the sRGB transfer curve and the thirteen color words of the training data."""

import torch
from jaxtyping import Float
from torch import Tensor

# sRGB in [0, 1]. Except for yellow (whose plain objects are mostly olive) these are the medians of the training
# objects that are at least 97 % of the one color, so a word and its triple mean what the prior has seen.
PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.82, 0.24, 0.24),
    "orange": (0.98, 0.65, 0.30),
    "yellow": (0.93, 0.80, 0.30),
    "green": (0.33, 0.58, 0.29),
    "teal": (0.17, 0.83, 0.72),
    "blue": (0.37, 0.63, 0.83),
    "purple": (0.36, 0.25, 0.66),
    "pink": (0.82, 0.33, 0.54),
    "brown": (0.60, 0.42, 0.27),
    "beige": (0.90, 0.77, 0.55),
    "black": (0.17, 0.17, 0.17),
    "gray": (0.56, 0.57, 0.58),
    "white": (0.94, 0.95, 0.96),
}


def srgb_to_linear(srgb: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Decode sRGB in [0, 1] to linear light (IEC 61966-2-1). Differentiable everywhere; linear below 0."""
    # The power branch is evaluated away from 0 even where it is not taken: its slope there would poison the gradient.
    bright = ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, srgb / 12.92, bright)


def linear_to_srgb(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Encode linear light in [0, 1] as sRGB (IEC 61966-2-1). Differentiable everywhere; linear below 0."""
    bright = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, bright)
