"""Score Jacobian chaining (arXiv 2212.00774): the score of a variance-exploding process at the rendering."""

import torch

from maquette.core import Camera
from maquette.diffusion import add_noise, alpha_bar_at, x0_from_eps
from maquette.guidance.distillation import Distillation, Latents, pull
from maquette.guidance.wording import Wordings, guided_eps
from maquette.priors import MultiviewPrior


def sjc(
    latents: Latents,
    prior: MultiviewPrior,
    wordings: Wordings,
    camera: Camera,
    t: float,
    noise: Latents,
    *,
    scale: float = 100.0,
    variance_reduced: bool = True,
) -> Distillation:
    """G = -(D(y + sigma noise) - y) / sigma = eps_hat - noise, or -(D(z) - z) / sigma = eps_hat without the reduction.

    sigma is the noise-to-signal ratio of t, and y + sigma noise is the noisy latent of this prior over its signal,
    sqrt(alpha_bar). The paper draws t from `maquette.diffusion.annealing.SJC`. Without variance reduction the noise
    stays in the gradient and averages out over steps only.
    """
    alpha_bar = alpha_bar_at(prior.alphas_cumprod, t)
    with torch.no_grad():
        z = add_noise(latents, noise, alpha_bar)
        eps = guided_eps(prior, z, t, wordings, camera, scale)
        gradient = eps - noise if variance_reduced else eps
        clean = x0_from_eps(z, eps, alpha_bar)
    return pull(latents, gradient, clean=clean, t=t)
