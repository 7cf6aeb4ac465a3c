"""Sets of views on disk: every object seen all around, with its captions, ready for the recipes.

A store is a folder with `views.npy` (sets, 16, size, size, 4) uint8 and `sets.jsonl`, one row a set. It is written
once and read
through memory maps. The recipe of a set (plain, recoloured, composed) is drawn from the seed and its number alone, so
a store
can be continued after an interruption and comes out the same.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maquette.core.camera import turntable
from maquette.data.augment import dressed, recolor
from maquette.data.captions import article
from maquette.data.compositions import PEOPLE, compose, related
from maquette.data.shards import CaptionedMesh
from maquette.data.views import render_views

VIEWS = 16
RELATED_TRIES = 200  # objects among which a person and a thing are looked for
ELEVATIONS_DEG = (0.0, 45.0)  # IM-3D, section 3.1: elevation uniform in [0, pi/4]
PLAIN, RECOLORED, DRESSED, COMPOSED, RELATED = "plain", "recolored", "dressed", "composed", "related"
"""As they come; in another color; of another material; two by chance; a person with what people ride, hold or wear."""


@dataclass(frozen=True)
class SetRow:
    """What one set shows. `captions` hold for the whole set; `kind` is one of those above."""

    key: str
    kind: str
    elevation_deg: float
    captions: tuple[str, ...]
    category: str


def draw_set(
    load: Callable[[int], CaptionedMesh], count: int, number: int, kind: str, *, seed: int, size: int
) -> tuple[SetRow, np.ndarray]:
    """Set `number` of a store over `count` objects: its row and its views (16, size, size, 4) uint8."""
    draw = np.random.default_rng([seed, number])
    mesh = load(number % count)
    if kind == RECOLORED:
        changed = recolor(mesh, draw)
        mesh = changed if changed.captions else mesh
    elif kind == DRESSED:
        mesh = dressed(mesh, draw)
    elif kind == COMPOSED:
        mesh = compose(mesh, load(int(draw.integers(count))), draw)
    elif kind == RELATED:
        others = [load(i) for i in draw.choice(count, min(count, RELATED_TRIES), replace=False).tolist()]
        people = [other for other in others if other.category in PEOPLE]
        mesh = compose(next(iter(people), mesh), next(filter(related, others), mesh), draw)
    elevation = float(draw.uniform(*ELEVATIONS_DEG))
    views = render_views(mesh, turntable(VIEWS, elevation, size=size))
    return SetRow(mesh.key, kind, elevation, _with_category(mesh), mesh.category), views.rgba


def _with_category(mesh: CaptionedMesh) -> tuple[str, ...]:
    """The captions, and for nouns more special than their category one caption that uses the category word."""
    noun = re.compile(rf"\b(an? )?{re.escape(mesh.noun)}\b")

    def category(found: re.Match) -> str:
        return article(mesh.category) if found[1] else mesh.category

    general = [noun.sub(category, c) for c in mesh.captions[:3] if noun.search(c)]
    return mesh.captions + (tuple(general[-1:]) if mesh.noun != mesh.category else ())


def write_store(
    out: Path, load: Callable[[int], CaptionedMesh], count: int, kinds: Sequence[str], *, seed: int = 0, size: int = 128
) -> Iterator[int]:
    """Write a store with one pass over all `count` objects for each of `kinds`; yields the number of finished sets.

    Continues a store that was interrupted. `load(i)` gives object i.
    """
    out.mkdir(parents=True, exist_ok=True)
    path, rows_path, total = out / "views.npy", out / "sets.jsonl", count * len(kinds)
    shape = (total, VIEWS, size, size, 4)
    if path.exists():
        views = np.lib.format.open_memmap(path, mode="r+")
        assert views.shape == shape, f"{path} holds {views.shape}, not {shape}: choose another folder"
        done = len(rows_path.read_text(encoding="utf-8").splitlines())
    else:
        views, done = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape), 0
        rows_path.write_text("", encoding="utf-8")
    with open(rows_path, "a", encoding="utf-8") as rows:
        for number in range(done, total):
            row, views[number] = draw_set(load, count, number, kinds[number // count], seed=seed, size=size)
            rows.write(json.dumps(row.__dict__) + "\n")
            rows.flush()
            yield number + 1


def read_store(folder: Path) -> tuple[np.ndarray, list[SetRow]]:
    """The views (sets, 16, size, size, 4) uint8 as a read-only memory map, and one row a set."""
    lines = (folder / "sets.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [SetRow(**{**row, "captions": tuple(row["captions"])}) for row in map(json.loads, lines)]
    return np.load(folder / "views.npy", mmap_mode="r")[: len(rows)], rows
