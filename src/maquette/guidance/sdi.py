"""Score distillation via inversion (arXiv 2405.15891): DDIM on clean images, with noise from inverting the words."""

import math

import torch

from maquette.core import Camera
from maquette.diffusion import alpha_bar_at, level_of, time_of, trace, x0_from_eps
from maquette.guidance.distillation import Distillation, Latents, pull
from maquette.guidance.wording import Wordings, guided_eps
from maquette.priors import MultiviewPrior


def sdi(
    latents: Latents,
    prior: MultiviewPrior,
    wordings: Wordings,
    camera: Camera,
    t: float,
    generator: torch.Generator | None,
    *,
    scale: float = 7.5,
    inversion_scale: float = -7.5,
    inversion_steps: int = 10,
    entropy: float = 0.3,
) -> Distillation:
    """G = latents - x0_hat(z_t), where z_t is the guided DDIM inversion of the latents (eq. 10).

    `inversion_steps` is their number for the whole table. Two random things, both left out with `generator` None: the
    inversion goes beyond t by less than a step, while the prior is still told t; and every step adds `entropy` times
    the posterior standard deviation of DDIM. As in the published code t is not drawn but falls (`linear_time` from 0.98
    to 0.25), and the loss there is the mean of G^2 / 2 over everything, once more divided by the number of views.
    """
    table, noise_levels = prior.alphas_cumprod, len(prior.alphas_cumprod)
    last, step = level_of(t, noise_levels), max(noise_levels // inversion_steps, 1)
    beyond = 0 if generator is None else int(torch.randint(step, (), generator=generator))
    levels = [*range(0, last, step), min(last + beyond, noise_levels - 1)]
    nodes = [time_of(level, noise_levels) for level in levels]
    with torch.no_grad():
        z = latents
        for interval in zip(nodes[:-1], nodes[1:], strict=True):
            _, z = trace(lambda z, t: guided_eps(prior, z, t, wordings, camera, inversion_scale), z, interval, table)[0]
            if generator is not None:
                noise = torch.randn(z.shape, generator=generator, dtype=z.dtype).to(z.device)
                z = z + entropy * posterior_std(*(alpha_bar_at(table, time) for time in interval)) * noise
        eps = guided_eps(prior, z, t, wordings, camera, scale)
        clean = x0_from_eps(z, eps, alpha_bar_at(table, t))
    return pull(latents, latents - clean, clean=clean, t=t, nodes=tuple(nodes))


def posterior_std(alpha_bar_less: float, alpha_bar_more: float) -> float:
    """The standard deviation of the less noisy state given the more noisy and the clean one (DDPM; DDIM's eta = 1)."""
    return math.sqrt((1 - alpha_bar_less) / (1 - alpha_bar_more) * (1 - alpha_bar_more / alpha_bar_less))
