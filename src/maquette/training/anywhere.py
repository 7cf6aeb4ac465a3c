"""Cameras anywhere around a thing, each by itself: what image priors are shown (DreamFusion, appendix A.2)."""

from dataclasses import dataclass

import torch

from maquette.core import Camera, look_at, sample_orbit


@dataclass(frozen=True)
class Anywhere:
    """Random cameras around the origin with their own distance and field of view, a little shaken.

    The defaults are threestudio's for DreamFusion and Magic3D, with lengths halved: its ball of density has a radius of
    0.5, ours one of 0.25.
    """

    views: int = 1
    """Cameras of a step; azimuths are spread over as many sectors."""
    elevation_deg: tuple[float, float] = (-10.0, 45.0)
    """Uniform."""
    radius: tuple[float, float] = (0.75, 1.0)
    """World units."""
    fov_deg: tuple[float, float] = (40.0, 70.0)
    """Vertical field of view; one for all cameras of a step."""
    eye_jitter: float = 0.05
    """Cameras move by up to this along each axis, world units."""
    target_jitter: float = 0.1
    """Standard deviation of the point they look at, world units."""

    def at(self, step: int, generator: torch.Generator, size: int) -> Camera:
        """The cameras of any step, `size` px a side."""
        low, high = self.fov_deg
        fov_deg = low + (high - low) * torch.rand((), generator=generator).item()
        camera = sample_orbit(
            generator, self.views, elevation_deg=self.elevation_deg, radius=self.radius, fov_deg=(fov_deg, fov_deg),
            size=size,
        )  # fmt: skip
        if self.eye_jitter == self.target_jitter == 0:
            return camera
        eye = camera.position + self.eye_jitter * (2 * torch.rand(self.views, 3, generator=generator) - 1)
        target = self.target_jitter * torch.randn(self.views, 3, generator=generator)
        return look_at(eye, target, fov_deg=fov_deg, size=size)
