"""Recipe: render the training sets (16 views all around, RGBA) from a folder of captioned assets."""

import time
from dataclasses import dataclass
from pathlib import Path

from maquette.data.sets import COMPOSED, PLAIN, RECOLORED, write_store
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
    composed: int = 1
    """Passes of two objects in one scene."""
    size: int = 128
    """Image side in px."""
    seed: int = 0
    """Seed of elevations, colours and pairs."""


def main(config: Config) -> None:
    """Write the store; an interrupted one is continued."""
    rows = read_index(config.data, split=config.split)
    kinds = [PLAIN] * config.plain + [RECOLORED] * config.recolored + [COMPOSED] * config.composed
    start = time.perf_counter()
    total = len(rows) * len(kinds)
    for done in write_store(
        config.out, lambda i: read_mesh(rows[i], config.data), len(rows), kinds, seed=config.seed, size=config.size
    ):
        if done % 500 == 0 or done == total:
            print(f"{done} / {total} sets, {time.perf_counter() - start:.0f} s", flush=True)
