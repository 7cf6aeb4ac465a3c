"""Noise-free score distillation (arXiv 2310.17590): what the words add and what makes an image, without the noise."""

import torch

from maquette.core import BadInput, Camera
from maquette.diffusion import add_noise, alpha_bar_at, x0_from_eps
from maquette.guidance.distillation import Distillation, Latents, Weighting, pull, weight_of
from maquette.guidance.wording import Wording, Wordings, blank_eps, conditional_eps, each_view, negative_eps
from maquette.priors import MultiviewPrior

NEGATIVE = "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, dark, low-resolution, gloomy"


def nfsd(
    latents: Latents,
    prior: MultiviewPrior,
    wordings: Wordings,
    camera: Camera,
    t: float,
    noise: Latents,
    *,
    scale: float = 7.5,
    small: float = 0.2,
    weighting: Weighting = "variance",
) -> Distillation:
    """G = w(t) (d_D + scale (eps_y - eps_blank)), d_D = eps_blank up to t = `small`, eps_blank - eps_negative above.

    The negative text of the wording describes what is no good image; it stands for the noise that is dropped. Raises
    `BadInput` where it is needed and missing. The paper has no published code.
    """
    alpha_bar = alpha_bar_at(prior.alphas_cumprod, t)

    def score(z: Latents, words: Wording, camera: Camera) -> Latents:
        unsaid = blank_eps(prior, z, t, words, camera)
        total = unsaid + scale * (conditional_eps(prior, z, t, words, camera) - unsaid)
        if t <= small:
            return total
        if words.negative is None:
            raise BadInput(f"no negative text at t = {t:.3f}", "give the wording one; nfsd.NEGATIVE is the paper's")
        return total - negative_eps(prior, z, t, words, camera)

    with torch.no_grad():
        z = add_noise(latents, noise, alpha_bar)
        total = each_view(score, z, wordings, camera)
        clean = x0_from_eps(z, total + noise, alpha_bar)
    return pull(latents, weight_of(weighting, alpha_bar) * total, clean=clean, t=t)
