"""Drawing 3D Gaussians: one function, three backends that agree. Tensors only; no clouds, no optimisers."""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput, NonFinite

__all__ = ["Rasterized", "rasterize"]

Backend = Literal["auto", "reference", "cpu", "cuda"]


class Rasterized(NamedTuple):
    """Images of a batch of cameras; `maquette.render.Rendering` says what each holds."""

    color: Float[Tensor, "cameras height width 3"]
    alpha: Float[Tensor, "cameras height width"]
    depth: Float[Tensor, "cameras height width"]
    normal: Float[Tensor, "cameras height width 3"] | None
    radii_px: Float[Tensor, "cameras gaussians"]


def rasterize(
    means: Float[Tensor, "gaussians 3"],
    quats: Float[Tensor, "gaussians 4"],
    scales: Float[Tensor, "gaussians 3"],
    opacities: Float[Tensor, " gaussians"],
    sh: Float[Tensor, "gaussians coefficients 3"],
    *,
    camera_from_world: Float[Tensor, "cameras 4 4"],
    focal_px: Float[Tensor, "cameras 2"],
    center_px: Float[Tensor, "cameras 2"],
    height: int,
    width: int,
    background: Float[Tensor, " 3"] | Float[Tensor, "cameras 3"],
    screen_probe: Float[Tensor, "cameras gaussians 2"] | None = None,
    normals: bool = False,
    backend: Backend = "auto",
) -> Rasterized:
    """Splat Gaussians into every camera (EWA, Zwicker et al. 2001; compositing of 3DGS, Kerbl et al. 2023).

    `quats` are wxyz of any length (zero: no rotation), `scales` standard deviations in world units, `opacities` in
    [0, 1]; cameras are OpenCV with pixel centres at +0.5. Depth order is that of the centres, ties in row order.
    Rules: covariance + 0.3 px^2, near plane 0.01, alpha below 1/255 dropped and capped at 0.99, a pixel ends before
    its transmittance falls below 1e-4. `normals` costs a second pass.

    Gradients reach every argument that describes Gaussians, and `screen_probe` (added to the means in pixels), from
    color, alpha, depth and normal. Cameras and background are constants, except in the reference.

    `auto` takes cuda for CUDA tensors, the reference for float64 and cpu for float32.

    Raises NonFinite if a parameter holds NaN or infinity, BadInput if tensors disagree in type or device,
    Unsupported and MissingExtra if the backend cannot do it.
    """
    given = {"means": means, "quats": quats, "scales": scales, "opacities": opacities, "sh": sh}
    kinds = {(tensor.device, tensor.dtype) for tensor in given.values()}
    if len(kinds) > 1:
        raise BadInput(f"parameters mix devices or types: {sorted(map(str, kinds))}", "move all of them with .to(...)")
    if not math.isfinite(sum(map(_total, given.values()))):  # one quick pass; only then look for the culprit
        for name, tensor in given.items():
            if not torch.isfinite(tensor).all():
                raise NonFinite(f"{name} holds NaN or infinity; expected finite numbers", "lower the learning rate")
    if backend == "auto":
        backend = "cuda" if means.is_cuda else "reference" if means.dtype == torch.float64 else "cpu"
    if background.ndim == 1:
        background = background.expand(len(camera_from_world), 3)
    camera = (camera_from_world, focal_px, center_px, background)
    camera = tuple(tensor.to(device=means.device, dtype=means.dtype) for tensor in camera)
    if backend == "reference":
        return _reference(tuple(given.values()), camera, height, width, screen_probe, normals)
    if backend == "cuda":
        from maquette.kernels.splat3d import cuda as twin
    else:
        from maquette.kernels.splat3d import cpu as twin
    return twin.rasterize(*given.values(), *camera, height, width, screen_probe, normals)


def _total(tensor: Tensor) -> float:
    """The sum, on the CPU by numpy: waking torch's threads for it costs far more where a machine has other work."""
    with np.errstate(all="ignore"):
        return float(tensor.detach().sum() if tensor.is_cuda else tensor.detach().numpy().sum())


def _reference(
    gaussians: tuple[Tensor, ...],
    camera: tuple[Tensor, ...],
    height: int,
    width: int,
    screen_probe: Float[Tensor, "cameras gaussians 2"] | None,
    normals: bool,
) -> Rasterized:
    from maquette.kernels.splat3d import reference

    views = []
    for index, (pose, focal, center, behind) in enumerate(zip(*camera, strict=True)):
        view = {"camera_from_world": pose, "focal_px": focal, "center_px": center, "height": height, "width": width}
        splats = reference.project(*gaussians, **view)
        if screen_probe is not None:
            splats = splats._replace(mean=splats.mean + screen_probe[index])
        color, alpha, depth, normal = reference.composite(splats, gaussians[3], height=height, width=width)
        views.append((color + (1 - alpha)[..., None] * behind, alpha, depth, normal, splats.half_size.amax(dim=-1)))
    color, alpha, depth, normal, radii = (torch.stack(images) for images in zip(*views, strict=True))
    return Rasterized(color, alpha, depth, normal if normals else None, radii)
