"""Moving parts: shift, turn, stretch, mirror, copy. Exact algebra, no optimisation (Interactive3D, section 3.2, eq. 2).

Everything is about the middle of the part's box, the box of the centres of its Gaussians, unless a pivot is given.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.core.rotation import normalize, quat_to_matrix
from maquette.edit.regions import Vector
from maquette.edit.scene import Change, Scene, changed_in_place, check_name, extended, put
from maquette.representations import GaussianCloud
from maquette.representations.transform import about, transform

FARTHEST = 1e4  # world units: what lies beyond is a slip of the finger, and float32 loses the shape there


@dataclass(frozen=True)
class Move:
    """Shift a part by a vector in world units."""

    part: str
    by: Vector

    def __post_init__(self) -> None:
        near(self.by, "the shift")


@dataclass(frozen=True)
class Rotate:
    """Turn a part about an axis through `pivot` (the middle of its box if None); right-handed, in degrees."""

    part: str
    axis: Vector
    degrees: float
    pivot: Vector | None = None

    def __post_init__(self) -> None:
        direction(self.axis, "the axis")


@dataclass(frozen=True)
class Stretch:
    """Scale a part along three axes: those of the world, or its own principal axes, the longest first.

    Factors must be above zero; `Mirror` reflects.
    """

    part: str
    factors: Vector
    axes: Literal["world", "own"] = "world"
    pivot: Vector | None = None

    def __post_init__(self) -> None:
        if not all(1e-3 <= factor <= 1e3 for factor in self.factors):
            raise BadInput(
                f"the part would be scaled by {self.factors}; expected factors from 0.001 to 1000",
                "use mirror to reflect, and remove to make it vanish",
            )


@dataclass(frozen=True)
class Mirror:
    """Reflect a part in the plane through `pivot` (the middle of its box if None) with this normal."""

    part: str
    normal: Vector
    pivot: Vector | None = None

    def __post_init__(self) -> None:
        direction(self.normal, "the normal")


@dataclass(frozen=True)
class Duplicate:
    """Copy a part, shifted, as a new part. The copies belong to the new part only, so that each moves by itself."""

    part: str
    name: str
    by: Vector

    def __post_init__(self) -> None:
        check_name(self.name)
        near(self.by, "the shift")


def transformed(edit: Move | Rotate | Stretch | Mirror, scene: Scene) -> Change:
    """The part under its map, all other rows as they were."""
    rows = scene.rows(edit.part)
    part = scene.cloud if bool(rows.all()) else scene.cloud.select(rows.nonzero()[:, 0])
    moved = transform(part, *_map(edit, part.means.double()))
    near(moved.means.abs().amax(dim=0).tolist(), "the part would lie at")
    return changed_in_place(scene, put(scene.cloud, rows, moved), rows)


def duplicated(edit: Duplicate, scene: Scene) -> Change:
    """The copy at the end. BadInput if the new name is taken."""
    rows = scene.rows(edit.part)
    if edit.name in scene.parts:
        raise BadInput(f"there is already a part {edit.name!r}", "choose another name for the copy")
    copy = transform(scene.cloud.select(rows), torch.eye(3), torch.tensor(edit.by, dtype=torch.float64))
    return added_part(scene, copy, edit.name, rows)


def added_part(scene: Scene, cloud: GaussianCloud, name: str, selected: Bool[Tensor, " gaussians"]) -> Change:
    """`cloud` at the end of the scene, as a part of its own."""
    change = extended(scene, cloud, torch.full((len(cloud),), -1), selected)
    mask = torch.arange(len(change.scene.cloud)) >= len(scene.cloud)
    return Change(Scene(change.scene.cloud, change.scene.parts | {name: mask}), selected, change.kept)


def middle(means: Float[Tensor, "gaussians 3"]) -> Float[Tensor, " 3"]:
    """The middle of the box of some centres."""
    return (means.amin(dim=0) + means.amax(dim=0)) / 2


def direction(vector: Vector, what: str) -> None:
    """BadInput unless the vector has a length."""
    if not 0 < math.hypot(*vector) < math.inf:
        raise BadInput(f"{what} is {vector}; expected a direction", "for example 0,1,0 for upright")


def near(place: Vector | list[float], what: str) -> None:
    """BadInput for what lies too far off for float32 to keep a shape there."""
    if not all(abs(x) <= FARTHEST for x in place):
        raise BadInput(f"{what} is {tuple(place)}; expected at most {FARTHEST:g} world units", "an object has size 1")


def rotation(axis: Vector, degrees: float) -> Float[Tensor, "3 3"]:
    """The right-handed rotation about an axis of any length, in double precision."""
    half = math.radians(math.remainder(degrees, 360.0)) / 2
    unit = normalize(torch.tensor(axis, dtype=torch.float64))
    return quat_to_matrix(torch.cat([torch.tensor([math.cos(half)], dtype=torch.float64), math.sin(half) * unit]))


def _map(
    edit: Move | Rotate | Stretch | Mirror, means: Float[Tensor, "gaussians 3"]
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, " 3"]]:
    eye = torch.eye(3, dtype=torch.float64)
    if isinstance(edit, Move):
        return eye, torch.tensor(edit.by, dtype=torch.float64)
    pivot = middle(means).cpu() if edit.pivot is None else torch.tensor(edit.pivot, dtype=torch.float64)
    match edit:
        case Rotate(_, axis, degrees):
            linear = rotation(axis, degrees)
        case Stretch(_, factors, axes):
            own = principal_axes(means).cpu() if axes == "own" else eye
            linear = own @ torch.diag(torch.tensor(factors, dtype=torch.float64)) @ own.T
        case Mirror(_, normal):
            unit = normalize(torch.tensor(normal, dtype=torch.float64))
            linear = eye - 2 * torch.outer(unit, unit)
    return about(linear, pivot)


def principal_axes(means: Float[Tensor, "gaussians 3"]) -> Float[Tensor, "3 3"]:
    """Columns: the directions in which the centres spread, the widest first."""
    spread = means - means.mean(dim=0)
    return torch.linalg.eigh(spread.T @ spread).eigenvectors.flip(-1)
