"""The edits there are, as one type: to JSON and back, and `apply`. Knows no history and no disk."""

import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import TypeVar, get_args

import torch

from maquette.core import Event, Notice, Streams
from maquette.edit.combine import Paste, Remove, paste, remove
from maquette.edit.delta import touched
from maquette.edit.drag import Drag, drag
from maquette.edit.guided_drag import GuidedDrag, guided_drag
from maquette.edit.latent import Latent, latent
from maquette.edit.pick import SelectClick, select_click
from maquette.edit.pixels import pixels_outside
from maquette.edit.refine import Refine, refine
from maquette.edit.regenerate import Regenerate, regenerate
from maquette.edit.repaint import Repaint, repaint
from maquette.edit.scene import Change, Scene
from maquette.edit.select import Forget, Select, forget, select
from maquette.edit.transform import Duplicate, Mirror, Move, Rotate, Stretch, duplicated, transformed
from maquette.edit.values import decoded, encoded
from maquette.priors import MultiviewPrior
from maquette.representations import GaussianCloud

Worded = Repaint | Regenerate | GuidedDrag | Refine
"""Those that have words, and draw on a prior; they take long."""
Placed = Move | Rotate | Stretch | Mirror | Duplicate | Drag
"""Those that put Gaussians elsewhere."""
Edit = Select | SelectClick | Forget | Remove | Paste | Placed | Latent | Worded

Value = TypeVar("Value")


@dataclass(frozen=True)
class Sources:
    """What edits draw on besides the scene."""

    clouds: Mapping[str, GaussianCloud] = field(default_factory=dict)
    """Those that may be pasted, by their `state_hash`."""
    prior: MultiviewPrior | None = None
    """What words mean. None is the pocket prior, loaded when the first edit needs it, and words as it knows them."""
    seed: int = 0
    """Of all random numbers."""


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
    pixels_outside: int = 0
    """Pixels beyond the region that changed visibly, of two small pictures: the soft edges of what changed."""
    evaluations: int = 0
    """Calls of a denoiser."""
    seconds: float = 0.0

    def lasting(self) -> dict:
        """The counts, without the seconds: what is the same in every replay."""
        return {name: value for name, value in asdict(self).items() if name != "seconds"}


def apply(edit: Edit, scene: Scene, sources: Sources | None = None) -> tuple[Scene, Report]:
    """The scene after the edit, and what changed. The given scene is never touched.

    Raises BadInput for what cannot be done.
    """
    change, report = finished(changing(edit, scene, sources or Sources()))
    return change.scene, report


def changing(edit: Edit, scene: Scene, sources: Sources) -> Generator[Event, None, tuple[Change, Report]]:
    """`apply` as a stream: the events of an edit that takes long, then the rows' history and the report.

    Not asking for the next event is a pause; closing the stream is giving up.
    """
    began = time.perf_counter()
    evaluations = 0
    if isinstance(edit, Worded):
        scene.rows(edit.part)  # refused before anything heavy is loaded
        prior = sources.prior
        if prior is None:
            edit = yield from understood(edit)
            prior = _pocket()
        before = prior.evaluations
        change = yield from _guided(edit, scene, prior, sources.seed)
        evaluations = prior.evaluations - before
    elif isinstance(edit, SelectClick):
        change, notices = select_click(edit, scene)
        yield from notices
    elif isinstance(edit, Latent):
        change, evaluations = latent(edit, scene)
    else:
        with torch.no_grad():
            change = _change(edit, scene, sources.clouds)
    with torch.no_grad():
        differs = touched(scene, change)
    gone = torch.ones(len(scene.cloud), dtype=torch.bool)
    gone[change.kept] = False
    outside = ~change.selected
    added = len(change.scene.cloud) - len(change.kept)
    is_seen = added > 0 or bool(differs.any()) or bool(gone.any())
    report = Report(
        rows=len(change.scene.cloud),
        selected=int(change.selected.sum()),
        changed=int(differs.sum()),
        removed=int(gone.sum()),
        added=added,
        outside_changed=int((differs & outside[change.kept]).sum()) + int((gone & outside).sum()),
        pixels_outside=pixels_outside(scene, change) if is_seen else 0,
        evaluations=evaluations,
        seconds=time.perf_counter() - began,
    )
    return change, report


def is_worded(edit: Edit) -> bool:
    """Whether an edit has words for a prior, takes long, and says how far it is."""
    return isinstance(edit, Worded)


def finished(stream: Generator[Event, None, Value]) -> Value:
    """What a stream returns, when nobody listens to its events."""
    try:
        while True:
            next(stream)
    except StopIteration as end:
        return end.value


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


def _guided(edit: Worded, scene: Scene, prior: MultiviewPrior, seed: int) -> Generator[Event, None, Change]:
    match edit:
        case Repaint():
            return repaint(edit, scene, prior, Streams(seed))
        case Regenerate():
            return regenerate(edit, scene, prior, Streams(seed))
        case GuidedDrag():
            return guided_drag(edit, scene, prior, Streams(seed))
        case Refine():
            return refine(edit, scene, prior, seed)


def understood(edit: Worded) -> Generator[Event, None, Worded]:
    """The edit in words that the pocket prior knows. BadInput for a sentence without a thing that it knows."""
    from maquette.priors.prompts import understand

    said = {}
    for name in ("prompt", "whole", "local"):
        text = getattr(edit, name, "")
        if text:
            words = understand(text)
            said[name] = words.understood
            if words.notice:
                yield Notice(words.notice)
    return replace(edit, **said)


@lru_cache(maxsize=1)
def _pocket() -> MultiviewPrior:
    from maquette.priors.multiview import load_multiview

    return load_multiview()
