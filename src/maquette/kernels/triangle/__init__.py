"""Which triangle does each pixel see, what lies there, and how silhouettes cover pixels. Knows tensors, not meshes.

`rasterize` finds; it is not differentiable. `interpolate` and `antialias` are: the first in attributes and positions of
vertices within faces, the second in positions at silhouettes, where all that a shape shows of itself is found.
`reference.py` is the specification in plain torch, the `cpu` files its fast twins. A uv atlas is rasterised by the same
functions: it is the picture that a camera of unit focal length sees of the points (u, v, 1).
"""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int32, Integer
from torch import Tensor


def rasterize(
    vertices: Float[Tensor, "vertices 3"],
    faces: Integer[Tensor, "faces 3"],
    *,
    camera_from_world: Float[Tensor, "cameras 4 4"],
    focal_px: Float[Tensor, "cameras 2"],
    center_px: Float[Tensor, "cameras 2"],
    height: int,
    width: int,
    backend: Literal["auto", "reference", "cpu"] = "auto",
) -> tuple[
    Int32[Tensor, "cameras height width"],
    Float[Tensor, "cameras height width"],
    Float[Tensor, "cameras height width 3"],
]:
    """Face index (-1 where there is none), depth along the camera axis (0) and barycentric coordinates (0) per pixel.

    World units; OpenCV cameras; pixel centres at +0.5; both sides of a face are seen. A face with a vertex nearer than
    1e-3 is dropped whole. Tensors come back on the CPU; "auto" is "cpu", which computes in float32.
    """
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < len(vertices):
        raise ValueError(
            f"faces refer to vertices {int(faces.min())} to {int(faces.max())}; expected 0 to {len(vertices) - 1}"
        )
    if backend == "reference":
        from maquette.kernels.triangle import reference

        given = (vertices.cpu(), faces.cpu(), camera_from_world.cpu(), focal_px.cpu(), center_px.cpu())
        return reference.rasterize(*given, height, width)

    from maquette.core.threads import numba_as_torch
    from maquette.kernels.triangle.cpu import rasterize_batch

    numba_as_torch()

    def floats(values: Tensor) -> np.ndarray:
        return np.ascontiguousarray(values.detach().cpu().numpy(), np.float32)

    indices = np.ascontiguousarray(faces.cpu().numpy(), np.int32)
    index, depth, barycentric = rasterize_batch(
        floats(vertices), indices, floats(camera_from_world), floats(focal_px), floats(center_px), height, width
    )
    return torch.from_numpy(index), torch.from_numpy(depth), torch.from_numpy(barycentric)


def interpolate(
    attributes: Float[Tensor, "vertices channels"],
    vertices: Float[Tensor, "vertices 3"],
    faces: Integer[Tensor, "faces 3"],
    index: Int32[Tensor, "cameras height width"],
    *,
    camera_from_world: Float[Tensor, "cameras 4 4"],
    focal_px: Float[Tensor, "cameras 2"],
    center_px: Float[Tensor, "cameras 2"],
    backend: Literal["auto", "reference", "cpu"] = "auto",
) -> Float[Tensor, "cameras height width channels"]:
    """Attributes of the vertices at the point that each pixel sees, `index` being that of `rasterize`; 0 where none.

    Gradients reach the attributes and, through the place of the pixel's ray on the face, the vertices. So
    `interpolate(vertices, vertices, ...)` are the points seen, which stay on their rays when a face moves. Cameras are
    constants. "auto" is "cpu" on the CPU, in float32 or float64, else "reference".
    """
    given = (attributes, vertices, faces, index, camera_from_world, focal_px, center_px)
    if _chosen(backend, vertices) == "reference":
        from maquette.kernels.triangle import reference

        return reference.interpolate(*given)
    from maquette.kernels.triangle import cpu_interpolate

    return cpu_interpolate.interpolate(*given)


def antialias(
    images: Float[Tensor, "cameras height width channels"],
    vertices: Float[Tensor, "vertices 3"],
    faces: Integer[Tensor, "faces 3"],
    index: Int32[Tensor, "cameras height width"],
    depth: Float[Tensor, "cameras height width"],
    *,
    camera_from_world: Float[Tensor, "cameras 4 4"],
    focal_px: Float[Tensor, "cameras 2"],
    center_px: Float[Tensor, "cameras 2"],
    backend: Literal["auto", "reference", "cpu"] = "auto",
) -> Float[Tensor, "cameras height width channels"]:
    """Blend pixels along silhouettes as these cover them, so that pictures change smoothly when vertices move.

    After Laine et al. 2020 (arXiv 2011.03277, section 3.6), but found from the edges and not from the pixels: on a
    smooth surface the last face before its silhouette is a sliver that hardly any pixel sees. `index` and `depth` are
    those of `rasterize`. Gradients reach images and vertices. Faces must share vertices (seams of an atlas are rims).
    A silhouette within a pixel of the picture's border, and what is thinner than a pixel, are left as they are.
    """
    given = (images, vertices, faces, index, depth, camera_from_world, focal_px, center_px)
    if _chosen(backend, vertices) == "reference":
        from maquette.kernels.triangle import reference

        return reference.antialias(*given)
    from maquette.kernels.triangle import cpu_antialias

    return cpu_antialias.antialias(*given)


def _chosen(backend: str, vertices: Tensor) -> str:
    if backend != "auto":
        return backend
    return "cpu" if vertices.device.type == "cpu" and vertices.dtype in (torch.float32, torch.float64) else "reference"
