"""Lamps that change place from step to step, so that only a true shape looks right (DreamFusion, arXiv 2209.14988)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core.rotation import normalize
from maquette.training.descent import Moment


@dataclass(frozen=True)
class Lamp:
    """A point light for each camera, and light from everywhere."""

    position: Float[Tensor, "cameras 3"]
    diffuse: float
    ambient: float
    is_textureless: bool = False
    """Whether matter shines white, whatever its albedo."""

    def shine(
        self,
        points: Float[Tensor, "points 3"],
        normals: Float[Tensor, "points 3"],
        albedo: Float[Tensor, "points 3"],
        camera: Int[Tensor, " points"],
    ) -> Float[Tensor, "points 3"]:
        """albedo (ambient + diffuse max(0, n . l)), (Lambert; DreamFusion, eq. 7); `camera` says whose lamp."""
        towards = normalize(self.position[camera] - points)
        light = self.ambient + self.diffuse * (normals * towards).sum(-1, keepdim=True).clamp(min=0)
        return light.expand(-1, 3) if self.is_textureless else albedo * light


@dataclass(frozen=True)
class Light:
    """How the steps of a descent are lit. Lengths are half of the paper's, as its scene is twice as large."""

    unlit_steps: int = 2000
    """Steps at the beginning that see the albedo."""
    lit: float = 0.75
    """How often later steps are lit."""
    textureless: float = 0.5
    """How often lit steps see white matter in place of the albedo."""
    diffuse: float | None = 0.9
    """What the lamp gives; the rest up to 1 comes from everywhere. None draws it from U(0, 1) (Magic3D)."""
    distance: tuple[float, float] = (0.4, 0.75)
    """From the origin to the lamp, world units."""
    around: Literal["camera", "cone"] = "camera"
    """The lamp's direction: the camera's and a normal draw (DreamFusion), or 0 to 60 degrees off it (Magic3D)."""
    spread: float = 0.5
    """Standard deviation of that draw, world units."""

    def at(self, moment: Moment) -> Lamp | None:
        """The lamps of a step, one near each camera; None for the albedo alone."""
        mode, texture, soft = torch.rand(3, generator=moment.generator).tolist()
        if moment.step < self.unlit_steps or mode >= self.lit:
            return None
        eye = moment.camera.position
        towards = normalize(eye + self.spread * moment.noise(eye)) if self.around == "camera" else _off(moment)
        low, high = self.distance
        distance = low + (high - low) * torch.rand(len(eye), 1, generator=moment.generator).to(eye)
        diffuse = soft if self.diffuse is None else self.diffuse
        return Lamp(towards * distance, diffuse, 1 - diffuse, texture < self.textureless)


def _off(moment: Moment) -> Float[Tensor, "cameras 3"]:
    """Directions at a polar angle of U(0, 60) degrees from each camera's, turned about it anyhow."""
    camera = moment.camera.world_from_camera
    polar, turn = torch.rand(2, len(camera), 1, generator=moment.generator).to(camera)
    polar, turn = polar * (math.pi / 3), turn * (2 * math.pi)
    right, down = camera[:, :3, 0], camera[:, :3, 1]
    return polar.cos() * normalize(camera[:, :3, 3]) + polar.sin() * (turn.cos() * right + turn.sin() * down)
