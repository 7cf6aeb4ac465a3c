"""Does a sample copy what its prior was trained on? The nearest training objects, by shape and by an encoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import turntable
from maquette.core.errors import BadInput
from maquette.data.shards import CaptionedMesh
from maquette.data.views import render_views
from maquette.evaluation.geometry import chamfer, surface_points
from maquette.priors.protocol import Encoder
from maquette.representations.mesh import Mesh

POINTS, VIEWS, ELEVATION_DEG, SIZE = 1024, 4, 15.0, 128


@dataclass(frozen=True)
class Library:
    """Training objects as unit-box surface points (objects, POINTS, 3) and mean unit vectors of their renders."""

    keys: tuple[str, ...]
    points: Float[Tensor, "objects points 3"]
    vectors: Float[Tensor, "objects embedding"]


@dataclass(frozen=True)
class Nearest:
    """The nearest object by Chamfer distance in the unit box, and the nearest by cosine of encoder vectors."""

    by_shape: int
    distance: float
    by_look: int
    likeness: float


def library(objects: Sequence[CaptionedMesh], encoder: Encoder, *, seed: int = 0) -> Library:
    """Look at every object from four sides; the same seed draws the same points. Empty input raises BadInput."""
    if not objects:
        raise BadInput("there are no objects to compare with; expected at least one", "give the training objects")
    draw, camera = torch.Generator().manual_seed(seed), turntable(VIEWS, ELEVATION_DEG, size=SIZE)
    points, vectors = [], []
    for item in objects:
        mesh = Mesh(torch.from_numpy(item.vertices), torch.from_numpy(item.faces.astype(np.int64)))
        points.append(boxed(surface_points(mesh, POINTS, draw)))
        pictures = torch.from_numpy(render_views(item, camera).rgba[..., :3]).float() / 255
        vectors.append(look(pictures, encoder))
    return Library(tuple(item.key for item in objects), torch.stack(points), torch.stack(vectors))


def nearest_known(
    points: Float[Tensor, "points 3"], pictures: Float[Tensor, "views height width 3"], known: Library, encoder: Encoder
) -> Nearest:
    """Compare one sample, as surface points and as pictures on white, with everything in the library."""
    mine = boxed(points)
    distances = [chamfer(mine, other) for other in known.points]
    likeness = known.vectors @ look(pictures, encoder)
    shape, seen = int(np.argmin(distances)), int(likeness.argmax())
    return Nearest(shape, distances[shape], seen, float(likeness[seen]))


def boxed(points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
    """Moved and scaled so that the longest side of the bounding box is 1 and its centre is 0."""
    low, high = points.amin(0), points.amax(0)
    return (points - (low + high) / 2) / (high - low).max().clamp_min(1e-6)


@torch.no_grad()
def look(pictures: Float[Tensor, "views height width 3"], encoder: Encoder) -> Float[Tensor, " embedding"]:
    """The unit vector of the mean of what the encoder sees in all views."""
    return torch.nn.functional.normalize(encoder.embed_image(pictures).float().mean(0), dim=0)
