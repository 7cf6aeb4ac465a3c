"""How colorful and how sharp pictures of an object on white are. Only pixels count here, not what they show.

Both numbers compare pictures of one prompt, not of different things: a ripe tomato is more saturated than a stone.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LUMA = (0.2126, 0.7152, 0.0722)  # of sRGB primaries (ITU-R BT.709)


def saturation(
    color: Float[Tensor, "images height width 3"], alpha: Float[Tensor, "images height width"]
) -> Float[Tensor, " images"]:
    """Saturation of the object, (max - min) / max as in HSV, averaged over its coverage: 0 is gray, 1 a pure hue.

    `color` is sRGB over white. White is taken out first; what is left is the object's color times its coverage, and
    saturation does not depend on such a factor. Black counts as gray, and so does a picture of nothing.
    """
    own = (color.clamp(0, 1) - (1 - alpha)[..., None]).clamp(min=0)
    most, least = own.amax(dim=-1), own.amin(dim=-1)
    share = torch.where(most > 1e-4, (most - least) / most.clamp(min=1e-4), 0.0)
    return (share * alpha).sum(dim=(1, 2)) / alpha.sum(dim=(1, 2)).clamp(min=1e-6)


def sharpness(
    color: Float[Tensor, "images height width 3"], alpha: Float[Tensor, "images height width"]
) -> Float[Tensor, " images"]:
    """Root mean square of the Laplacian of the luma over the object and its rim, 0 for a plain picture.

    A modified form of the "variance of the Laplacian" (Pech-Pacheco et al. 2000), which blur can only lower. It grows
    with contrast, and speckle and holes count as detail: read it beside a picture. Needs one size for all pictures.
    """
    luma = color @ color.new_tensor(LUMA)
    padded = F.pad(luma[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    laplacian = (
        padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:] - 4 * luma
    )  # fmt: skip
    around = F.max_pool2d(alpha[:, None], 3, stride=1, padding=1)[:, 0]  # a pixel more, to have both sides of the rim
    return ((laplacian.square() * around).sum(dim=(1, 2)) / around.sum(dim=(1, 2)).clamp(min=1e-6)).sqrt()
