"""Objects as the point latent wants them: views with depth and normals, points of the surface, other views to compare.

Drawn on the fly from meshes, because stores of views keep neither depth nor normals. Knows no networks.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import Camera, orbit
from maquette.core.errors import BadInput
from maquette.data.shards import CaptionedMesh
from maquette.data.views import render_views
from maquette.models.posed_views import pack_views, surface_points
from maquette.representations.farthest import farthest_points

SUPERSAMPLE = 3  # odd: depth and normals are then exactly those of the middle of the pixel
CLOUD = 4096
"""Seen points among which the farthest are taken."""
HEIGHTS_DEG = (30.0, -30.0)
"""Input views look from above and from below in turn, so that little of the surface stays unseen."""
TARGET_ELEVATIONS_DEG = (-40.0, 70.0)


@dataclass(frozen=True)
class PosedSizes:
    """How much of an object is shown."""

    inputs: int = 8
    """Views that are read."""
    targets: int = 4
    """Other views, which the reconstruction is compared with."""
    pixels: int = 64
    """Side of all of them."""
    points: int = 192
    """Farthest-point samples of what the inputs see."""


@dataclass(frozen=True)
class Posed:
    """One object, seen."""

    views: Float[Tensor, "inputs 15 height width"]
    """As `pack_views` makes them."""
    points: Float[Tensor, "points 3"]
    """World units."""
    camera: Camera
    """Of the targets."""
    rgba: Float[Tensor, "targets height width 4"]
    """sRGB on white in [0, 1], then coverage."""
    normal: Float[Tensor, "targets height width 3"]
    """World axes, towards the camera, zero for the background."""


def draw_posed(mesh: CaptionedMesh, draw: np.random.Generator, sizes: PosedSizes) -> Posed:
    """`mesh` from cameras that `draw` turns and tilts a little (inputs) or places anywhere around (targets)."""
    turn = np.arange(sizes.inputs) * 360 / sizes.inputs + draw.uniform(0, 360)
    tilt = np.resize(HEIGHTS_DEG, sizes.inputs) + draw.uniform(-10, 10, sizes.inputs)
    sector = 360 / max(sizes.targets, 1)
    around = (np.arange(sizes.targets) + draw.uniform(0, 1, sizes.targets)) * sector
    height = draw.uniform(*TARGET_ELEVATIONS_DEG, sizes.targets)
    angles = (torch.from_numpy(np.concatenate(pair)).float() for pair in ((turn, around), (tilt, height)))
    cameras = orbit(*angles, size=sizes.pixels)
    seen = render_views(mesh, cameras, supersample=SUPERSAMPLE)
    rgba = torch.from_numpy(seen.rgba).float() / 255
    depth, normal = torch.from_numpy(seen.depth), torch.from_numpy(seen.normal)
    n, inputs = sizes.inputs, cameras[: sizes.inputs]
    if (depth[:n] > 0).any():
        points = seen_points(depth[:n], inputs, sizes.points, draw)
    else:  # a thread between the middles of all pixels: its corners
        corners = torch.from_numpy(np.resize(mesh.vertices, (max(sizes.points, len(mesh.vertices)), 3)))
        points = corners[farthest_points(corners, sizes.points)]
    return Posed(
        pack_views(rgba[:n, ..., :3], depth[:n], normal[:n], inputs),
        points,
        cameras[n:],
        rgba[n:],
        normal[n:],
    )


def seen_points(
    depth: Float[Tensor, "views height width"], camera: Camera, count: int, draw: np.random.Generator
) -> Float[Tensor, "{count} 3"]:
    """Farthest-point samples of what the views see; thin things repeat points.

    Raises BadInput if they see nothing."""
    positions, is_seen = surface_points(depth, camera)
    cloud = positions[is_seen]
    if not len(cloud):
        raise BadInput("no view sees the object; expected at least one pixel of it", "give it a size of 1 world unit")
    rows = draw.permutation(len(cloud))[:CLOUD]
    rows = np.resize(rows, max(count, len(rows)))
    cloud = cloud[torch.from_numpy(rows)]
    return cloud[farthest_points(cloud, count)]
