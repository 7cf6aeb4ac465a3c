"""A camera as plain values, which an edit can be written down with."""

from typing import Protocol, runtime_checkable

import torch

from maquette.core import Camera
from maquette.core.errors import BadInput

MOST_PIXELS = 4096 * 4096


@runtime_checkable
class Posed(Protocol):
    """What holds such values."""

    world_from_camera: tuple[float, ...]  # 16 numbers, row by row
    focal_px: tuple[float, float]
    center_px: tuple[float, float]
    height: int
    width: int


def check_pose(held: Posed, name: str) -> None:
    """`BadInput` for values that are no camera, or too large a one; `name` is the function that makes good ones."""
    if len(held.world_from_camera) != 16 or not 1 <= held.height * held.width <= MOST_PIXELS:
        raise BadInput(f"a {name} has no 4 x 4 pose, or too many pixels", f"make it with maquette.edit.{name}")


def camera_of(held: Posed) -> Camera:
    """A batch of one."""
    return Camera(
        torch.tensor(held.world_from_camera).view(1, 4, 4),
        torch.tensor([held.focal_px]),
        torch.tensor([held.center_px]),
        held.height,
        held.width,
    )
