"""What views should show, said to a prior: positive, negative and perpendicular texts, and noise predicted under them.

One `Wording` for all views: the prior denoises them together, as a multi-view prior should. A sequence of one for each
view: each is denoised alone, as an image prior should, with words for its own camera. Nothing here is differentiated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import BadInput, Camera
from maquette.diffusion import (
    PromptStyle,
    View,
    ViewBlend,
    alpha_bar_at,
    blend_views,
    eps_from_x0,
    perp_neg,
    view_prompt,
)
from maquette.guidance.distillation import Latents
from maquette.priors import Condition, MultiviewPrior

VIEWS: tuple[View, ...] = ("front", "side", "back", "overhead")


@dataclass(frozen=True)
class Wording:
    """The texts for one view, or for a set of views that is denoised together.

    `negative` replaces "nothing said" in classifier-free guidance; without it, that is the prior's unconditional
    prediction. `against` are the texts of Perp-Neg with their `weights` <= 0.
    """

    positive: Condition
    negative: Condition | None = None
    against: tuple[Condition, ...] = ()
    weights: tuple[float, ...] = ()


Wordings = Wording | Sequence[Wording]


@dataclass(frozen=True)
class ViewTexts:
    """The conditions of one prompt by view; `at(camera)` words each camera of a batch."""

    by_view: dict[View, Condition]
    negative: Condition | None
    blend: Callable[[float, float], ViewBlend]

    def at(self, camera: Camera) -> list[Wording]:
        """Interpolated positives and Perp-Neg negatives from where each camera stands (it looks at the origin)."""
        x, y, z = camera.position.double().unbind(-1)
        azimuths, elevations = torch.atan2(x, z).rad2deg(), torch.atan2(y, torch.hypot(x, z)).rad2deg()
        return [self._wording(self.blend(a, e)) for a, e in zip(azimuths.tolist(), elevations.tolist(), strict=True)]

    def _wording(self, blend: ViewBlend) -> Wording:
        against = [(self.by_view[view], weight) for view, weight in blend.negative if weight < 0]
        return Wording(
            mixed([(self.by_view[view], share) for view, share in blend.positive if share > 0]),
            self.negative,
            tuple(condition for condition, _ in against),
            tuple(weight for _, weight in against),
        )


def texts_by_view(
    prior: MultiviewPrior,
    prompt: str,
    *,
    negative: str | None = None,
    style: PromptStyle = "suffix",
    blend: Callable[[float, float], ViewBlend] = blend_views,
) -> ViewTexts:
    """Embed the prompt once for each view word; `blend` gives the weights from azimuth and elevation in degrees."""
    by_view = {view: prior.condition(view_prompt(prompt, view, style)) for view in VIEWS}
    return ViewTexts(by_view, None if negative is None else prior.condition(negative), blend)


def mixed(shares: Sequence[tuple[Condition, float]]) -> Condition:
    """Embeddings averaged with shares that sum to 1; a token counts where it counts for any. Keeps the first prompt."""
    first = shares[0][0]
    if first.text is None or len(shares) == 1:
        return first
    text = sum(share * condition.text for condition, share in shares)
    masks = [condition.mask for condition, _ in shares]
    mask = None if masks[0] is None else torch.stack(masks).any(0)
    pooled = None if first.pooled is None else sum(share * condition.pooled for condition, share in shares)
    return replace(first, text=text, mask=mask, pooled=pooled)


def conditional_eps(prior: MultiviewPrior, z: Latents, t: float, wordings: Wordings, camera: Camera) -> Latents:
    """eps under the positive text alone."""
    return each_view(lambda z, words, camera: _eps(prior, z, t, words.positive, camera, 1.0), z, wordings, camera)


def blank_eps(prior: MultiviewPrior, z: Latents, t: float, wordings: Wordings, camera: Camera) -> Latents:
    """eps with nothing said."""
    return each_view(lambda z, words, camera: _eps(prior, z, t, words.positive, camera, 0.0), z, wordings, camera)


def negative_eps(prior: MultiviewPrior, z: Latents, t: float, wordings: Wordings, camera: Camera) -> Latents:
    """eps under the negative text, or with nothing said where there is none."""
    return each_view(partial(_negative, prior, t), z, wordings, camera)


def guided_eps(
    prior: MultiviewPrior, z: Latents, t: float, wordings: Wordings, camera: Camera, scale: float
) -> Latents:
    """n + scale (y - n), with Perp-Neg where the wording has texts to keep away from."""

    def guided(z: Latents, words: Wording, camera: Camera) -> Latents:
        if words.negative is None and not words.against:
            return _eps(prior, z, t, words.positive, camera, scale)
        base, positive = _negative(prior, t, z, words, camera), _eps(prior, z, t, words.positive, camera, 1.0)
        against = [_eps(prior, z, t, condition, camera, 1.0) for condition in words.against]
        return perp_neg(base, positive, against, words.weights, scale)

    return each_view(guided, z, wordings, camera)


def _negative(prior: MultiviewPrior, t: float, z: Latents, words: Wording, camera: Camera) -> Latents:
    if words.negative is None:
        return _eps(prior, z, t, words.positive, camera, 0.0)
    return _eps(prior, z, t, words.negative, camera, 1.0)


def each_view(
    predict: Callable[[Tensor, Wording, Camera], Tensor], z: Latents, wordings: Wordings, camera: Camera
) -> Latents:
    """`predict(z, wording, camera)` for all views at once, or for each alone with its own wording."""
    if isinstance(wordings, Wording):
        return predict(z, wordings, camera)
    if len(wordings) != len(z):
        raise BadInput(f"{len(wordings)} wordings for {len(z)} views", "give one for each, or one for all")
    return torch.cat([predict(z[i : i + 1], words, camera[i]) for i, words in enumerate(wordings)])


@torch.no_grad()
def _eps(
    prior: MultiviewPrior,
    z: Float[Tensor, "views channels height width"],
    t: float,
    condition: Condition,
    camera: Camera,
    guidance: float,
) -> Latents:
    x0 = prior.denoise(z, t, condition, camera, guidance=guidance, rescale=0.0)
    return eps_from_x0(z, x0, alpha_bar_at(prior.alphas_cumprod, t))
