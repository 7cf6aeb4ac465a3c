"""Score distillation sampling (DreamFusion, arXiv 2209.14988, eq. 3)."""

import torch

from maquette.core import Camera
from maquette.diffusion import add_noise, alpha_bar_at, x0_from_eps
from maquette.guidance.distillation import Distillation, Latents, Weighting, pull, weight_of
from maquette.guidance.wording import Wordings, guided_eps
from maquette.priors import MultiviewPrior


def sds(
    latents: Latents,
    prior: MultiviewPrior,
    wordings: Wordings,
    camera: Camera,
    t: float,
    noise: Latents,
    *,
    scale: float = 100.0,
    weighting: Weighting = "variance",
) -> Distillation:
    """G = w(t) (eps_hat(z_t) - noise) at z_t = sqrt(alpha_bar) latents + sqrt(1 - alpha_bar) noise.

    One noise level t in (0, 1] for all views; the paper draws it from U(0.02, 0.98). `scale` is the classifier-free
    scale in  u + scale (c - u);  DreamFusion writes 1 + w for it. `weighting` is w(t), see `weight_of`.
    """
    alpha_bar = alpha_bar_at(prior.alphas_cumprod, t)
    with torch.no_grad():
        z = add_noise(latents, noise, alpha_bar)
        eps = guided_eps(prior, z, t, wordings, camera, scale)
        gradient = weight_of(weighting, alpha_bar) * (eps - noise)
        clean = x0_from_eps(z, eps, alpha_bar)
    return pull(latents, gradient, clean=clean, t=t)
