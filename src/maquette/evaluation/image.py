"""How far pictures are from other pictures. `maquette.guidance.ms_ssim` measures structure and is not repeated here."""

import torch
from jaxtyping import Float
from torch import Tensor


def psnr(
    a: Float[Tensor, "images height width channels"], b: Float[Tensor, "images height width channels"]
) -> Float[Tensor, " images"]:
    """Peak signal-to-noise ratio of images in [0, 1], per image, in dB; infinite for equal images."""
    return -10 * torch.log10((a.double() - b.double()).square().mean(dim=(1, 2, 3))).float()


def silhouette_iou(
    a: Float[Tensor, "images height width"], b: Float[Tensor, "images height width"], *, threshold: float = 0.5
) -> Float[Tensor, " images"]:
    """Intersection over union of the pixels with coverage above `threshold`, per image; 1 where both are empty."""
    inside_a, inside_b = a > threshold, b > threshold
    both = (inside_a & inside_b).sum(dim=(1, 2))
    either = (inside_a | inside_b).sum(dim=(1, 2))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)
