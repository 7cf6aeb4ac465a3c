"""Formation pattern sampling (DreamScene, arXiv 2404.03575): several noise levels of one trajectory in every step."""

from collections.abc import Sequence

import torch

from maquette.core import Camera
from maquette.diffusion import add_noise, alpha_bar_at, trace, x0_from_eps
from maquette.guidance.distillation import Distillation, Latents, noise_to_signal, pull
from maquette.guidance.nodes import Nodes
from maquette.guidance.wording import Wordings, blank_eps, guided_eps
from maquette.priors import MultiviewPrior

NODES = Nodes(count=4, jump_min=(175, 175), jump_max=(225, 225), farthest=(850, 400))
RECONSTRUCTION = Nodes(count=1, jump_min=(75, 75), jump_max=(150, 150), farthest=(200, 200))
NEGATIVE = (
    "oversaturated color, ugly, tiling, low quality, noisy, blurry, out of focus, low contrast, dull, low-resolution, "
    "oversaturation."
)


def fps(
    latents: Latents,
    prior: MultiviewPrior,
    wordings: Wordings,
    camera: Camera,
    nodes: Sequence[float],
    noise: Latents | None = None,
    *,
    scale: float = 7.5,
    strength: float = 0.1,
) -> Distillation:
    """G = strength / n sum_i sigma_bar_i (eps_hat - eps_blank)(z_i), z_1 ... z_n on one blank DDIM inversion.

    Guided and blank noise are predicted at the same z_i. `nodes` are n + 1 rising times from `NODES.sample`, the first
    the state that the latents are (with tiny `noise`, or as they stand). Evaluations: n + 1 blank, n guided.
    """
    table = prior.alphas_cumprod
    with torch.no_grad():
        start = latents if noise is None else add_noise(latents, noise, alpha_bar_at(table, nodes[0]))
        states, blanks = trace(lambda z, t: blank_eps(prior, z, t, wordings, camera), start, nodes, table)
        blanks.append(blank_eps(prior, states[-1], nodes[-1], wordings, camera))
        guided = [guided_eps(prior, z, t, wordings, camera, scale) for z, t in zip(states[1:], nodes[1:], strict=True)]
        residuals = tuple(eps - blank for eps, blank in zip(guided, blanks[1:], strict=True))
        gradient = torch.zeros_like(residuals[0])
        for t, residual in zip(nodes[1:], residuals, strict=True):
            gradient += noise_to_signal(alpha_bar_at(table, t)) / len(residuals) * residual
        clean = x0_from_eps(states[1], guided[0], alpha_bar_at(table, nodes[1]))
    return pull(latents, strength * gradient, clean=clean, t=nodes[-1], nodes=tuple(nodes), residuals=residuals)


@torch.no_grad()
def reconstruct_in_one_step(
    latents: Latents,
    prior: MultiviewPrior,
    wordings: Wordings,
    camera: Camera,
    nodes: Sequence[float],
    noise: Latents | None = None,
    *,
    scale: float = 7.5,
) -> Latents:
    """Pseudo ground truth for the reconstructive ending: the clean latents predicted at the first node after the start.

    Nodes come from `RECONSTRUCTION.sample`. `ge3d.reconstruct` walks back along all nodes instead.
    """
    start = latents if noise is None else add_noise(latents, noise, alpha_bar_at(prior.alphas_cumprod, nodes[0]))
    (_, z), _ = trace(
        lambda z, t: blank_eps(prior, z, t, wordings, camera), start, tuple(nodes)[:2], prior.alphas_cumprod
    )
    eps = guided_eps(prior, z, nodes[1], wordings, camera, scale)
    return x0_from_eps(z, eps, alpha_bar_at(prior.alphas_cumprod, nodes[1]))
