"""Coverage of pictures from priors that paint an object on a plain background and give no alpha of their own."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

NEAR, FAR = 0.02, 0.12  # largest difference of a channel from the border color where coverage starts, and is full


def with_coverage(images: Float[Tensor, "views height width channel"]) -> Float[Tensor, "views height width 4"]:
    """Add coverage to sRGB pictures on a plain background, softly; pictures with a fourth channel return as they are.

    Background is what is near the median color of the border and connected to the border, so that parts of the object
    with that color stay. Pixels on the rim are as transparent as they are near it.
    """
    if images.shape[-1] == 4:
        return images
    from scipy import ndimage  # here, because most priors know their coverage

    rim = torch.cat([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], dim=1)
    distance = (images - rim.median(dim=1).values[:, None, None]).abs().amax(-1)
    soft = ((distance - NEAR) / (FAR - NEAR)).clamp(0, 1)
    masks = []
    for view in soft.cpu().numpy():
        labels, _ = ndimage.label(view < 0.5)
        at_border = np.setdiff1d(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]), 0)
        background = ndimage.binary_dilation(np.isin(labels, at_border), iterations=2)
        masks.append(torch.from_numpy(np.where(background, view, 1).astype(view.dtype)))
    return torch.cat([images, torch.stack(masks).to(images)[..., None]], dim=-1)
