"""GE3D (arXiv 2412.05929): every step is an edit of the rendering in 2D, compared along its whole trajectory.

The latents are noised along DDIM without words and denoised along the same nodes with words; each latent of the first
trajectory is pulled to its counterpart on the second, coarse pairs early in the run and fine ones late. Numbers and the
places where the published code differs from the paper stand at `balancing`, `ge3d` and `Nodes` (in nodes.py).
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch

from maquette.core import BadInput, Camera
from maquette.diffusion import add_noise, alpha_bar_at, trace
from maquette.guidance.distillation import Distillation, Latents, pull
from maquette.guidance.wording import Wordings, blank_eps, guided_eps, negative_eps
from maquette.priors import MultiviewPrior

NEGATIVE = "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, low-resolution."


def balancing(step: int, steps: int, *, pairs: int = 6, width: float = 1000.0) -> tuple[float, ...]:
    """The dynamic balancing coefficients of one step (eq. 9 and 10), fine to coarse; they sum to 1.

    Gaussians over the run with peaks at equal intervals: the coarsest at step 0, the finest at the end. `width` is
    their standard deviation in steps, a third of the run in the published configurations: scale it with `steps`. The
    published code spreads `steps` + 1 samples over [0, steps + 1], and so do we.
    """
    length = steps + 1
    place = step * length / (length - 1)
    peaks = [(pairs - 1 - i) / (pairs - 1) * length for i in range(pairs)] if pairs > 1 else [0.0]
    logs = [-((place - peak) ** 2) / (2 * width**2) for peak in peaks]
    weights = [math.exp(log - max(logs)) for log in logs]  # a narrow width underflows without the maximum
    return tuple(weight / sum(weights) for weight in weights)


def ge3d(
    latents: Latents,
    prior: MultiviewPrior,
    wordings: Wordings,
    camera: Camera,
    nodes: Sequence[float],
    weights: Sequence[float],
    noise: Latents | None = None,
    *,
    scale: float = 7.5,
    strength: float = 0.1,
    inversion: Literal["blank", "negative"] = "blank",
    jacobian: Literal["identity", "sqrt_alpha"] = "identity",
) -> Distillation:
    """G = strength sum_i w_i r_i, r_i = z(t_i) - z~(t_i) for all nodes but the last, where both trajectories meet.

    `nodes` come from `Nodes.sample` and `weights` from `balancing`; weights of pairs that the nodes do not reach are
    dropped, not shared out. As published, r_0 compares the latents themselves, and not their slightly noised state;
    with `noise` None they are that state. `inversion` chooses what is said on the way up: nothing (paper) or the
    negative text (code). `jacobian` "sqrt_alpha" is the exact derivative of the squared residuals (eq. 11) for constant
    predictions, 2 sqrt(alpha_bar_i / alpha_bar_0) r_i; the published code leaves the factor out.
    """
    if len(weights) < len(nodes) - 1:
        raise BadInput(f"{len(weights)} weights for {len(nodes) - 1} pairs", "give `balancing` as many pairs as jumps")
    there, back = _edit(latents, prior, wordings, camera, nodes, noise, scale, inversion)
    residuals = tuple(up - down for up, down in zip([latents.detach(), *there[1:-1]], back[:-1], strict=True))
    signal = [math.sqrt(alpha_bar_at(prior.alphas_cumprod, t)) for t in nodes]
    gradient = torch.zeros_like(residuals[0])
    for weight, residual, a in zip(weights, residuals, signal, strict=False):
        gradient += weight * (residual if jacobian == "identity" else 2 * a / signal[0] * residual)
    return pull(latents, strength * gradient, clean=back[0], t=nodes[-1], nodes=tuple(nodes), residuals=residuals)


def reconstruct(
    latents: Latents,
    prior: MultiviewPrior,
    wordings: Wordings,
    camera: Camera,
    nodes: Sequence[float],
    noise: Latents | None = None,
    *,
    scale: float = 7.5,
) -> Latents:
    """Pseudo ground truth for the reconstructive ending: the end of the denoising trajectory, to decode and fit."""
    return _edit(latents, prior, wordings, camera, nodes, noise, scale, "blank")[1][0]


@torch.no_grad()
def _edit(
    latents: Latents,
    prior: MultiviewPrior,
    wordings: Wordings,
    camera: Camera,
    nodes: Sequence[float],
    noise: Latents | None,
    scale: float,
    inversion: str,
) -> tuple[list[Latents], list[Latents]]:
    """Both trajectories, entry i at node i. One evaluation up and the guided ones down for each jump."""
    table = prior.alphas_cumprod
    unsaid = blank_eps if inversion == "blank" else negative_eps
    start = latents if noise is None else add_noise(latents, noise, alpha_bar_at(table, nodes[0]))
    there, _ = trace(lambda z, t: unsaid(prior, z, t, wordings, camera), start, nodes, table)
    back, _ = trace(lambda z, t: guided_eps(prior, z, t, wordings, camera, scale), there[-1], tuple(nodes)[::-1], table)
    return there, back[::-1]
