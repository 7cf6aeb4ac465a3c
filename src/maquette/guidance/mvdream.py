"""The x0 form of MVDream (arXiv 2308.16512): pull renderings to the clean views that a multi-view prior predicts."""

import torch

from maquette.core import Camera
from maquette.diffusion import add_noise, alpha_bar_at, guide, x0_from_eps
from maquette.guidance.distillation import Distillation, Latents, pull
from maquette.guidance.wording import Wording, conditional_eps, negative_eps
from maquette.priors import MultiviewPrior

NEGATIVE = (
    "ugly, bad anatomy, blurry, pixelated obscure, unnatural colors, poor lighting, dull, and unclear, cropped, "
    "lowres, low quality, artifacts, duplicate, morbid, mutilated, poorly drawn face, "
    "deformed, dehydrated, bad proportions"
)


def mvdream(
    latents: Latents,
    prior: MultiviewPrior,
    wording: Wording,
    camera: Camera,
    t: float,
    noise: Latents,
    *,
    scale: float = 50.0,
    rescale: float = 0.5,
) -> Distillation:
    """G = latents - x0_hat for one set of views that share t, elevation and field of view (four, 90 degrees apart).

    x0_hat is guided by `scale` and then partly, by `rescale`, brought back to the standard deviation of the plain
    conditional prediction over the whole set. Without that it is `sds` with weight sqrt((1 - alpha_bar) / alpha_bar).
    The words say no view, since the cameras do. The paper draws t from `maquette.diffusion.annealing.MVDREAM`.
    """
    alpha_bar = alpha_bar_at(prior.alphas_cumprod, t)
    with torch.no_grad():
        z = add_noise(latents, noise, alpha_bar)
        said, unsaid = (
            x0_from_eps(z, predict(prior, z, t, wording, camera), alpha_bar)
            for predict in (conditional_eps, negative_eps)
        )
        clean = guide(said, unsaid, scale, rescale=rescale)
    return pull(latents, latents - clean, clean=clean, t=t)
