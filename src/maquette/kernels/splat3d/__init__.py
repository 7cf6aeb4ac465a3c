"""Drawing 3D Gaussians: one function, three backends that agree. Tensors only; no clouds, no optimisers."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.splat import Backend, cameras_like, check_parameters, chosen

__all__ = ["Rasterized", "rasterize"]


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
    check_parameters(given)
    backend = chosen(backend, means)
    camera = cameras_like(means, camera_from_world, focal_px, center_px, background)
    if backend == "reference":
        return _reference(tuple(given.values()), camera, height, width, screen_probe, normals)
    if backend == "cuda":
        from maquette.kernels.splat3d import cuda as twin
    else:
        from maquette.kernels.splat3d import cpu as twin
    return twin.rasterize(*given.values(), *camera, height, width, screen_probe, normals)


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
