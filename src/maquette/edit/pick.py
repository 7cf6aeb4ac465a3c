"""Selecting by a click: a mask where the click is, another in a view chosen through its depth, rows by all masks.

Interactive3D (arXiv 2404.16510, section 3.2) selects by masks in two views and leaves open where the second comes from.
Here the surface under the click is looked at from its sides, where it can be seen. This module does not know how masks
are drawn.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core import Camera, Notice
from maquette.core.errors import BadInput
from maquette.core.rotation import normalize
from maquette.edit.grow import Pixels, check_click, grow, points_in_camera
from maquette.edit.masks import LEAST_SEEN, View, view, visible_weight
from maquette.edit.pose import camera_of, check_pose
from maquette.edit.regions import nearest
from maquette.edit.scene import Change, Scene, check_name
from maquette.edit.select import named
from maquette.render import Rendering, render_gaussians
from maquette.representations import GaussianCloud

Segment = Callable[[Rendering, Camera, Pixels, Pixels], Bool[Tensor, "height width"]]
"""Draws a mask from clicks on the part and off it: `grow`, or a network."""

VIEWS = 2
YAWS, PITCHES = (-120.0, -90.0, -60.0, 60.0, 90.0, 120.0), (55.0, -55.0)
"""Degrees about the part from where the click was: around the vertical axis, and up or down."""
APART_DEG = 45.0
"""Views that look from nearer directions tell the same."""
_PROBES, _SMALL, _NEAR_PX = 200, 64, 2.0  # points of the first mask; the side of a trial picture; depths that agree
_LEAST_FACING = 0.2  # cosine: a flatter surface is no place for a click
_PROMPTS, _EDGE = 8, 3  # clicks in a further view; px from the edge of a mask
_VOTERS = 5


@dataclass(frozen=True)
class Shot:
    """A camera as plain values; `shot` makes it, `camera` reads it."""

    world_from_camera: tuple[float, ...]
    """16 numbers, row by row."""
    focal_px: tuple[float, float]
    center_px: tuple[float, float]
    height: int
    width: int

    def __post_init__(self) -> None:
        check_pose(self, "shot")

    @property
    def camera(self) -> Camera:
        """A batch of one."""
        return camera_of(self)


def shot(camera: Camera) -> Shot:
    """A camera (a batch of one) as a value."""
    seen = view(camera, torch.zeros(camera.height, camera.width, dtype=torch.bool))
    return Shot(seen.world_from_camera, seen.focal_px, seen.center_px, seen.height, seen.width)


@dataclass(frozen=True)
class SelectClick:
    """Let `part` be what the clicks `on` (and not `off`) mean in the picture that `shot` takes, or join it by `how`.

    `masks` are what a segmentor made of the clicks, the first of them in the shot's own view; none lets them grow.
    """

    part: str
    shot: Shot
    on: Pixels
    off: Pixels = ()
    how: Literal["replace", "union", "subtract", "intersect"] = "replace"
    masks: tuple[View, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.part)
        if not self.on:
            raise BadInput("there is no click on the part", "give at least one")


def select_click(edit: SelectClick, scene: Scene) -> tuple[Change, list[Notice]]:
    """Raises BadInput for a click outside the picture or on the background, and if nothing would be selected."""
    views = edit.masks or clicked_views(scene.cloud, edit.shot.camera, edit.on, edit.off)
    notices = []
    if len(views) == 1:
        notices.append(Notice("the click is hidden from all other sides: one view decided alone; check the back"))
    return named(edit.part, rows_of(views, scene), edit.how, scene), notices


def click(
    cloud: GaussianCloud, camera: Camera, on: Pixels, *, off: Pixels = (), segment: Segment = grow, views: int = VIEWS
) -> Bool[Tensor, " gaussians"]:
    """The rows of the part that is clicked on in a camera's picture (a batch of one). BadInput as `select_click`."""
    return rows_of(clicked_views(cloud, camera, on, off, segment, views), Scene(cloud))


