"""Selecting by pictures: 2D masks in one view or more, by the paper's rule or by what the views really see.

The paper (Interactive3D, arXiv 2404.16510, section 3.2) keeps the rows whose centre falls into the mask of every view.
That is the visual hull of the masks, so it also takes what lies hidden inside and behind. The rule `visible` weighs
each row by what it contributes to the pixels. This module does not know where masks come from.
"""

import base64
import binascii
import math
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core import Camera
from maquette.core.errors import BadInput
from maquette.edit.pose import camera_of, check_pose
from maquette.edit.scene import Scene

LEAST_SEEN = 0.02
"""A row counts as seen if this share of it is; less shows through the cracks of a surface."""


@dataclass(frozen=True)
class View:
    """One camera and the mask drawn in its picture, as plain values; `view` makes it, `camera` and `mask` read it.

    The pose is 16 numbers, row by row.
    """

    world_from_camera: tuple[float, ...]
    focal_px: tuple[float, float]
    center_px: tuple[float, float]
    height: int
    width: int
    pixels: str
    """One bit a pixel, row by row, compressed (zlib) and in base64."""

    def __post_init__(self) -> None:
        check_pose(self, "view")

    @property
    def camera(self) -> Camera:
        """A batch of one."""
        return camera_of(self)

    @property
    def mask(self) -> Bool[Tensor, "height width"]:
        """The mask; BadInput if its text is damaged."""
        count, unpacker = self.height * self.width, zlib.decompressobj()
        try:
            content = unpacker.decompress(base64.b64decode(self.pixels, validate=True), (count + 7) // 8)
        except (binascii.Error, zlib.error) as error:
            raise BadInput(f"the pixels of a mask cannot be read ({error})", "make it with edit.view") from error
        if len(content) != (count + 7) // 8:
            raise BadInput(f"a mask has {len(content)} bytes; {self.height} x {self.width} need another number",
                           "make it with edit.view")  # fmt: skip
        bits = np.unpackbits(np.frombuffer(content, dtype=np.uint8), count=count)
        return torch.from_numpy(bits.astype(bool)).view(self.height, self.width)


def view(camera: Camera, mask: Bool[Tensor, "height width"]) -> View:
    """A camera (a batch of one) and a mask of its size as a value."""
    if len(camera) != 1 or tuple(mask.shape) != (camera.height, camera.width):
        raise BadInput(
            f"{len(camera)} cameras of {camera.height} x {camera.width} and a mask of {tuple(mask.shape)}",
            "pass one camera and a mask of its size",
        )
    packed = zlib.compress(np.packbits(mask.cpu().numpy()).tobytes(), 9)
    return View(
        tuple(camera.world_from_camera.float().flatten().tolist()),
        tuple(camera.focal_px.float()[0].tolist()),
        tuple(camera.center_px.float()[0].tolist()),
        camera.height,
        camera.width,
        base64.b64encode(packed).decode(),
    )


@dataclass(frozen=True)
class Masks:
    """Rows by their masks in all views.

    `and` is the paper's rule. `visible` takes rows of whose visible weight (alpha times transmittance, summed over all
    pixels of all views) at least `threshold` lies in the masks; a row that the views do not see is never taken.
    """

    views: tuple[View, ...]
    rule: Literal["and", "visible"] = "and"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not self.views:
            raise BadInput("no views to select by; expected one mask or more", "pass two views, as the paper does")
        if not 0 < self.threshold <= 1:
            raise BadInput(f"the threshold is {self.threshold}; expected a number above 0, at most 1", "default 0.5")


def inside(region: Masks, scene: Scene) -> Bool[Tensor, " gaussians"]:
    """The rows that the masks select, possibly none."""
    if region.rule == "and":
        return in_every_mask(region.views, scene)
    masked, everywhere, alone = visible_weight(region.views, scene).unbind(-1)
    return (everywhere > LEAST_SEEN * alone) & (masked >= region.threshold * everywhere)


def in_every_mask(views: tuple[View, ...], scene: Scene) -> Bool[Tensor, " gaussians"]:
    """Rows whose centre lies in front of every camera, inside its picture, and in its mask."""
    means = scene.cloud.means
    selected = torch.ones(len(means), dtype=torch.bool, device=means.device)
    for one in views:
        pixels, depth = one.camera.to(means.device).to(means.dtype).project(means)
        column, row = pixels[0].floor().unbind(-1)  # pixel centres lie at +0.5
        is_seen = (depth[0] > 0) & (column >= 0) & (column < one.width) & (row >= 0) & (row < one.height)
        index = torch.where(is_seen, row * one.width + column, 0.0).long()
        selected &= is_seen & one.mask.to(means.device).flatten()[index]
    return selected


def visible_weight(views: tuple[View, ...], scene: Scene) -> Float[Tensor, "gaussians 3"]:
    """Per row: alpha times transmittance over the pixels of the masks, over all pixels, and were it there alone.

    A picture is linear in the colors with just these weights, so they are its gradients: the color of a row is moved in
    one channel and read through the mask, in another and read everywhere. Alone, a row covers `2 pi opacity
    sqrt(det Sigma)` pixels, of which some may lie outside the picture.
    """
    from maquette.kernels.splat3d import rasterize
    from maquette.kernels.splat3d.reference import project
    from maquette.kernels.splat3d.spherical_harmonics import C0

    cloud = scene.cloud.detach()
    total = torch.zeros(len(cloud), 3, device=cloud.means.device)
    for one in views:
        camera = one.camera.to(cloud.means.device).to(cloud.means.dtype)
        color = torch.zeros_like(cloud.sh[:, :1])  # mid grey: away from the clamp at black
        rows = (cloud.means, cloud.quats, cloud.scales, cloud.opacities, color)
        seen = {"height": one.height, "width": one.width}
        splats = project(
            *rows, camera_from_world=camera.camera_from_world[0], focal_px=camera.focal_px[0],
            center_px=camera.center_px[0], **seen,
        )  # fmt: skip
        a, b, c = splats.conic.unbind(-1)
        alone = 2 * math.pi * cloud.opacities / (a * c - b * b).clamp(min=1e-12).sqrt()
        total[:, 2] += torch.where(splats.half_size[:, 0] > 0, alone, 0.0).float()
        color.requires_grad_()
        with torch.enable_grad():
            picture = rasterize(
                *rows, camera_from_world=camera.camera_from_world, focal_px=camera.focal_px,
                center_px=camera.center_px, background=color.new_zeros(3), **seen,
            ).color[0]  # fmt: skip
            (picture[..., 0][one.mask.to(picture.device)].sum() + picture[..., 1].sum()).backward()
        total[:, :2] += (color.grad[:, 0, :2] / C0).float()
    return total
