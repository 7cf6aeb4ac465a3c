"""Cutting an object out of its picture, without a network: what differs from the color of the border is the object.

Good for product photographs and renderings on a plain or smoothly shaded background, and says so when it is not.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.color import srgb_to_linear
from maquette.core.errors import BadInput

MIN_AREA, MAX_AREA = 0.005, 0.95  # fractions of the picture that an object may cover
_WORKING_SIDE = 512  # px; a matte needs no more, and is enlarged afterwards
_MAX_BORDER_SPREAD = 12.0  # Lab units (CIE76); a border rougher than this is no background
_NEXT = "give a picture with a transparent background, or an object on a plain background with room around it"


def matte(image: Float[Tensor, "height width channels"]) -> Float[Tensor, "height width"]:
    """The object's alpha in [0, 1], for an sRGB picture with 3 or 4 channels.

    A fourth channel is used as it is. Else a quadratic surface is fitted to the Lab colors of the border (a smoothly
    shaded background), and what lies away from it is the object: its largest connected component, its holes filled
    unless they are wide and show the background, and an edge as soft as the picture's.

    Raises BadInput when nothing, or everything, or only noise would be cut out.
    """
    if image.shape[-1] == 4:
        alpha = image[..., 3]
    else:
        height, width = image.shape[:2]
        shrink = min(1.0, _WORKING_SIDE / max(height, width))
        working = _resize(image, max(round(height * shrink), 1), max(round(width * shrink), 1))
        alpha = _resize(_from_border(working)[..., None], height, width)[..., 0].clamp(0, 1)
    area = float((alpha > 0.5).float().mean())
    if area < MIN_AREA:
        raise BadInput(f"the object covers {area:.1%} of the picture; nothing stands out from the background", _NEXT)
    if area > MAX_AREA:
        raise BadInput(f"the object covers {area:.1%} of the picture; no background is left around it", _NEXT)
    return alpha


def frame_subject(
    image: Float[Tensor, "height width channels"],
    alpha: Float[Tensor, "height width"],
    *,
    size: int = 128,
    fill: float = 0.8,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Float[Tensor, "{size} {size} 3"]:
    """The object in the middle of a square, its longer side `fill` of it, over `background` (sRGB).

    Scaling averages premultiplied color, so that the old background does not bleed in. Raises BadInput for an alpha
    that is nowhere above one half.
    """
    rows, columns = (alpha > 0.5).any(dim=1).nonzero()[:, 0], (alpha > 0.5).any(dim=0).nonzero()[:, 0]
    if len(rows) == 0:
        raise BadInput("the matte is empty; there is nothing to frame", _NEXT)
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    side = max(round(max(bottom - top, right - left) / fill), 1)
    top, left = round((top + bottom - side) / 2), round((left + right - side) / 2)
    premultiplied = torch.cat([image[..., :3] * alpha[..., None], alpha[..., None]], dim=-1)
    height, width = alpha.shape
    padding = (0, 0, -left, left + side - width, -top, top + side - height)  # negative cuts, positive adds nothingness
    square = torch.nn.functional.pad(premultiplied, padding)
    framed = _resize(square, size, size)
    paper = torch.tensor(background, dtype=framed.dtype, device=framed.device)
    return (framed[..., :3] + (1 - framed[..., 3:]) * paper).clamp(0, 1)


def _from_border(image: Float[Tensor, "height width 3"]) -> Float[Tensor, "height width"]:
    """The matte of a picture of at most `_WORKING_SIDE` px."""
    from scipy import ndimage

    lab = _lab(image).numpy().astype(np.float64)
    height, width = lab.shape[:2]
    y, x = np.mgrid[:height, :width]
    x, y = x / width - 0.5, y / height - 0.5
    surface = np.stack([np.ones((height, width)), x, y, x * x, x * y, y * y], axis=-1)
    ring = max(2, round(0.02 * max(height, width)))
    is_border = np.ones((height, width), bool)
    is_border[ring:-ring, ring:-ring] = False
    fitted, spread = _fit_background(surface[is_border], lab[is_border])
    if spread > _MAX_BORDER_SPREAD:
        raise BadInput("the border of the picture has no one color; the background is not plain", _NEXT)

    distance = np.linalg.norm(lab - surface @ fitted, axis=-1)
    distance = ndimage.gaussian_filter(distance, 0.7)  # a lone noisy pixel is no object
    noise = max(4.0, 3.0 * spread)
    # Where object and background mix, the share of the object is the distance over that of the object itself, which is
    # the largest one nearby. A fixed threshold would leave a halo around everything that contrasts well.
    of_object = ndimage.maximum_filter(distance, size=7)
    soft = ((distance - noise) / np.maximum(0.8 * of_object - noise, 0.5 * noise)).clip(0, 1)
    labels, count = ndimage.label(ndimage.binary_opening(soft > 0.5))
    if count == 0:
        return torch.zeros(height, width)
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    body = _without_small_holes(largest, distance < noise)
    # Soft only along the outline: full inside, nothing far from it, the measured share in between.
    inside, around = ndimage.binary_erosion(body, iterations=2), ndimage.binary_dilation(body, iterations=2)
    return torch.from_numpy(np.where(inside, 1.0, np.where(around, soft, 0.0)).astype(np.float32))


def _without_small_holes(body: np.ndarray, is_background: np.ndarray) -> np.ndarray:
    """Fills holes (highlights, labels), except large ones that show the background (the handle of a mug)."""
    from scipy import ndimage

    holes, _ = ndimage.label(ndimage.binary_fill_holes(body) & ~body)
    sizes = np.bincount(holes.ravel())
    shares = np.bincount(holes.ravel(), weights=is_background.ravel()) / np.maximum(sizes, 1)
    is_opening = (sizes > 0.02 * body.sum()) & (shares > 0.5)
    return body | ((holes > 0) & ~is_opening[holes])


def _fit_background(surface: np.ndarray, lab: np.ndarray) -> tuple[np.ndarray, float]:
    """A quadratic surface through the Lab colors of the border, and how far they lie from it (robust, Lab units).

    Starts from the most common color, so that an object which reaches over a part of the border does not pull at it.
    """
    cells, counts = np.unique(np.round(lab / 8).astype(np.int64), axis=0, return_counts=True)
    residual = np.linalg.norm(lab - 8 * cells[np.argmax(counts)], axis=-1)
    fitted = np.zeros((surface.shape[1], 3))
    for quantile in (0.5, 0.6, 0.7, 0.7):
        is_near = residual <= max(float(np.quantile(residual, quantile)), 4.0)
        fitted = np.linalg.lstsq(surface[is_near], lab[is_near], rcond=None)[0]
        residual = np.linalg.norm(lab - surface @ fitted, axis=-1)
    return fitted, float(np.quantile(residual, 0.6))


def _lab(image: Float[Tensor, "height width 3"]) -> Float[Tensor, "height width 3"]:
    """CIE 1976 L*a*b* (D65) of an sRGB picture: distances in it are about what the eye sees."""
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    white = image.new_tensor([0.95047, 1.0, 1.08883])
    xyz = srgb_to_linear(image) @ image.new_tensor(to_xyz).T / white
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp(min=1e-6) ** (1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return torch.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], dim=-1)


def _resize(
    image: Float[Tensor, "_ _ channels"], height: int, width: int
) -> Float[Tensor, "{height} {width} channels"]:
    """Bilinear, averaging where it shrinks."""
    if image.shape[:2] == (height, width):
        return image
    planes = image.permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(planes, size=(height, width), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0)