@torch.no_grad()
def clicked_views(
    cloud: GaussianCloud, camera: Camera, on: Pixels, off: Pixels = (), segment: Segment = grow, count: int = VIEWS
) -> tuple[View, ...]:
    """The camera with its mask, and up to `count - 1` others with theirs; none if the click shows nowhere else."""
    first = render_gaussians(cloud, camera)
    for column, row in (*on, *off):
        check_click(first, column, row)
    mask = segment(first, camera, on, off)
    if not bool(mask.any()):
        raise BadInput("the click meets nothing that hangs together", "click elsewhere, or a second time with --on")
    views = [view(camera, mask)]
    points, normals = _surface(first, camera)
    clicked = [[points[int(row), int(column)] for column, row in clicks] for clicks in (on, off)]
    inner = _eroded(mask).nonzero()
    inner = inner[:: max(len(inner) // _PROBES, 1)].unbind(-1)
    probes = torch.cat([torch.stack(clicked[0]), points[inner]])
    facing = torch.cat([torch.stack([normals[int(row), int(column)] for column, row in on]), normals[inner]])
    for other in _others(cloud, camera, probes, facing, count - 1):
        seen = render_gaussians(cloud, other)
        prompts = _visible(seen, other, _spread(probes[_agrees(seen, other, probes)]))
        if prompts:
            views.append(view(other, segment(seen, other, prompts, _visible(seen, other, clicked[1]))))
    return tuple(views)


def rows_of(views: tuple[View, ...], scene: Scene) -> Bool[Tensor, " gaussians"]:
    """Rows whose visible weight lies in the masks; and of those that nothing shows, the ones behind them.

    What no view shows is taken if most of the nearest rows that are shown are.
    """
    masked, everywhere, alone = visible_weight(views, scene).unbind(-1)
    is_seen = everywhere > LEAST_SEEN * alone
    rows = is_seen & (masked >= 0.5 * everywhere)
    if not bool(rows.any()) or bool(is_seen.all()):
        return rows
    means = scene.cloud.means.double()
    voters = nearest(means[is_seen], means[~is_seen], _VOTERS)
    rows[~is_seen] = rows[is_seen][voters].float().mean(dim=1) > 0.5
    return rows


def _others(cloud: GaussianCloud, camera: Camera, points: Tensor, normals: Tensor, count: int) -> list[Camera]:
    """Cameras that see most of the points from in front, from the side first; fewer if fewer see any."""
    pivot = points.median(dim=0).values
    turns = [_about_y(yaw) for yaw in YAWS] + [_about(camera.world_from_camera[0, :3, 0], p) for p in PITCHES]
    cameras = [_turned(camera, turn, pivot) for turn in turns]
    shares = [_share(cloud, one.resized(_SMALL, max(_SMALL * one.width // one.height, 1)), points, normals)
              for one in cameras]  # fmt: skip
    chosen: list[Camera] = []
    for index in sorted(range(len(cameras)), key=lambda index: -shares[index]):
        towards = normalize(cameras[index].position[0] - pivot)
        taken = [normalize(one.position[0] - pivot) for one in (camera, *chosen)]  # yaw does not move a view from above
        is_new = all(float(towards @ one) < math.cos(math.radians(APART_DEG)) + 1e-3 for one in taken)
        if len(chosen) < count and shares[index] > 0 and is_new:
            chosen.append(cameras[index])
    return chosen


def _share(cloud: GaussianCloud, camera: Camera, points: Tensor, normals: Tensor) -> float:
    """The share of surface points that a camera sees, and sees from in front."""
    flat = GaussianCloud(**cloud.tensors() | {"sh": cloud.sh[:, :1]})  # colors do not matter
    seen = render_gaussians(flat, camera)
    facing = (normals * normalize(camera.position - points)).sum(dim=-1) > _LEAST_FACING
    return float((_agrees(seen, camera, points) & facing).float().mean())


def _agrees(seen: Rendering, camera: Camera, points: Float[Tensor, "points 3"]) -> Bool[Tensor, " points"]:
    """Which points lie on the surface that a picture shows."""
    pixels, depth = camera.project(points)
    column, row = pixels[0].floor().long().unbind(-1)
    is_inside = (depth[0] > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    at = (row.clamp(0, camera.height - 1), column.clamp(0, camera.width - 1))
    near = _NEAR_PX * depth[0] / camera.focal_px[0, 0] * max(camera.height / _SMALL, 1)
    return is_inside & (seen.alpha[0][at] >= 0.5) & ((seen.depth[0][at] - depth[0]).abs() <= near)


def _visible(seen: Rendering, camera: Camera, points: list[Tensor] | Tensor) -> Pixels:
    """The pixels of those points that a picture shows."""
    if len(points) == 0:
        return ()
    points = torch.stack(list(points))
    pixels, _ = camera.project(points)
    return tuple(tuple(pixel) for pixel in pixels[0][_agrees(seen, camera, points)].tolist())


def _spread(points: Float[Tensor, "points 3"]) -> Float[Tensor, "some 3"]:
    """The first of the points, and a few more, each as far as can be from those before it."""
    chosen = points[:1]
    while 0 < len(chosen) < min(_PROMPTS, len(points)):
        away = torch.cdist(points, chosen).amin(dim=1)
        chosen = torch.cat([chosen, points[away.argmax()][None]])
    return chosen


def _eroded(mask: Bool[Tensor, "height width"]) -> Bool[Tensor, "height width"]:
    """The mask without its edge, where depths are a mixture; the mask itself if nothing would be left."""
    inner = torch.nn.functional.avg_pool2d(mask.float()[None], 2 * _EDGE + 1, 1, _EDGE)[0] > 0.999
    return inner if bool(inner.any()) else mask


def _surface(seen: Rendering, camera: Camera) -> tuple[Tensor, Tensor]:
    """Points and outward normals of every pixel in the world; wrong where the surface ends."""
    pose = camera.world_from_camera[0]
    points = points_in_camera(seen.depth[0], camera)
    smooth = torch.nn.functional.avg_pool2d(points.movedim(-1, 0)[None], 5, 1, 2, count_include_pad=False)[0]
    down, right = torch.gradient(smooth.movedim(0, -1), dim=(0, 1))
    normals = normalize(torch.linalg.cross(down, right))
    return points @ pose[:3, :3].T + pose[:3, 3], normals @ pose[:3, :3].T


def _turned(camera: Camera, turn: Tensor, pivot: Tensor) -> Camera:
    pose = camera.world_from_camera.clone()
    pose[0, :3, :3] = turn @ pose[0, :3, :3]
    pose[0, :3, 3] = pivot + turn @ (pose[0, :3, 3] - pivot)
    return replace(camera, world_from_camera=pose)


def _about_y(degrees: float) -> Tensor:
    return _about(torch.tensor([0.0, 1.0, 0.0]), degrees)


def _about(axis: Tensor, degrees: float) -> Tensor:
    """The rotation about a unit axis."""
    x, y, z = axis.tolist()
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = math.radians(degrees)
    return torch.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
