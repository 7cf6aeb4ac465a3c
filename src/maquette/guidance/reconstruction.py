"""Image-level losses between renders and target views (IM-3D, arXiv 2402.08682).

Targets made by a generator disagree slightly from view to view. A squared error over pixels averages them into blur;
these losses compare features, local structure and silhouettes instead. Nothing here knows what made either image.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli & Bovik 2003, fine to coarse
WINDOW, SIGMA_PX, C1, C2 = 11, 1.5, 0.01**2, 0.03**2


def perceptual(
    features_a: list[Float[Tensor, "images _ _ _"]],
    features_b: list[Float[Tensor, "images _ _ _"]],
    *,
    weights: list[Float[Tensor, " _"]] | None = None,
) -> Float[Tensor, " images"]:
    """The LPIPS distance (arXiv 1801.03924, eq. 1) of feature maps (images, channels, h, w), per image.

    At every place the channels are scaled to unit length, squared differences are summed over channels and averaged
    over places. `weights` (one vector of channels for each layer) gives LPIPS proper, a sum over layers; without them
    it is the mean over layers, 0 for equal maps and at most 4.
    """
    if len(features_a) != len(features_b):
        raise ValueError(f"{len(features_a)} maps against {len(features_b)}; expected features of the same layers")
    layers = []
    for i, (a, b) in enumerate(zip(features_a, features_b, strict=True)):
        squared = (_unit_channels(a) - _unit_channels(b)).square()
        if weights is not None:
            squared = squared * weights[i].to(squared)[:, None, None]
        layers.append(squared.sum(1).mean((1, 2)))
    total = torch.stack(layers).sum(0)
    return total if weights is not None else total / len(layers)


def ms_ssim(
    a: Float[Tensor, "images height width channels"], b: Float[Tensor, "images height width channels"]
) -> Float[Tensor, " images"]:
    """Multi-scale structural similarity of images in [0, 1], per image and averaged over channels: 1 for equal images.

    Contrast and structure at every scale, luminance only at the coarsest; an 11-pixel Gaussian window of sigma 1.5, no
    padding. Five scales need a side of 161 px: smaller images use as many as fit, with weights that sum to 1 again.
    """
    side = min(a.shape[1:3])
    if side < WINDOW:
        raise ValueError(f"images have a side of {side} px; expected at least {WINDOW}, the size of the window")
    scales = sum(side >= (WINDOW - 1) * 2**scale + 1 for scale in range(len(MS_SSIM_WEIGHTS)))
    x, y = a.movedim(-1, 1).contiguous(), b.movedim(-1, 1).contiguous()
    log_similarity = 0.0
    for scale in range(scales):
        if scale > 0:
            x, y = _halved(x), _halved(y)
        luminance, structure = _ssim_maps(x, y)
        term = (luminance * structure if scale == scales - 1 else structure).mean((2, 3))  # luminance once, at the end
        weight = MS_SSIM_WEIGHTS[scale] / sum(MS_SSIM_WEIGHTS[:scales])
        # A negative structure term counts as none; not quite 0, where the gradient of the power would be NaN.
        log_similarity = log_similarity + weight * term.clamp_min(1e-6).log()
    return log_similarity.exp().mean(1)


def mask_loss(
    alpha: Float[Tensor, "images height width"], mask: Float[Tensor, "images height width"]
) -> Float[Tensor, " images"]:
    """The mean squared difference of rendered and wanted coverage, per image (the paper does not give its form)."""
    return (alpha - mask).square().mean((1, 2))


def color_loss(
    a: Float[Tensor, "images height width 3"], b: Float[Tensor, "images height width 3"]
) -> Float[Tensor, " images"]:
    """The mean squared difference over pixels, per image: what IM-3D replaces (its table 2)."""
    return (a - b).square().mean((1, 2, 3))


def _unit_channels(x: Tensor) -> Tensor:
    return x / (x.square().sum(1, keepdim=True) + 1e-10).sqrt()


def _halved(x: Tensor) -> Tensor:
    """2 x 2 means; an odd side is first extended by its first row or column, so that 161 px hold five scales."""
    extended = F.pad(x, (x.shape[3] % 2, 0, x.shape[2] % 2, 0), mode="replicate")
    return F.avg_pool2d(extended, 2)


def _ssim_maps(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure of (images, channels, height, width), smaller by the window less one."""
    down, right = _blur_matrix(x.shape[2]).to(x), _blur_matrix(x.shape[3]).to(x).T
    # Two products with banded matrices are a separable convolution; on a CPU they are several times faster than conv2d
    # with one group for each channel. The target stands apart, because it needs no gradient as a rule.
    mean_y = down @ y @ right
    mean_x, squares, xy = (down @ torch.cat([x, x * x + y * y, x * y], dim=1) @ right).chunk(3, dim=1)
    product, means = mean_x * mean_y, mean_x.square() + mean_y.square()
    luminance = (2 * product + C1) / (means + C1)
    return luminance, (2 * (xy - product) + C2) / (squares - means + C2)


@lru_cache(maxsize=16)
def _blur_matrix(size: int) -> Float[Tensor, "inside size"]:
    """Row i holds the window at columns i to i + 10, float64."""
    taps = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    window = torch.exp(-taps.square() / (2 * SIGMA_PX**2))
    rows = torch.arange(size - WINDOW + 1)[:, None]
    matrix = torch.zeros(size - WINDOW + 1, size, dtype=torch.float64)
    return matrix.scatter(1, rows + torch.arange(WINDOW), (window / window.sum()).expand(len(rows), -1))
