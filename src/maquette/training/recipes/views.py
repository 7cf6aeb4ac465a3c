"""Recipe: render the training sets (16 views all around, RGBA) from a folder of captioned assets."""

import time
from dataclasses import dataclass
from pathlib import Path

from maquette.data.sets import COMPOSED, DRESSED, PLAIN, RECOLORED, RELATED, write_store
from maquette.data.shards import read_index, read_mesh


@dataclass(frozen=True)
class Config:
    """Options of `maquette train views`."""

    data: Path | None = None
    """Asset folder; default MAQUETTE_DATA."""
    out: Path = Path("runs/views")
    """Where the store is written."""
    split: str = "train"
    """Which objects: train or val."""
    plain: int = 2
    """Passes over all objects with their own colours."""
    recolored: int = 2
    """Passes with the main colour, and the words for it, changed."""
    dressed: int = 0
    """Passes made of another material, or with moss or snow."""
    composed: int = 1
    """Passes of two objects in one scene."""
    related: int = 0
    """Passes of people with what they ride, hold or wear."""
    shapes: bool = False
    """Also the objects without colors; for passes that paint them."""
    size: int = 128
    """Image side in px."""
    seed: int = 0
    """Seed of elevations, colours and pairs."""


def main(config: Config) -> None:
    """Write the store; an interrupted one is continued."""
    rows = read_index(config.data, split=config.split, colored=not config.shapes)
    passes = {
        PLAIN: config.plain, RECOLORED: config.recolored, DRESSED: config.dressed, COMPOSED: config.composed,
        RELATED: config.related,
    }  # fmt: skip
    kinds = [kind for kind, times in passes.items() for _ in range(times)]
    start = time.perf_counter()
    total = len(rows) * len(kinds)
    for done in write_store(
        config.out, lambda i: read_mesh(rows[i], config.data), len(rows), kinds, seed=config.seed, size=config.size
    ):
        if done % 500 == 0 or done == total:
            print(f"{done} / {total} sets, {time.perf_counter() - start:.0f} s", flush=True)
