"""Which triangle does each pixel see? Not differentiable. Knows tensors, not meshes or cameras.

`reference.py` is the specification in plain torch, `cpu.py` its fast twin. A uv atlas is rasterised by the same
function: it is the picture that a camera of unit focal length sees of the points (u, v, 1).
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
