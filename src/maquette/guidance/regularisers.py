"""What LucidDreamer and GE3D ask of a rendering besides likeness: few jumps of color and depth. Knows images only."""

import torch
from jaxtyping import Float
from torch import Tensor

FAR = 10.0
"""World units at which the background stands for the disparity (LucidDreamer)."""


def total_variation(images: Float[Tensor, "views height width channels"]) -> Float[Tensor, ""]:
    """Twice the mean squared difference of neighbours, down and across; a mean over views, as published."""
    down, across = images.diff(dim=1), images.diff(dim=2)
    return 2 * (down.square().mean() + across.square().mean())


def disparity(
    depth: Float[Tensor, "views height width"],
    alpha: Float[Tensor, "views height width"],
    focal_px: Float[Tensor, " views"],
) -> Float[Tensor, "views height width"]:
    """f / (D + 10 (1 - alpha)), scaled to [0, 1] between the farthest and the nearest point of the objects.

    `depth` is that of `Rendering`; D is its sum weighted by coverage, which is what LucidDreamer renders, and f the
    focal length in image widths. The extremes are constants, over all views at once. Without any solid pixel it is 0.
    """
    focal = focal_px[:, None, None] / depth.shape[2]
    value = focal / (depth * alpha + FAR * (1 - alpha) + 1e-5)
    solid = value.detach()[alpha.detach() >= 0.9]
    if len(solid) == 0:
        return torch.zeros_like(value)
    low, high = solid.amin(), solid.amax()
    return ((value - low) / (high - low).clamp_min(1e-5)).clamp(0, 1)
