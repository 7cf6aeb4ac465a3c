"""The edits there are, as one type: to JSON and back, and `apply`. Knows no history and no disk."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import get_args

import torch

from maquette.edit.combine import Paste, Remove, paste, remove
from maquette.edit.delta import touched
from maquette.edit.drag import Drag, drag
from maquette.edit.scene import Change, Scene
from maquette.edit.select import Forget, Select, forget, select
from maquette.edit.transform import Duplicate, Mirror, Move, Rotate, Stretch, duplicated, transformed
from maquette.edit.values import decoded, encoded
from maquette.representations import GaussianCloud

Edit = Select | Forget | Remove | Paste | Move | Rotate | Stretch | Mirror | Duplicate | Drag


@dataclass(frozen=True)
class Report:
    """What an edit did, counted from the rows and not taken from its word."""

    rows: int
    """Gaussians now."""
    selected: int
    """Old rows that the edit was about."""
    changed: int
    """Old rows of which some bit differs now."""
    removed: int
    added: int
    outside_changed: int
    """Old rows outside the selection that differ or are gone: 0, or there is a mistake in the edit."""
    evaluations: int = 0
    """Calls of a denoiser."""
    seconds: float = 0.0

    def lasting(self) -> dict:
        """The counts, without the seconds: what is the same in every replay."""
        return {name: value for name, value in asdict(self).items() if name != "seconds"}


def apply(edit: Edit, scene: Scene, clouds: Mapping[str, GaussianCloud] | None = None) -> tuple[Scene, Report]:
    """The scene after the edit, and what changed; `clouds` are those that may be pasted, by their `state_hash`.

    The given scene is never touched. Raises BadInput for what cannot be done.
    """
    change, report = changed(edit, scene, clouds or {})
    return change.scene, report


def changed(edit: Edit, scene: Scene, clouds: Mapping[str, GaussianCloud]) -> tuple[Change, Report]:
    """`apply`, with the rows' history that a session stores."""
    began = time.perf_counter()
    with torch.no_grad():
        change = _change(edit, scene, clouds)
        differs = touched(scene, change)
    gone = torch.ones(len(scene.cloud), dtype=torch.bool)
    gone[change.kept] = False
    outside = ~change.selected
    report = Report(
        rows=len(change.scene.cloud),
        selected=int(change.selected.sum()),
        changed=int(differs.sum()),
        removed=int(gone.sum()),
        added=len(change.scene.cloud) - len(change.kept),
        outside_changed=int((differs & outside[change.kept]).sum()) + int((gone & outside).sum()),
        seconds=time.perf_counter() - began,
    )
    return change, report


def to_json(edit: Edit) -> dict:
    """Plain values, with the edit's name as `kind`."""
    return encoded(edit)


def from_json(value: object) -> Edit:
    """The inverse of `to_json`. BadInput for an unknown kind or field, a value of another type, and NaN."""
    return decoded(value, get_args(Edit))


def _change(edit: Edit, scene: Scene, clouds: Mapping[str, GaussianCloud]) -> Change:
    match edit:
        case Select():
            return select(edit, scene)
        case Forget():
            return forget(edit, scene)
        case Remove():
            return remove(edit, scene)
        case Paste():
            return paste(edit, scene, clouds)
        case Duplicate():
            return duplicated(edit, scene)
        case Drag():
            return drag(edit, scene)
        case Move() | Rotate() | Stretch() | Mirror():
            return transformed(edit, scene)
