"""Views that say where they are: color, normal, ray and surface point of every pixel (GaussianAnything, 3.1).

Knows pictures and cameras; what reads them is a network's affair.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.errors import BadInput

CHANNELS = 15
"""color in [-1, 1], normal, o x d, d, surface point."""


def surface_points(
    depth: Float[Tensor, "views height width"], camera: Camera
) -> tuple[Float[Tensor, "views height width 3"], Bool[Tensor, "views height width"]]:
    """World positions of what the pixels see, zero where `depth` (along the camera's axis) is; and where they do."""
    if tuple(depth.shape) != (len(camera), camera.height, camera.width):
        raise BadInput(
            f"depth covers {tuple(depth.shape)}; the cameras are {(len(camera), camera.height, camera.width)}",
            "pass one depth map a camera",
        )
    origins, directions = camera.rays()
    axis = camera.world_from_camera[:, None, None, :3, 2]
    points = origins + directions * (depth / (directions * axis).sum(-1))[..., None]
    is_seen = depth > 0
    return torch.where(is_seen[..., None], points, 0.0), is_seen


def plucker(camera: Camera) -> Float[Tensor, "views height width 6"]:
    """o x d and the unit d of the rays through all pixels: a line, wherever on it the camera stands."""
    origins, directions = camera.rays()
    return torch.cat([torch.linalg.cross(origins, directions), directions], dim=-1)


def pack_views(
    color: Float[Tensor, "views height width 3"],
    depth: Float[Tensor, "views height width"],
    normal: Float[Tensor, "views height width 3"],
    camera: Camera,
) -> Float[Tensor, "views 15 height width"]:
    """Channels first: color (sRGB in [0, 1] on white, mapped to [-1, 1]), world normal, Plücker ray, surface point."""
    points, _ = surface_points(depth, camera)
    return torch.cat([color * 2 - 1, normal, plucker(camera), points], dim=-1).movedim(-1, 1).contiguous()
