"""What color do pictures give to points on a surface? Not differentiable. Knows tensors, not meshes or cameras.

`reference.py` is the specification in plain torch, `cpu.py` its fast twin.
"""

from typing import Literal

from jaxtyping import Float
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
