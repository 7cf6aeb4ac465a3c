"""Words that depend on the view, and directions to keep away from (Perp-Neg, arXiv 2304.04968).

Azimuth 0 looks at the front; azimuths are degrees, any number of turns, and left and right are both "side". This module
knows names of views and numbers, and neither texts' embeddings nor networks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from maquette.core import BadInput

View = Literal["front", "side", "back", "overhead"]
PromptStyle = Literal["suffix", "sentence"]


def perp_neg(
    unconditional: Float[Tensor, "views *rest"],
    conditional: Float[Tensor, "views *rest"],
    against: Sequence[Float[Tensor, "views *rest"]],
    weights: Sequence[float],
    scale: float,
) -> Float[Tensor, "views *rest"]:
    """u + scale (d + sum_k w_k d_k_perp), with d = c - u, d_k = n_k - u, and d_k_perp the part of d_k across d.

    All predictions are eps. The inner product runs over all elements of one view (the first axis). `weights` are <= 0;
    without any this is classifier-free guidance. Raises `BadInput` for a positive weight.
    """
    if len(against) != len(weights) or any(weight > 0 for weight in weights):
        raise BadInput(
            f"{len(against)} predictions to keep away from with weights {tuple(weights)}; expected one <= 0 each",
            "a positive weight would pull towards the negative text",
        )
    direction = conditional - unconditional
    total = direction
    for prediction, weight in zip(against, weights, strict=True):
        total = total + weight * perpendicular(prediction - unconditional, direction)
    return unconditional + scale * total


def perpendicular(
    vector: Float[Tensor, "views *rest"], direction: Float[Tensor, "views *rest"]
) -> Float[Tensor, "views *rest"]:
    """What is left of `vector` after its part along `direction` is taken away, view by view."""
    rest = tuple(range(1, vector.ndim))
    along = (vector * direction).sum(rest, keepdim=True)
    return vector - along / direction.square().sum(rest, keepdim=True).clamp_min(1e-6) * direction


@dataclass(frozen=True)
class ViewBlend:
    """How much each view word says about one camera: weights that sum to 1, and Perp-Neg weights <= 0."""

    positive: tuple[tuple[View, float], ...]
    negative: tuple[tuple[View, float], ...]


def blend_views(
    azimuth_deg: float,
    elevation_deg: float = 0.0,
    *,
    strength: float = -2.0,
    front_decay: float = 2.0,
    side_decay: float = 10.0,
    overhead_above_deg: float = 60.0,
) -> ViewBlend:
    """Interpolated words and Perp-Neg weights as in stable-dreamfusion, LucidDreamer and GE3D.

    `strength` W is the weight of the front word seen from behind; useful are -4 to 0, and a strong one flattens faces.
    Above `overhead_above_deg` the word is overhead alone.
    """
    if elevation_deg > overhead_above_deg:
        return ViewBlend((("overhead", 1.0),), ())
    from_front = abs(wrapped_deg(azimuth_deg))
    if from_front <= 90:
        r = 1 - from_front / 90
        front = 0.0 if r > 0.8 else strength * math.exp(-front_decay * r)
        side = 0.0 if r < 0.2 else strength * math.exp(-side_decay * (1 - r))
        return ViewBlend((("front", r), ("side", 1 - r)), (("front", front), ("side", side)))
    r = 2 - from_front / 90
    side = 0.0 if r > 0.8 else strength / 2 * math.exp(-side_decay * r)
    return ViewBlend((("side", r), ("back", 1 - r)), (("side", side), ("front", strength)))


def blend_views_shifted(
    azimuth_deg: float, elevation_deg: float = 0.0, *, overhead_above_deg: float = 60.0
) -> ViewBlend:
    """The same words with the weights of threestudio, shifted exponentials -(a exp(-b q) + c)."""
    if elevation_deg > overhead_above_deg:
        return ViewBlend((("overhead", 1.0),), ())
    from_front = abs(wrapped_deg(azimuth_deg))
    if from_front <= 90:
        r = 1 - from_front / 90
        weights = (("front", _shifted(4, -2.426, r)), ("side", _shifted(4, -2.426, 1 - r)))
        return ViewBlend((("front", r), ("side", 1 - r)), weights)
    r = 2 - from_front / 90
    weights = (("side", _shifted(1, -0.606, r)), ("front", _shifted(1, 0.967, r)))
    return ViewBlend((("side", r), ("back", 1 - r)), weights)


def view_of(
    azimuth_deg: float,
    elevation_deg: float = 0.0,
    *,
    front_within_deg: float = 45.0,
    back_within_deg: float = 45.0,
    overhead_above_deg: float = 60.0,
) -> View:
    """The one word of a camera (threestudio): overhead before back before front before side, boundaries excluded."""
    from_front = abs(wrapped_deg(azimuth_deg))
    if elevation_deg > overhead_above_deg:
        return "overhead"
    if from_front > 180 - back_within_deg:
        return "back"
    return "front" if from_front < front_within_deg else "side"


def view_prompt(prompt: str, view: View, style: PromptStyle = "suffix") -> str:
    """The prompt with its view said.

    >>> view_prompt("a red apple", "back"), view_prompt("a red apple", "side", "sentence")
    ('a red apple, back view', 'The side view of a red apple')
    """
    return f"{prompt}, {view} view" if style == "suffix" else f"The {view} view of {prompt}"


def wrapped_deg(azimuth_deg: float) -> float:
    """The same direction in [-180, 180)."""
    return (azimuth_deg + 180) % 360 - 180


def _shifted(a: float, c: float, q: float) -> float:
    return min(-(a * math.exp(-0.5 * q) + c), 0.0)
