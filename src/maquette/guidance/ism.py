"""Interval score matching (LucidDreamer, arXiv 2311.11284): noise from a deterministic inversion instead of a dice."""

import torch

from maquette.core import BadInput, Camera
from maquette.diffusion import add_noise, alpha_bar_at, level_of, time_of, trace, x0_from_eps
from maquette.guidance.distillation import Distillation, Latents, noise_to_signal, pull
from maquette.guidance.wording import Wordings, blank_eps, guided_eps
from maquette.priors import MultiviewPrior


def ism(
    latents: Latents,
    prior: MultiviewPrior,
    wordings: Wordings,
    camera: Camera,
    t: float,
    noise: Latents | None = None,
    *,
    interval: float = 0.05,
    stride: float = 0.2,
    strides: int = 5,
    scale: float = 7.5,
    strength: float = 0.1,
) -> Distillation:
    """G = strength sigma_bar_t (eps_hat(z_t) - eps_blank(z_s)), s = t - interval, z by blank DDIM inversion.

    The inversion is crude on purpose: `strides` of `stride`, the last shortened to end at s. It starts from latents
    with `noise` of the first level (tiny, unless t is large); with None the latents stand for that state as they are,
    which makes everything deterministic. The published code draws t from U(0.02, 0.5 + 0.48 warm-up). Evaluations: one
    for each interval of the path, and the guided ones. Raises `BadInput` where t leaves no room for an interval.
    """
    levels = inversion_levels(t, interval, stride, strides, len(prior.alphas_cumprod))
    nodes = tuple(time_of(level, len(prior.alphas_cumprod)) for level in levels)
    alpha_bar = alpha_bar_at(prior.alphas_cumprod, t)
    with torch.no_grad():
        start = latents if noise is None else add_noise(latents, noise, alpha_bar_at(prior.alphas_cumprod, nodes[0]))
        states, noises = trace(
            lambda z, t: blank_eps(prior, z, t, wordings, camera), start, nodes, prior.alphas_cumprod
        )
        eps = guided_eps(prior, states[-1], t, wordings, camera, scale)
        gradient = strength * noise_to_signal(alpha_bar) * (eps - noises[-1])
        clean = x0_from_eps(states[-1], eps, alpha_bar)
    return pull(latents, gradient, clean=clean, t=t, nodes=nodes, residuals=(eps - noises[-1],))


def inversion_levels(t: float, interval: float, stride: float, strides: int, noise_levels: int) -> list[int]:
    """The entries of the table that the inversion visits: a start, steps of `stride` up to s = t - interval, and t."""
    last, step = level_of(t, noise_levels), round(stride * noise_levels)
    s = max(last - round(interval * noise_levels), 0)
    if not 0 <= s < last or step < 1:
        raise BadInput(
            f"t = {t} with interval {interval} and stride {stride} leaves no step of {noise_levels} noise levels",
            "give a larger t, or an interval and a stride of at least one level",
        )
    return [*range(max(s - strides * step, 0), s, step), s, last]
