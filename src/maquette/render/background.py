"""What lies behind a rendered thing: plain colors, and swapping one for another. Knows images, not what is in them."""

import torch
from jaxtyping import Float
from torch import Tensor


def random_color(generator: torch.Generator) -> Float[Tensor, " 3"]:
    """A uniformly random sRGB color: a new one at each step keeps a fit from hiding things in the background."""
    return torch.rand(3, generator=generator)


def over(
    premultiplied: Float[Tensor, "*images height width 3"],
    alpha: Float[Tensor, "*images height width"],
    background: Float[Tensor, " 3"] | Float[Tensor, "*images height width 3"],
) -> Float[Tensor, "*images height width 3"]:
    """Lay a color that is already multiplied by its coverage over a background (Porter and Duff 1984)."""
    return premultiplied + (1 - alpha)[..., None] * background


def change_background(
    color: Float[Tensor, "*images height width 3"],
    alpha: Float[Tensor, "*images height width"],
    old: Float[Tensor, " 3"],
    new: Float[Tensor, " 3"],
) -> Float[Tensor, "*images height width 3"]:
    """The image that rendering over `new` would have given, from one rendered over `old`; needs no second pass."""
    return over(color, alpha, new - old)
