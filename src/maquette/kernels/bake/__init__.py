"""What color do pictures give to points on a surface, and what overlaps in an atlas? Knows tensors, not meshes.

`reference.py` is the specification in plain torch, `cpu.py` its fast twin.
"""

from typing import Literal

from jaxtyping import Float, Int32, Integer
from torch import Tensor


def blend(
    points: Float[Tensor, "points 3"],
    normals: Float[Tensor, "points 3"],
    *,
    pictures: Float[Tensor, "cameras height width 4"],
    depth: Float[Tensor, "cameras height width"],
    camera_from_world: Float[Tensor, "cameras 4 4"],
    focal_px: Float[Tensor, "cameras 2"],
    center_px: Float[Tensor, "cameras 2"],
    backend: Literal["auto", "reference", "cpu"] = "auto",
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, " points"]]:
    """The mean color of each point over the views that see it, and the sum of their weights (0: no view sees it).

    `pictures` are color and alpha, `depth` that of the surface along the camera axis (0: nothing there), both with
    pixel centres at +0.5; `normals` have unit length; all on the CPU in world units. A view sees a point that lies in
    its picture, faces it and is not behind the surface; it counts by how squarely it looks, by alpha, and little where
    a silhouette is near. "auto" is "cpu" (float32).
    """
    given = (points, normals, pictures, depth, camera_from_world, focal_px, center_px)
    if backend == "reference":
        from maquette.kernels.bake import reference

        return reference.blend(*given)

    import numpy as np
    import torch

    from maquette.core.threads import numba_as_torch
    from maquette.kernels.bake.cpu import blend_views

    numba_as_torch()

    color, total = blend_views(*(np.ascontiguousarray(tensor.detach().numpy(), np.float32) for tensor in given))
    return torch.from_numpy(color), torch.from_numpy(total)


def coverage(
    uv: Float[Tensor, "vertices 2"],
    faces: Integer[Tensor, "faces 3"],
    size: int,
    *,
    backend: Literal["auto", "reference", "cpu"] = "auto",
) -> Int32[Tensor, "size size"]:
    """How many faces hold each texel centre of a square atlas strictly inside; more than 1 is an overlap.

    Borders belong to nobody, so faces that share an edge never overlap. What lies outside of [0, 1] is not looked at.
    """
    import numpy as np
    import torch

    if backend == "reference":
        from maquette.kernels.bake import reference

        return reference.coverage(uv, faces, size)
    from maquette.kernels.bake.cpu import cover

    flat = np.ascontiguousarray(uv.detach().cpu().numpy(), np.float64)
    return torch.from_numpy(cover(flat * size, np.ascontiguousarray(faces.cpu().numpy(), np.int64), size))
