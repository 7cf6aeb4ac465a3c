"""What image encoders want of a picture: their size, and CLIP's colors. This module knows no prior."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def clip_pixels(images: Float[Tensor, "n size size 3"]) -> Float[Tensor, "n 3 size size"]:
    """Centred and scaled as every CLIP of OpenAI's and LAION's expects; the size is the caller's affair."""
    mean, std = images.new_tensor(CLIP_MEAN), images.new_tensor(CLIP_STD)
    return ((images - mean) / std).movedim(-1, 1)


def blurred_resize(images: Float[Tensor, "n height width 3"], side: int) -> Float[Tensor, "n {side} {side} 3"]:
    """A Gaussian as wide as the shrinking asks for, then bicubic between corners: how SVD's CLIP saw its training.

    The widths are scikit-image's (half of the factor less one), the kernel reaches two of them to each side.
    """
    pixels = images.movedim(-1, 1) * 2 - 1
    for axis in (-1, -2):
        sigma = max((pixels.shape[axis] / side - 1) / 2, 0.001)
        reach = int(max(4 * sigma, 3)) // 2
        offsets = torch.arange(-reach, reach + 1, dtype=pixels.dtype, device=pixels.device)
        kernel = torch.exp(-offsets.square() / (2 * sigma**2))
        kernel = (kernel / kernel.sum()).view((1, 1, 1, -1) if axis == -1 else (1, 1, -1, 1)).expand(3, -1, -1, -1)
        margin = (reach, reach, 0, 0) if axis == -1 else (0, 0, reach, reach)
        pixels = functional.conv2d(functional.pad(pixels, margin, mode="reflect"), kernel, groups=3)
    resized = functional.interpolate(pixels, (side, side), mode="bicubic", align_corners=True)
    return resized.movedim(1, -1) / 2 + 0.5


def resized(images: Float[Tensor, "n height width 3"], side: int) -> Float[Tensor, "n {side} {side} 3"]:
    """Bicubic, smoothed before it shrinks, as Pillow does it; unchanged where the size is right already."""
    if images.shape[1:3] == (side, side):
        return images
    pixels = functional.interpolate(images.movedim(-1, 1), (side, side), mode="bicubic", antialias=True)
    return pixels.clamp(0, 1).movedim(1, -1)
