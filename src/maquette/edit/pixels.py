"""How many pixels an edit changed beyond what it was about, counted in pictures before and after.

Rows outside a selection keep every bit, but a picture mixes rows: the soft edge of a part reaches over its neighbours.
This module does not know what the edit was.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core import Camera, turntable
from maquette.edit.scene import Change, Scene
from maquette.edit.zoom import Ball, zoomed
from maquette.render import render_gaussians
from maquette.representations import GaussianCloud

VIEWS, SIZE, ELEVATION_DEG = 2, 64, 25.0
"""From the front and the back: enough to see a mistake, and cheap enough to look at every edit."""
COVERED = 0.02
"""A pixel belongs to the region if the rows of the edit, before or after, would by themselves cover so much of it."""
VISIBLE = 2 / 255
"""A pixel has changed if one of its channels has by more."""


@torch.no_grad()
def pixels_outside(before: Scene, change: Change) -> int:
    """How many pixels changed outside of the region, of 2 x 64 x 64 on white; 0 if the edit was about everything."""
    after = change.scene
    about = torch.ones(len(after.cloud), dtype=torch.bool)  # rows that are new belong to the region
    about[: len(change.kept)] = change.selected[change.kept]
    if bool(change.selected.all()) or bool(about.all()):
        return 0
    camera = _both_in_sight(before.cloud, after.cloud)
    differs = ((_color(before.cloud, camera) - _color(after.cloud, camera)).abs() > VISIBLE).any(dim=-1)
    region = _covered(before.cloud, change.selected, camera) | _covered(after.cloud, about, camera)
    return int((differs & ~region).sum())


def _both_in_sight(one: GaussianCloud, other: GaussianCloud) -> Camera:
    means = torch.cat([one.means, other.means]).double()
    center = (means.amin(dim=0) + means.amax(dim=0)) / 2
    radius = float(torch.linalg.vector_norm(means - center, dim=-1).max())
    orbit = turntable(VIEWS, ELEVATION_DEG, size=SIZE).to(one.means.device)
    return zoomed(orbit, Ball(center.float(), max(radius, 1e-3)), fill=0.95)


def _color(cloud: GaussianCloud, camera: Camera) -> Float[Tensor, "views height width 3"]:
    return render_gaussians(cloud, camera, background=cloud.means.new_ones(3)).color


def _covered(cloud: GaussianCloud, rows: Bool[Tensor, " gaussians"], camera: Camera) -> Bool[Tensor, "views h w"]:
    alone = cloud.select(rows.nonzero()[:, 0])
    flat = GaussianCloud(**alone.tensors() | {"sh": alone.sh[:, :1]})  # colors do not matter
    return render_gaussians(flat, camera).alpha >= COVERED
