"""Cameras, always in batches. OpenCV axes (x right, y down, z forward) in a world with +Y up and fronts facing +Z.

An orbit of radius r puts the camera at r (sin az cos el, sin el, cos az cos el), so azimuth 0 looks at the front and
azimuth 90 stands at +X. Pixel centres lie at +0.5. This module does not know what is being looked at.
"""

import math
from dataclasses import dataclass, replace
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.core.rotation import normalize

Degrees = float | int | Float[Tensor, ""] | Float[Tensor, " cameras"]


@dataclass(frozen=True)
class Camera:
    """A batch of pinhole cameras that share one image size."""

    world_from_camera: Float[Tensor, "cameras 4 4"]
    """Rigid transforms; columns are the camera's right, down, forward and centre in world units."""
    focal_px: Float[Tensor, "cameras 2"]
    """fx, fy in pixels."""
    center_px: Float[Tensor, "cameras 2"]
    """cx, cy in pixels; the middle of the image is (width / 2, height / 2)."""
    height: int
    width: int

    def __post_init__(self) -> None:
        count = len(self.world_from_camera)
        shapes = tuple(self.world_from_camera.shape), tuple(self.focal_px.shape), tuple(self.center_px.shape)
        if shapes != ((count, 4, 4), (count, 2), (count, 2)):
            raise BadInput(
                f"camera tensors have shapes {shapes}; expected (cameras, 4, 4), (cameras, 2), (cameras, 2)",
                "add the leading axis, or use orbit, turntable or look_at",
            )
        if self.height < 1 or self.width < 1:
            raise BadInput(f"image is {self.height} x {self.width} pixels; expected at least 1 x 1", "pass a size")

    def __len__(self) -> int:
        return len(self.world_from_camera)

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> "Camera":
        """Some of the cameras; one index gives a batch of one."""
        if isinstance(index, int):
            index = [range(len(self))[index]]  # range raises IndexError, which also ends a for loop
        return replace(
            self,
            world_from_camera=self.world_from_camera[index],
            focal_px=self.focal_px[index],
            center_px=self.center_px[index],
        )

    def to(self, target: str | torch.device | torch.dtype) -> "Camera":
        """The same cameras on another device or in another float type."""
        return replace(
            self,
            world_from_camera=self.world_from_camera.to(target),
            focal_px=self.focal_px.to(target),
            center_px=self.center_px.to(target),
        )

    @property
    def position(self) -> Float[Tensor, "cameras 3"]:
        """Camera centres in the world."""
        return self.world_from_camera[:, :3, 3]

    @property
    def camera_from_world(self) -> Float[Tensor, "cameras 4 4"]:
        """The inverse transforms; the rotation is transposed, which is exact for rigid transforms."""
        rotation = self.world_from_camera[:, :3, :3].transpose(1, 2)
        inverse = self.world_from_camera.clone()
        inverse[:, :3, :3] = rotation
        inverse[:, :3, 3:] = -rotation @ self.world_from_camera[:, :3, 3:]
        return inverse

    def rays(self) -> tuple[Float[Tensor, "cameras height width 3"], Float[Tensor, "cameras height width 3"]]:
        """World-space origins and unit directions through every pixel centre."""
        like = {"dtype": self.focal_px.dtype, "device": self.focal_px.device}
        x = torch.arange(self.width, **like) + 0.5
        y = torch.arange(self.height, **like) + 0.5
        x = (x - self.center_px[:, :1]) / self.focal_px[:, :1]  # (cameras, width)
        y = (y - self.center_px[:, 1:]) / self.focal_px[:, 1:]  # (cameras, height)
        shape = (len(self), self.height, self.width)
        x, y = x[:, None, :].expand(shape), y[:, :, None].expand(shape)
        directions_camera = torch.stack([x, y, torch.ones_like(x)], dim=-1)
        directions = torch.einsum("cij,chwj->chwi", self.world_from_camera[:, :3, :3], directions_camera)
        return self.position[:, None, None, :].expand(*shape, 3), normalize(directions)

    def project(
        self, points_world: Float[Tensor, "points 3"]
    ) -> tuple[Float[Tensor, "cameras points 2"], Float[Tensor, "cameras points"]]:
        """Pixel positions, and depths along the camera axis; positions mean nothing where the depth is not positive."""
        rotation, translation = self.camera_from_world[:, :3, :3], self.camera_from_world[:, :3, 3]
        points_camera = points_world @ rotation.transpose(1, 2) + translation[:, None, :]
        depth = points_camera[..., 2]
        pixels = points_camera[..., :2] / depth[..., None] * self.focal_px[:, None] + self.center_px[:, None]
        return pixels, depth

    def resized(self, height: int, width: int) -> "Camera":
        """The same view with another number of pixels (another aspect ratio stretches the picture)."""
        scale = self.focal_px.new_tensor([width / self.width, height / self.height])
        return Camera(self.world_from_camera, self.focal_px * scale, self.center_px * scale, height, width)


