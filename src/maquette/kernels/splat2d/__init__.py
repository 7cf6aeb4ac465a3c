"""Drawing surfels (2D Gaussians): one function, three backends that agree. Tensors only; no clouds, no optimisers."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.core.splat import Backend, cameras_like, check_parameters, chosen

__all__ = ["Rasterized", "rasterize"]


class Rasterized(NamedTuple):
    """Images of a batch of cameras. Depths are along the camera axis in world units, 0 where nothing is seen."""

    color: Float[Tensor, "cameras height width 3"]
    """The background included."""
    alpha: Float[Tensor, "cameras height width"]
    depth: Float[Tensor, "cameras height width"]
    """Expected: where the rays hit, weighted by coverage."""
    median_depth: Float[Tensor, "cameras height width"]
    """Of the last surfel that more than half of the light reaches; its gradient goes to that surfel alone."""
    normal: Float[Tensor, "cameras height width 3"]
    """World space, towards the camera, weighted by coverage: its length is at most alpha."""
    distortion: Float[Tensor, "cameras height width"]
    """sum over pairs of w_i w_j (m_i - m_j)^2, with m = 100 / 99.8 (1 - 0.2 / z): how thick the surface is."""


def rasterize(
    means: Float[Tensor, "surfels 3"],
    quats: Float[Tensor, "surfels 4"],
    scales: Float[Tensor, "surfels 2"],
    opacities: Float[Tensor, " surfels"],
    colors: Float[Tensor, "surfels 3"] | Float[Tensor, "cameras surfels 3"],
    *,
    camera_from_world: Float[Tensor, "cameras 4 4"],
    focal_px: Float[Tensor, "cameras 2"],
    center_px: Float[Tensor, "cameras 2"],
    height: int,
    width: int,
    background: Float[Tensor, " 3"] | Float[Tensor, "cameras 3"],
    backend: Backend = "auto",
) -> Rasterized:
    """Splat surfels into every camera with exact ray-plane hits (2DGS, Huang et al. 2024, arXiv 2403.17888).

    `quats` are wxyz of any length (zero: no rotation); their first two axes span the surfel, the third is its normal.
    `scales` are standard deviations along those two in world units, `opacities` in [0, 1]; `colors` are plain rgb, one
    set or one for each camera. Cameras are OpenCV with pixel centres at +0.5. Depth order is that of the centres, ties
    in row order. Rules: near plane 0.2, alpha below 1/255 dropped and capped at 0.99, a pixel ends before its
    transmittance falls below 1e-4, and a surfel smaller than a pixel is a dot of standard deviation sqrt(1/2) px.

    Gradients reach every argument that describes surfels, from all six images. Cameras and background are constants,
    except in the reference. `auto` takes cuda for CUDA tensors, the reference for float64 and cpu for float32. gsplat,
    behind cuda, takes depths of centres for the distortion, where the others take those of the hits.

    Raises NonFinite if a parameter holds NaN or infinity, BadInput if tensors disagree in shape, type or device,
    Unsupported and MissingExtra if the backend cannot do it.
    """
    given = {"means": means, "quats": quats, "scales": scales, "opacities": opacities, "colors": colors}
    if scales.ndim != 2 or scales.shape[1] != 2:
        raise BadInput(
            f"scales have shape {tuple(scales.shape)}; expected (surfels, 2)", "surfels are flat: give two of the three"
        )
    check_parameters(given)
    backend = chosen(backend, means)
    camera = cameras_like(means, camera_from_world, focal_px, center_px, background)
    if backend == "reference":
        return _reference(tuple(given.values()), camera, height, width)
    if backend == "cuda":
        from maquette.kernels.splat2d import cuda as twin
    else:
        from maquette.kernels.splat2d import cpu as twin
    return twin.rasterize(*given.values(), *camera, height, width)


def _reference(surfels: tuple[Tensor, ...], camera: tuple[Tensor, ...], height: int, width: int) -> Rasterized:
    from maquette.kernels.splat2d import reference

    *shapes, colors = surfels
    colors = colors.expand(len(camera[0]), len(shapes[0]), 3)
    views = []
    for pose, focal, center, behind, rgb in zip(*camera, colors, strict=True):
        view = {"camera_from_world": pose, "focal_px": focal, "center_px": center, "height": height, "width": width}
        images = reference.draw(*shapes, rgb, **view)
        views.append(images._replace(color=images.color + (1 - images.alpha)[..., None] * behind))
    return Rasterized(*(torch.stack(images) for images in zip(*views, strict=True)))
