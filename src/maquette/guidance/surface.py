"""What makes a cloud of surfels a surface (2DGS, arXiv 2403.17888, section 5). Knows images and cameras only."""

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.rotation import normalize


def depth_normals(
    depth: Float[Tensor, "cameras height width"], camera: Camera
) -> Float[Tensor, "cameras height width 3"]:
    """Unit normals, towards the camera, of the surface that a depth map shows (eq. 15): central differences of points.

    Zero on the border of the image, and where a neighbour has no depth. Differentiable in the depth.
    """
    origins, directions = camera.rays()
    axis = camera.world_from_camera[:, None, None, :3, 2]
    points = origins + directions * (depth / (directions * axis).sum(-1))[..., None]
    across = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    down = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    is_seen = depth > 0
    is_known = is_seen[:, 1:-1, 2:] & is_seen[:, 1:-1, :-2] & is_seen[:, 2:, 1:-1] & is_seen[:, :-2, 1:-1]
    # Where it is not known, a constant stands in, so that no gradient divides by a length of zero.
    turned = torch.where(is_known[..., None], torch.linalg.cross(down, across), -axis)
    normals = torch.where(is_known[..., None], normalize(turned), 0.0)
    return torch.nn.functional.pad(normals, (0, 0, 1, 1, 1, 1))


def normal_consistency(
    normal: Float[Tensor, "cameras height width 3"],
    alpha: Float[Tensor, "cameras height width"],
    depth: Float[Tensor, "cameras height width"],
    camera: Camera,
) -> Float[Tensor, ""]:
    """How far splats lean from the surface that their depths make: the mean over pixels of A (1 - n . N) (eq. 14).

    `normal` is that of a `Rendering`, weighted by coverage. As in the official code the coverage A itself is a
    constant; unlike there, pixels without a surface add 0 instead of 1, which changes no gradient.
    """
    surface, weight = depth_normals(depth, camera), alpha.detach()
    is_known = (surface.detach() != 0).any(-1)
    return torch.where(is_known, weight * (1 - (normal * surface).sum(-1)), 0.0).mean()
