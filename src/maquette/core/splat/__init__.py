"""What drawing Gaussians and drawing surfels share: the rules of blending, the checks at the door, tiles and columns.

This package does not know what a splat is. `columns` and `tiles` are compiled on first use, see `maquette.core.lanes`.
"""

import math
from types import ModuleType
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput, MissingExtra, NonFinite, Unsupported

Backend = Literal["auto", "reference", "cpu", "cuda"]
ALPHA_CUT = 1 / 255
ALPHA_CAP = 0.99
STOP = 1e-4
"""A splat that would leave less transmittance than this ends its pixel and is not blended."""


def check_parameters(given: dict[str, Tensor]) -> None:
    """`BadInput` for parameters that mix devices or types, `NonFinite` for one that holds NaN or infinity."""
    kinds = {(tensor.device, tensor.dtype) for tensor in given.values()}
    if len(kinds) > 1:
        raise BadInput(f"parameters mix devices or types: {sorted(map(str, kinds))}", "move all of them with .to(...)")
    if not math.isfinite(sum(map(_total, given.values()))):  # one quick pass; only then look for the culprit
        for name, tensor in given.items():
            if not torch.isfinite(tensor).all():
                raise NonFinite(f"{name} holds NaN or infinity; expected finite numbers", "lower the learning rate")


def chosen(backend: Backend, means: Float[Tensor, "splats 3"]) -> Backend:
    """`auto` is cuda for CUDA tensors, the reference for float64 and cpu for float32."""
    if backend != "auto":
        return backend
    return "cuda" if means.is_cuda else "reference" if means.dtype == torch.float64 else "cpu"


def cameras_like(
    means: Tensor, camera_from_world: Tensor, focal_px: Tensor, center_px: Tensor, background: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The cameras, each with its background (one for all, or one each), on the device and in the type of `means`."""
    if background.ndim == 1:
        background = background.expand(len(camera_from_world), 3)
    camera = (camera_from_world, focal_px, center_px, background)
    return tuple(tensor.to(device=means.device, dtype=means.dtype) for tensor in camera)


def check_for_cpu(means: Tensor, *constants: Tensor) -> None:
    """`Unsupported` for what the kernels on the CPU do not do: other types than float32, gradients of `constants`."""
    if means.dtype != torch.float32 or means.is_cuda:
        raise Unsupported(
            f"the cpu backend got {means.dtype} on {means.device}", "backend='reference' takes any float type"
        )
    if any(tensor.requires_grad for tensor in constants):
        raise Unsupported("the cpu backend has no gradients of cameras and backgrounds", "use backend='reference'")


def gsplat_for(means: Tensor) -> ModuleType:
    """The package gsplat, which draws on CUDA; `MissingExtra` without it, `Unsupported` for tensors elsewhere."""
    try:
        import gsplat
    except ImportError as error:
        raise MissingExtra(
            "drawing on CUDA needs gsplat, which is not installed", "pip install maquette[cuda]"
        ) from error
    if not means.is_cuda:
        raise Unsupported(f"the cuda backend got tensors on {means.device}", "move them with .to('cuda'), or use 'cpu'")
    return gsplat


def intrinsics_of(
    focal_px: Float[Tensor, "cameras 2"], center_px: Float[Tensor, "cameras 2"]
) -> Float[Tensor, "cameras 3 3"]:
    """Pixels from directions in camera space."""
    intrinsics = torch.diag_embed(torch.nn.functional.pad(focal_px, (0, 1), value=1.0))
    intrinsics[:, :2, 2] = center_px
    return intrinsics


def _total(tensor: Tensor) -> float:
    """The sum, on the CPU by numpy: waking torch's threads for it costs far more where a machine has other work."""
    with np.errstate(all="ignore"):
        return float(tensor.detach().sum() if tensor.is_cuda else tensor.detach().numpy().sum())
