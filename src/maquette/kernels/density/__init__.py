"""How much Gaussian matter is at each point of a grid? Not differentiable. Knows tensors, not clouds.

`reference.py` is the specification in plain torch, `cpu.py` its fast twin.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.rotation import quat_to_matrix
from maquette.kernels.density.reference import CUT


def evaluate(
    means: Float[Tensor, "gaussians 3"],
    quats: Float[Tensor, "gaussians 4"],
    scales: Float[Tensor, "gaussians 3"],
    opacities: Float[Tensor, " gaussians"],
    *,
    origin: Float[Tensor, " 3"],
    step: float,
    shape: tuple[int, int, int],
    backend: Literal["auto", "reference", "cpu"] = "auto",
) -> Float[Tensor, "x y z"]:
    """The sum of opacity * exp(-d^2 / 2) over all Gaussians, d the Mahalanobis distance, at origin + step * (x, y, z).

    World units; `quats` are wxyz of any length, `scales` standard deviations, which must be positive. Where one
    Gaussian's own density is below 1e-3 it adds nothing. The grid comes back on the CPU; "auto" is "cpu" (float32).
    """
    means, quats, scales, opacities, origin = (
        tensor.detach().cpu() for tensor in (means, quats, scales, opacities, origin)
    )
    if backend == "reference":
        from maquette.kernels.density import reference

        return reference.evaluate(means, quats, scales, opacities, origin, step, shape)

    import numpy as np

    from maquette.core.threads import numba_as_torch
    from maquette.kernels.density.cpu import add_gaussians

    numba_as_torch()

    seen = opacities > CUT
    means, quats, scales, opacities = means[seen], quats[seen], scales[seen], opacities[seen]
    rotation = quat_to_matrix(quats)
    precisions = (rotation / scales[:, None].square()) @ rotation.mT
    reach = 2 * torch.log(opacities / CUT)
    half_size = (reach[:, None] * (rotation * scales[:, None]).square().sum(-1)).sqrt()
    gaussians = [tensor.float().contiguous().numpy() for tensor in (means, precisions, opacities, reach, half_size)]
    out = torch.zeros(shape)
    add_gaussians(*gaussians, origin.float().numpy(), np.float32(step), out.numpy())
    return out
