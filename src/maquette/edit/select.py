"""Naming parts: the rows of a region, joined with what the part held before. Nothing of the cloud changes."""

from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Bool
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.edit import masks
from maquette.edit.regions import (
    Box,
    ColorNear,
    Component,
    Everything,
    Grow,
    HalfSpace,
    Inverse,
    Named,
    Shrink,
    Sphere,
    inside,
)
from maquette.edit.scene import Change, Scene, changed_in_place, check_name

Region = Everything | Named | Inverse | Sphere | Box | HalfSpace | ColorNear | Component | Grow | Shrink | masks.Masks


@dataclass(frozen=True)
class Select:
    """Let `part` be the region; or join, cut or keep only the common rows, if the part exists."""

    part: str
    region: Region
    how: Literal["replace", "union", "subtract", "intersect"] = "replace"

    def __post_init__(self) -> None:
        check_name(self.part)


@dataclass(frozen=True)
class Forget:
    """Take the name off a part; its rows stay."""

    part: str


def rows_in(region: Region, scene: Scene) -> Bool[Tensor, " gaussians"]:
    """The rows of the scene in any kind of region, possibly none."""
    return masks.inside(region, scene) if isinstance(region, masks.Masks) else inside(region, scene)


def select(edit: Select, scene: Scene) -> Change:
    """Raises BadInput if nothing would be selected, and the part stays what it was."""
    return named(edit.part, rows_in(edit.region, scene), edit.how, scene)


def named(part: str, rows: Bool[Tensor, " gaussians"], how: str, scene: Scene) -> Change:
    """The rows as a part, or joined with what the part held. BadInput as `select`."""
    if how != "replace":
        if part not in scene.parts:
            raise BadInput(f"there is no part {part!r} to {how} with", "select it first, without --how")
        own = scene.parts[part]  # may be empty: a union brings a part back whose rows were removed
        rows = {"union": own | rows, "subtract": own & ~rows, "intersect": own & rows}[how]
    if not bool(rows.any()):
        raise BadInput(f"the selection for {part!r} is empty", "move or enlarge the region")
    return _named(replace(scene, parts=scene.parts | {part: rows}), rows)


def forget(edit: Forget, scene: Scene) -> Change:
    """Raises BadInput for a part that is not there. A part without rows may be forgotten, too."""
    if edit.part not in scene.parts:
        scene.rows(check_name(edit.part))
    kept = {name: rows for name, rows in scene.parts.items() if name != edit.part}
    return _named(replace(scene, parts=kept), scene.parts[edit.part])


def _named(scene: Scene, rows: Bool[Tensor, " gaussians"]) -> Change:
    return changed_in_place(scene, scene.cloud, rows)
