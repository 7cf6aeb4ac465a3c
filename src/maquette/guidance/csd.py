"""Classifier score distillation (arXiv 2310.19415): only what the words add, without any noise to subtract."""

import torch

from maquette.core import Camera
from maquette.diffusion import add_noise, alpha_bar_at, perp_neg, x0_from_eps
from maquette.guidance.distillation import Distillation, Latents, Weighting, pull, weight_of
from maquette.guidance.wording import Wording, Wordings, blank_eps, conditional_eps, each_view, negative_eps
from maquette.priors import MultiviewPrior

NEGATIVE = "oversaturated color, ugly, tiling, low quality, noisy"


def csd(
    latents: Latents,
    prior: MultiviewPrior,
    wordings: Wordings,
    camera: Camera,
    t: float,
    noise: Latents,
    *,
    negative: float = 0.0,
    blank: float = -1.0,
    perpendicular: float = 3.0,
    weighting: Weighting = "variance",
) -> Distillation:
    """G = w(t) (eps_y + negative eps_n + blank eps_blank), at a random noise: the limit of `sds` for a large scale.

    `negative` and `blank` are numbers <= 0 that should sum to -1; the published schedules move them from one to the
    other. A prediction whose number is 0 is not evaluated. With texts to keep away from, `perpendicular` times the
    Perp-Neg term is added. Two laws of equal width make a constant push and no fixed point: stop in time.
    """
    alpha_bar = alpha_bar_at(prior.alphas_cumprod, t)

    def score(z: Latents, words: Wording, camera: Camera) -> Latents:
        said = conditional_eps(prior, z, t, words, camera)
        total = said
        unsaid = blank_eps(prior, z, t, words, camera) if blank or words.against else None
        if blank:
            total = total + blank * unsaid
        if negative:
            total = total + negative * negative_eps(prior, z, t, words, camera)
        if words.against:
            against = [conditional_eps(prior, z, t, Wording(text), camera) for text in words.against]
            total = total + perpendicular * (perp_neg(unsaid, said, against, words.weights, 1.0) - said)
        return total

    with torch.no_grad():
        z = add_noise(latents, noise, alpha_bar)
        total = each_view(score, z, wordings, camera)
        clean = x0_from_eps(z, total + noise, alpha_bar)
    return pull(latents, weight_of(weighting, alpha_bar) * total, clean=clean, t=t)
