"""Which cameras a step of a distillation sees: whole sets around the object, or single ones that spread from its front.

Both are values with one method, `at(step, generator, size)`. This module knows no object and no prior.
"""

from dataclasses import dataclass

import torch

from maquette.core import BadInput, Camera, look_at, orbit

EXTENT = 2.84
"""3.5 world units of LucidDreamer and GE3D, to which their rates and sizes refer, in ours: see `Widening`."""


@dataclass(frozen=True)
class Around:
    """Evenly spaced cameras all around at one random elevation, turned by a random angle: a set for a multi-view prior
    (MVDream, arXiv 2308.16512; it draws radius and field of view too)."""

    views: int = 4
    """Cameras of a step; 1 stands anywhere around."""
    elevation_deg: tuple[float, float] = (0.0, 30.0)
    """Uniform, one for the set."""
    radius: float = 2.2
    """World units."""
    fov_deg: float = 40.0
    """Vertical field of view."""

    def at(self, step: int, generator: torch.Generator, size: int) -> Camera:
        """The set of any step, `size` px a side."""
        turn, height = torch.rand(2, generator=generator).tolist()
        azimuth = (torch.arange(self.views) + turn) * (360.0 / self.views) - 180
        low, high = self.elevation_deg
        return orbit(azimuth, low + (high - low) * height, radius=self.radius, fov_deg=self.fov_deg, size=size)


@dataclass(frozen=True)
class Widening:
    """Independent cameras around the front, first from far away, that spread out and come closer (LucidDreamer, GE3D).

    The defaults are the published ones. At the camera of their evaluation the frame has a half side of 3.5 tan(0.275),
    at ours of 2.2 tan(20 deg), so lengths are 0.811 of theirs. Every `every` steps azimuths go out by 1.5, distances
    come in by 0.95, and fields of view go apart by 0.75 and 1.1, up to their last values. Angles crowd around the
    middle of their range: the deviation is u^`crowding` of it. All cameras of a step share one field of view (theirs:
    of ten cameras).
    """

    views: int = 4
    """Cameras of a step."""
    every: int = 100
    """Steps between two widenings (LucidDreamer: 500)."""
    elevation_deg: tuple[float, float] = (0.0, 45.0)
    """LucidDreamer goes down to -15."""
    azimuth_deg: tuple[float, float] = (80.0, 180.0)
    """The largest distance from the front, first and last."""
    near: tuple[float, float] = (4.22, 2.84)
    """The smallest distance of a camera, first and last, world units."""
    far: tuple[float, float] = (4.46, 4.06)
    """The largest one."""
    narrow_deg: tuple[float, float] = (18.3, 9.2)
    """The smallest vertical field of view, first and last."""
    wide_deg: tuple[float, float] = (34.4, 34.4)
    """The largest one."""
    crowding: float = 1.5
    """1 is uniform."""
    eye_jitter: float = 0.02
    """Cameras move by up to this along each axis, world units."""
    target_jitter: float = 0.04
    """Standard deviation of the point they look at, world units. (The authors also tilt them, by half a degree.)"""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise BadInput(f"cameras widen every {self.every} steps; expected at least 1", "the default is 100")

    def at(self, step: int, generator: torch.Generator, size: int) -> Camera:
        """The cameras of `step`, `size` px a side."""
        times = step // self.every
        azimuth = _moved(self.azimuth_deg, 1.5, times)
        near, far = _moved(self.near, 0.95, times), _moved(self.far, 0.95, times)
        narrow, wide = _moved(self.narrow_deg, 0.75, times), _moved(self.wide_deg, 1.1, times)
        draws, signs = torch.rand(3, self.views, generator=generator), torch.rand(2, self.views, generator=generator)
        around, up = torch.where(signs < 0.5, -1.0, 1.0) * draws[:2] ** self.crowding
        low, high = self.elevation_deg
        fov = narrow + (wide - narrow) * torch.rand((), generator=generator).item()
        eye = orbit(
            azimuth * around, (low + high) / 2 + (high - low) / 2 * up, radius=near + (far - near) * draws[2]
        ).position
        eye = eye + self.eye_jitter * (2 * torch.rand(self.views, 3, generator=generator) - 1)
        target = self.target_jitter * torch.randn(self.views, 3, generator=generator)
        return look_at(eye, target, fov_deg=fov, size=size)


def _moved(ends: tuple[float, float], factor: float, times: int) -> float:
    """The first value times `factor`^`times`, held at the last one."""
    first, last = ends
    value = first * factor**times
    return min(value, last) if last >= first else max(value, last)
