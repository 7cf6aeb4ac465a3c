"""What a rendering goes through before a prior sees it, and what is asked of it besides: named terms with weights."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import Camera
from maquette.guidance.regularisers import disparity, total_variation
from maquette.render import Rendering, random_color, render_gaussians
from maquette.representations.gaussians import GaussianCloud


@dataclass(frozen=True)
class Variation:
    """Random changes of a rendering before the prior sees it; none by default."""

    background: float = 0.0
    """Probability of a background that is not white: half of those have a random color, half are black. Keep it at 0
    for priors that know coverage, whose pictures are on white."""
    scale_noise: float = 0.0
    """Standard deviation of noise on the scales of the Gaussians, relative to each (GE3D: sqrt(0.2) / 4)."""
    flip: float = 0.0
    """Probability of mirroring all views of the step. Keep it at 0 for priors that are told the cameras."""


@dataclass(frozen=True)
class Regularisers:
    """Weights of what is added to the distillation; 0 leaves a term out."""

    color_variation: float = 0.0
    """Total variation of the colors (LucidDreamer and GE3D: 1)."""
    disparity_variation: float = 0.0
    """Total variation of the disparity (LucidDreamer and GE3D: 1)."""
    scales: float = 0.0
    """The mean standard deviation of the Gaussians (LucidDreamer and GE3D: 1)."""
    sparsity: float = 0.0
    """The mean of sqrt(coverage^2 + 0.01) (DreamFusion; GaussianDreamer: 1)."""


def varied(
    variation: Variation, cloud: GaussianCloud, camera: Camera, generator: torch.Generator
) -> tuple[Rendering, Float[Tensor, "views height width 4"]]:
    """The rendering of the step with a probe, and what the prior gets to see of it: color and coverage."""
    background = cloud.means.new_ones(3)
    if torch.rand((), generator=generator) < variation.background:
        is_colored = torch.rand((), generator=generator) < 0.5
        background = random_color(generator).to(background) if is_colored else torch.zeros_like(background)
    if variation.scale_noise > 0:
        factor = 1 + variation.scale_noise * torch.randn(cloud.log_scales.shape, generator=generator).to(cloud.means)
        cloud = replace(cloud, log_scales=cloud.log_scales + factor.clamp_min(1e-2).log())
    seen = render_gaussians(cloud, camera, background=background, probe=True)
    images = torch.cat([seen.color, seen.alpha[..., None]], dim=-1)
    if torch.rand((), generator=generator) < variation.flip:
        images = images.flip(2)
    return seen, images


def regularisation(
    weights: Regularisers, cloud: GaussianCloud, seen: Rendering, camera: Camera
) -> Float[Tensor, ""] | float:
    """The weighted sum; a term with weight 0 costs nothing."""
    total = 0.0
    if weights.color_variation > 0:
        total = total + weights.color_variation * total_variation(seen.color)
    if weights.disparity_variation > 0:
        near = disparity(seen.depth, seen.alpha, camera.focal_px[:, 0])
        total = total + weights.disparity_variation * total_variation(near[..., None])
    if weights.scales > 0:
        total = total + weights.scales * cloud.scales.mean()
    if weights.sparsity > 0:
        total = total + weights.sparsity * (seen.alpha.square() + 0.01).sqrt().mean()
    return total
