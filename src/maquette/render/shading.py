"""Light: from albedo, normals and a lamp to color, as distillation from images needs it. Works on pixels or samples.

This module does not know what the surface is. Albedo and color are sRGB, blended as they are, like everything here.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core.camera import Camera
from maquette.core.rotation import normalize

LAMP_DISTANCE = (0.8, 1.5)
"""World units from the origin between which lamps are drawn (DreamFusion, Magic3D)."""


def lambertian(
    albedo: Float[Tensor, "*points 3"],
    normals: Float[Tensor, "*points 3"],
    points: Float[Tensor, "*points 3"],
    lamp: Float[Tensor, "*#points 3"],
    *,
    ambient: float,
    diffuse: float,
) -> Float[Tensor, "*points 3"]:
    """albedo (ambient + diffuse max(0, n . l)), l from the point towards the lamp (DreamFusion, eq. 7).

    Normals of length below 1 count by their direction; where there is none, only the ambient light is seen.
    """
    towards = normalize(lamp - points)
    cosine = (normalize(normals) * towards).sum(-1, keepdim=True).clamp(min=0)
    return albedo * (ambient + diffuse * cosine)


def normal_colors(normals: Float[Tensor, "*points 3"]) -> Float[Tensor, "*points 3"]:
    """A unit normal as a color, (n + 1) / 2 in world axes: what Fantasia3D and ProlificDreamer show a prior."""
    return (normals + 1) / 2


@dataclass(frozen=True)
class Shading:
    """One way to show a surface; call it with the albedo, normals and points of pixels and the camera of each."""

    kind: Literal["albedo", "lambertian", "textureless", "normal"]
    """The color itself; lit; lit as if all of it were white; or the normal as a color."""
    lamps: Float[Tensor, "cameras 3"]
    """A point light for each camera, in world units."""
    ambient: float = 0.1
    diffuse: float = 0.9

    def __call__(
        self,
        albedo: Float[Tensor, "*points 3"],
        normals: Float[Tensor, "*points 3"],
        points: Float[Tensor, "*points 3"],
        view: Int[Tensor, "*#points"],
    ) -> Float[Tensor, "*points 3"]:
        """The color that each point shows to the camera number `view`."""
        if self.kind == "albedo":
            return albedo
        if self.kind == "normal":
            return normal_colors(normals)
        if self.kind == "textureless":
            albedo = torch.ones_like(albedo)
        lamps = self.lamps.to(points)[view]
        return lambertian(albedo, normals, points, lamps, ambient=self.ambient, diffuse=self.diffuse)


def sample_lamps(
    generator: torch.Generator, camera: Camera, *, around: Literal["camera", "axis"] = "camera"
) -> Float[Tensor, "cameras 3"]:
    """A lamp for each camera, 0.8 to 1.5 world units from the origin.

    "camera", DreamFusion's: the direction of the camera's position plus a normal draw. "axis", Magic3D's: 0 to 60
    degrees off the axis from the origin to the camera, so that what one sees is always lit.
    """
    position = camera.position.cpu()
    low, high = LAMP_DISTANCE
    u = torch.rand(len(position), 3, generator=generator).to(position)
    distance = low + (high - low) * u[:, :1]
    if around == "camera":
        return distance * normalize(position + torch.randn(len(position), 3, generator=generator).to(position))
    forward = normalize(position)
    right, down = (camera.world_from_camera[:, :3, column].cpu() for column in (0, 1))
    elevation = math.pi / 6 + math.pi / 3 * u[:, 1:2]  # above the plane that faces the camera
    azimuth = 2 * math.pi * u[:, 2:]
    ring = azimuth.cos() * right + azimuth.sin() * down
    return distance * normalize(elevation.sin() * forward + elevation.cos() * ring)


def sample_shading(
    generator: torch.Generator,
    camera: Camera,
    *,
    albedo: float = 0.25,
    textureless: float = 0.5,
    soft: bool = False,
    around: Literal["camera", "axis"] = "camera",
) -> Shading:
    """One way for the whole batch: with probability `albedo` plain, else `textureless` of the rest, else lambertian.

    threestudio's defaults. `soft` draws the share of diffuse light uniformly (Magic3D) instead of 0.9.
    """
    lamps = sample_lamps(generator, camera, around=around)
    first, second, share = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    diffuse = share if soft else 0.9
    kind = "albedo" if first < albedo else ("textureless" if second < textureless else "lambertian")
    return Shading(kind, lamps, ambient=1 - diffuse, diffuse=diffuse)
