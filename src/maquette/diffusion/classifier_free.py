"""Classifier-free guidance: push a prediction away from what the prior would say without the words."""

import torch
from jaxtyping import Float
from torch import Tensor


def guide(
    conditional: Float[Tensor, "views *rest"],
    unconditional: Float[Tensor, "views *rest"],
    scale: float | Float[Tensor, "..."],
    *,
    rescale: float = 0.0,
) -> Float[Tensor, "views *rest"]:
    """u + scale (c - u) (Ho & Salimans, arXiv 2207.12598), in x0, eps or v alike, because the map among them is affine.

    A scale of several numbers broadcasts against the predictions. A large one also raises the contrast. `rescale` in
    [0, 1] pulls the standard deviation over the whole set of views back to that of `conditional` (Lin et al., arXiv
    2305.08891, eq. 15 and 16; meant for x0 here), fully at 1. The set is measured as one, since a rescaling per view
    would make the views disagree in brightness.
    """
    guided = unconditional + scale * (conditional - unconditional)
    if rescale == 0:
        return guided
    matched = guided * (conditional.std() / guided.std().clamp_min(torch.finfo(guided.dtype).tiny))
    return rescale * matched + (1 - rescale) * guided
