"""What every score distillation returns: a loss whose gradient is the paper's, and what a report wants to know.

The networks are never differentiated. A guidance computes the gradient G with respect to the latents of the rendering,
and `pull` packs it into the surrogate  <sg[G], latents>,  whose gradient is exactly G. Summed over everything: divide
the loss by the number of views for what threestudio does, leave it for LucidDreamer and GE3D.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import BadInput, NonFinite
from maquette.priors.protocol import Latents

Weighting = Literal["variance", "uniform", "fantasia3d"]


@dataclass(frozen=True)
class Distillation:
    """One push on the latents of a rendering. Descending `loss` moves them against `gradient`."""

    loss: Float[Tensor, ""]  # only its gradient means something; its value does not fall
    gradient: Latents  # of the loss with respect to the latents; constant
    clean: Latents  # the clean latents that the prior would rather see, for previews; constant
    t: float  # the noise level, in [0, 1]; of several, the farthest
    nodes: tuple[float, ...] = ()  # the times of a trajectory, rising
    residuals: tuple[Latents, ...] = ()  # one for each pair that was compared, fine to coarse, without weights

    @property
    def gradient_norm(self) -> float:
        """The Euclidean norm over everything: what a curve of a report shows."""
        return self.gradient.norm().item()


def pull(
    latents: Latents,
    gradient: Latents,
    *,
    clean: Latents,
    t: float,
    nodes: tuple[float, ...] = (),
    residuals: tuple[Latents, ...] = (),
) -> Distillation:
    """Pack a gradient. Raises `NonFinite` where the prior or the rendering gave no number."""
    gradient = gradient.detach()
    if not torch.isfinite(gradient).all():
        raise NonFinite(
            f"the distillation gradient at t = {t:.3f} is not finite",
            "look at the rendering first: a NaN there passes through the prior; else run the prior in float32",
        )
    return Distillation((gradient * latents).sum(), gradient, clean.detach(), t, nodes, residuals)


def weight_of(weighting: Weighting, alpha_bar: float) -> float:
    """w(t) in front of eps: 1 - alpha_bar (DreamFusion), 1, or sqrt(alpha_bar) (1 - alpha_bar) (Fantasia3D)."""
    if weighting == "uniform":
        return 1.0
    return (1 - alpha_bar) * (math.sqrt(alpha_bar) if weighting == "fantasia3d" else 1.0)


def noise_to_signal(alpha_bar: float) -> float:
    """sqrt((1 - alpha_bar) / alpha_bar), the standard deviation of the noise when the signal has unit scale.

    Raises `BadInput` at alpha_bar = 0, where some schedules end.
    """
    if alpha_bar == 0:
        raise BadInput("nothing of the signal is left at this noise level", "stay below t = 1; the papers end at 0.98")
    return math.sqrt((1 - alpha_bar) / alpha_bar)
