"""Where to select: regions as values, and the rows of a scene that lie in them. Knows no history and no names given.

A row lies in a region when its centre does (Interactive3D, arXiv 2404.16510, section 3.2: I(P) = {i : mu_i in P}).
All lengths are world units.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.core.rotation import quat_to_matrix
from maquette.edit.scene import ALL, Scene

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Everything:
    """All rows."""


@dataclass(frozen=True)
class Named:
    """The rows of a part."""

    part: str


@dataclass(frozen=True)
class Inverse:
    """The rows that are not in a part."""

    part: str


@dataclass(frozen=True)
class Sphere:
    """Centres at most `radius` from `center`."""

    center: Vector
    radius: float

    def __post_init__(self) -> None:
        positive(self.radius, "the radius of a sphere")


@dataclass(frozen=True)
class Box:
    """A box with `half_size` along its own axes, turned by the quaternion `quat` (wxyz)."""

    center: Vector
    half_size: Vector
    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        for size in self.half_size:
            positive(size, "the half size of a box")


@dataclass(frozen=True)
class HalfSpace:
    """The side of the plane through `point` to which `normal` (any length) points, the plane included."""

    point: Vector
    normal: Vector

    def __post_init__(self) -> None:
        if not math.hypot(*self.normal) > 0:
            raise BadInput("the normal of a plane is zero; expected a direction", "for example 0,1,0 for all above")


@dataclass(frozen=True)
class ColorNear:
    """Colors (rgb in [0, 1], without their dependence on the view) within `tolerance`, the distance in the rgb cube."""

    rgb: Vector
    tolerance: float = 0.2

    def __post_init__(self) -> None:
        positive(self.tolerance, "the tolerance of a color")


@dataclass(frozen=True)
class Component:
    """All rows that hang together with the row nearest to `point` through steps of at most `gap`."""

    point: Vector
    gap: float

    def __post_init__(self) -> None:
        positive(self.gap, "the gap of a component")


@dataclass(frozen=True)
class Grow:
    """A part and, `rings` times over, the `neighbors` nearest rows of each of its rows."""

    part: str
    neighbors: int = 8
    rings: int = 1

    def __post_init__(self) -> None:
        positive(min(self.neighbors, self.rings), "the number of neighbors and rings")


@dataclass(frozen=True)
class Shrink:
    """A part without, `rings` times over, the rows that have a row outside among their `neighbors` nearest."""

    part: str
    neighbors: int = 8
    rings: int = 1

    def __post_init__(self) -> None:
        positive(min(self.neighbors, self.rings), "the number of neighbors and rings")


Geometric = Everything | Named | Inverse | Sphere | Box | HalfSpace | ColorNear | Component | Grow | Shrink


def inside(region: Geometric, scene: Scene) -> Bool[Tensor, " gaussians"]:
    """The rows of the scene in the region, possibly none. BadInput for parts that are not there."""
    means = scene.cloud.means.double()
    match region:
        case Everything():
            return scene.rows(ALL)
        case Named(part):
            return scene.rows(part)
        case Inverse(part):
            return ~scene.rows(part)
        case Sphere(center, radius):
            return torch.linalg.vector_norm(means - means.new_tensor(center), dim=-1) <= radius
        case Box(center, half_size, quat):
            axes = quat_to_matrix(means.new_tensor(quat))
            return (((means - means.new_tensor(center)) @ axes).abs() <= means.new_tensor(half_size)).all(dim=-1)
        case HalfSpace(point, normal):
            return (means - means.new_tensor(point)) @ means.new_tensor(normal) >= 0
        case ColorNear(rgb, tolerance):
            away = scene.cloud.rgb.double() - means.new_tensor(rgb)
            return torch.linalg.vector_norm(away, dim=-1) <= tolerance
        case Component(point, gap):
            return _component(means, means.new_tensor(point), gap)
        case Grow(part, neighbors, rings):
            return _grown(means, scene.rows(part), neighbors, rings)
        case Shrink(part, neighbors, rings):
            return _shrunk(means, scene.rows(part), neighbors, rings)


def positive(value: float, what: str) -> None:
    """BadInput unless the value is finite and above zero."""
    if not (math.isfinite(value) and value > 0):
        raise BadInput(f"{what} is {value}; expected a number above zero", "correct it")


def nearest(means: Tensor, queries: Tensor, neighbors: int) -> Int[Tensor, "queries neighbors"]:
    """Row indices of the nearest of `means` (points 3) to every query, nearest first; fewer where there are fewer."""
    from scipy.spatial import cKDTree  # here, because most edits need no tree

    count = min(neighbors, len(means))
    _, found = cKDTree(means.cpu().numpy(), balanced_tree=False).query(queries.cpu().numpy(), k=range(1, count + 1))
    return torch.from_numpy(found.reshape(len(queries), count)).to(means.device)


def _grown(means: Tensor, part: Tensor, neighbors: int, rings: int) -> Tensor:
    for _ in range(rings):
        around = nearest(means, means[part], neighbors + 1)  # the nearest is the row itself
        part = part.clone()
        part[around.flatten()] = True
    return part


def _shrunk(means: Tensor, part: Tensor, neighbors: int, rings: int) -> Tensor:
    for _ in range(rings):
        around = nearest(means, means[part], neighbors + 1)
        rows = part.nonzero()[:, 0]
        part = part.clone()
        part[rows] = part[around].all(dim=1)
    return part


def _component(means: Tensor, point: Tensor, gap: float) -> Tensor:
    """Pieces from short steps first; then whole pieces join the one that holds the seed, until none is near enough."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    if len(means) == 0:
        return torch.zeros(0, dtype=torch.bool)
    where, count = means.cpu().numpy(), len(means)
    tree = cKDTree(where, balanced_tree=False)
    distance, other = tree.query(where, k=range(1, min(4, count) + 1))
    row, column = np.nonzero(distance <= gap)
    steps = coo_matrix((np.ones(len(row)), (row, other[row, column])), shape=(count, count))
    pieces = connected_components(steps, directed=False)[1]
    reached = ring = pieces == pieces[tree.query(point.cpu().numpy())[1]]
    while ring.any() and not reached.all():
        rest = np.flatnonzero(~reached)
        bound = np.nextafter(gap, np.inf)  # the search leaves out what lies exactly at its bound
        away, _ = cKDTree(where[ring], balanced_tree=False).query(where[rest], distance_upper_bound=bound)
        ring = np.isin(pieces, pieces[rest[away <= gap]])
        reached = reached | ring
    return torch.from_numpy(reached).to(means.device)