def orbit(
    azimuth_deg: Degrees, elevation_deg: Degrees, *, radius: Degrees = 2.2, fov_deg: Degrees = 40.0, size: int = 128
) -> Camera:
    """Cameras on a sphere that look at the origin, upright; numbers and 1-D tensors broadcast together.

    `fov_deg` is the vertical field of view, `radius` is in world units, images are square.
    """
    given = (azimuth_deg, elevation_deg, radius, fov_deg)
    tensors = [value for value in given if isinstance(value, Tensor)]
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)
    device = tensors[0].device if tensors else None
    # Angles in double: the sine of 180 degrees in float32 would put the back camera visibly off its axis.
    azimuth, elevation, radius, fov = torch.broadcast_tensors(
        *(torch.atleast_1d(torch.as_tensor(value, dtype=torch.float64, device=device)) for value in given)
    )
    if not (torch.isfinite(azimuth).all() and torch.isfinite(elevation).all()):
        raise BadInput("azimuth or elevation is NaN or infinite; expected degrees", "check what made the angles")
    if not ((radius > 0) & torch.isfinite(radius)).all():
        raise BadInput("radius must be positive and finite, in world units", "the default is 2.2")
    azimuth, elevation = torch.deg2rad(azimuth), torch.deg2rad(elevation)
    sin_az, cos_az, sin_el, cos_el = azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()
    # Written out rather than by cross products with the up vector, so that straight above and below are defined too.
    right = torch.stack([cos_az, torch.zeros_like(azimuth), -sin_az], dim=-1)
    down = torch.stack([sin_az * sin_el, -cos_el, cos_az * sin_el], dim=-1)
    outward = torch.stack([sin_az * cos_el, sin_el, cos_az * cos_el], dim=-1)
    return _pinhole(right, down, -outward, outward * radius[:, None], fov, size).to(dtype)


def turntable(
    num_views: int = 16, elevation_deg: float = 15.0, *, radius: float = 2.2, fov_deg: float = 40.0, size: int = 128
) -> Camera:
    """`num_views` cameras all around at one elevation; camera k has azimuth k * 360 / num_views."""
    azimuth = torch.arange(num_views) * (360.0 / num_views)
    return orbit(azimuth, elevation_deg, radius=radius, fov_deg=fov_deg, size=size)


def look_at(
    eye: Float[Tensor, "cameras 3"],
    target: Float[Tensor, "cameras 3"] | Float[Tensor, " 3"],
    *,
    fov_deg: Degrees = 40.0,
    size: int = 128,
) -> Camera:
    """Upright cameras at `eye` that look at `target`; straight up or down, the right axis is +X as in an orbit."""
    forward = normalize(target - eye)
    if not (torch.linalg.vector_norm(forward, dim=-1) > 0.5).all():
        raise BadInput("an eye lies on its target, or one of them is not finite", "move the camera off its target")
    up = forward.new_tensor([0.0, 1.0, 0.0]).expand_as(forward)
    right = torch.linalg.cross(forward, up)
    is_vertical = torch.linalg.vector_norm(right, dim=-1, keepdim=True) < 1e-6
    right = normalize(torch.where(is_vertical, forward.new_tensor([1.0, 0.0, 0.0]), right))
    fov = torch.as_tensor(fov_deg, dtype=eye.dtype, device=eye.device).expand(len(eye))
    return _pinhole(right, torch.linalg.cross(forward, right), forward, eye, fov, size)


def sample_orbit(
    generator: torch.Generator,
    num_views: int,
    *,
    azimuth_deg: tuple[float, float] = (-180.0, 180.0),
    elevation_deg: tuple[float, float] = (-10.0, 45.0),
    radius: tuple[float, float] = (2.2, 2.2),
    fov_deg: tuple[float, float] = (40.0, 40.0),
    size: int = 128,
) -> Camera:
    """Random orbit cameras as threestudio draws them: stratified azimuths, all else uniform within its range.

    The azimuth range is cut into `num_views` equal parts with one camera in each, so a small batch sees all sides.
    """
    strata, *uniform = torch.rand(4, num_views, generator=generator)
    strata = (torch.arange(num_views) + strata) / num_views
    ranges = (azimuth_deg, elevation_deg, radius, fov_deg)
    azimuth, elevation, distance, fov = (
        low + (high - low) * part for part, (low, high) in zip((strata, *uniform), ranges, strict=True)
    )
    return orbit(azimuth, elevation, radius=distance, fov_deg=fov, size=size)


def _pinhole(right: Tensor, down: Tensor, forward: Tensor, eye: Tensor, fov_deg: Tensor, size: int) -> Camera:
    if not ((fov_deg > 0) & (fov_deg < 180)).all():
        raise BadInput("vertical field of view must lie between 0 and 180 degrees", "the default is 40")
    pose = torch.zeros(len(eye), 4, 4, dtype=eye.dtype, device=eye.device)
    pose[:, :3] = torch.stack([right, down, forward, eye], dim=-1)
    pose[:, 3, 3] = 1.0
    focal = size / 2 / torch.tan(fov_deg * (math.pi / 360))
    return Camera(pose, focal[:, None].expand(-1, 2).clone(), torch.full_like(pose[:, 0, :2], size / 2), size, size)
