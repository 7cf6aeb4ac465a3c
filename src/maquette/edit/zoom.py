"""Cameras around a part or a scene, near enough to fill the picture. Knows neither prompts nor what changes there."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import Camera
from maquette.core.rotation import normalize
from maquette.representations import GaussianCloud

FILL = 0.7
"""Share of half the picture that the ball around a part covers."""


@dataclass(frozen=True)
class Ball:
    """Where a part is, in world units."""

    center: Float[Tensor, " 3"]
    radius: float


def around(cloud: GaussianCloud) -> Ball:
    """The median of the centres; the distance that 95 % of them keep, and what a Gaussian reaches beyond its centre.

    A few stray rows neither move the ball nor enlarge it. The cloud must have rows.
    """
    means = cloud.means.detach().double()
    center = means.median(dim=0).values
    away = torch.linalg.vector_norm(means - center, dim=-1).sort().values
    reach = 2 * cloud.scales.detach().double().amax(dim=-1).median()
    radius = float(away[math.ceil(0.95 * len(away)) - 1] + reach)
    return Ball(center.float(), radius)


def zoomed(orbit: Camera, ball: Ball, *, fill: float = FILL) -> Camera:
    """The cameras of an orbit about the origin, moved to the ball: its outline covers `fill` of half the height.

    Directions and focal lengths stay: what fills the picture is seen as the orbit would see a whole object
    (Interactive3D, section 3.2, zooms in for its interactive loss, and gives no numbers).
    """
    slope = fill * orbit.height / (2 * orbit.focal_px[:, 1])  # tangent of the angle under which the outline is seen
    distance = ball.radius * (1 + 1 / slope**2).sqrt()
    pose = orbit.world_from_camera.clone()
    pose[:, :3, 3] = ball.center.to(pose) + normalize(orbit.position) * distance[:, None]
    return replace(orbit, world_from_camera=pose)
