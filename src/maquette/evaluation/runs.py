"""What a comparison keeps of each finished run, in one file that is there completely or not at all.

A folder holds `settings.json`, and for every prompt a folder with `drawn.safetensors` and one file for each method.
What is reported is always read from these files, so a comparison that was interrupted reports what an unbroken one
does. This module does not know what the methods are.
"""

import json
import re
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.evaluation.curves import Row
from maquette.evaluation.report import write_json
from maquette.io.checkpoint import load_state, save_state
from maquette.io.image import to_bytes

SETTINGS = "settings.json"


@dataclass(frozen=True)
class Run:
    """One method on one prompt."""

    curve: list[Row]
    fronts: Float[Tensor, "looks size size 3"]
    """The front view at each look."""
    views: Float[Tensor, "views size size 3"]
    """The last look."""
    steps: int


@dataclass(frozen=True)
class Drawn:
    """What the prior draws for a prompt without 3D: a turntable to compare sides with, and the measures of another."""

    reference: Float[Tensor, "sides size size 3"]
    views: Float[Tensor, "views size size 3"]
    row: Row


def begin(out: Path, settings: dict) -> None:
    """Note the settings that all runs in `out` share. Raises `BadInput` where the folder was begun with others.

    `settings` are plain values. Prompts and methods are none of them: more may be added later, by several processes at
    the same time, too.
    """
    path, told = out / SETTINGS, json.loads(json.dumps(settings))
    if not path.exists():
        write_json(path, told)
        return
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{path} does not tell the settings of a comparison ({error})", "choose another --out"
        ) from error
    other = [name for name in sorted({*told, *known}) if told.get(name) != known.get(name)]
    if other:
        differs = ", ".join(f"{name} {known.get(name)} (now {told.get(name)})" for name in other)
        raise BadInput(f"{out} holds a comparison with {differs}", "give the same options again, or another --out")


def folder_of(out: Path, prompt: str) -> Path:
    """Readable, and another one for every prompt."""
    words = "-".join(re.findall(r"[a-z0-9]+", prompt.lower()))[:40].strip("-") or "asset"
    return out / f"{words}-{blake2b(prompt.encode(), digest_size=2).hexdigest()}"


def save_run(path: Path, run: Run) -> None:
    """Keep a finished run; its pictures with 8 bits a channel."""
    pictures = {"fronts": run.fronts, "views": run.views}
    save_state(path, _packed(pictures), {"curve": run.curve, "steps": run.steps})


def load_run(path: Path) -> Run | None:
    """What `save_run` kept, or None if there is no such file. A damaged file raises `BadInput`."""
    loaded = load_state(path)
    return None if loaded is None else Run(**loaded[1], **_unpacked(loaded[0]))


def save_drawn(path: Path, drawn: Drawn) -> None:
    """Keep what the prior drew; pictures with 8 bits a channel."""
    save_state(path, _packed({"reference": drawn.reference, "views": drawn.views}), {"row": drawn.row})


def load_drawn(path: Path) -> Drawn | None:
    """What `save_drawn` kept, or None if there is no such file. A damaged file raises `BadInput`."""
    loaded = load_state(path)
    return None if loaded is None else Drawn(**loaded[1], **_unpacked(loaded[0]))


def _packed(pictures: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(to_bytes(x, f"the {name} of a run")) for name, x in pictures.items()}


def _unpacked(pictures: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: x.float() / 255 for name, x in pictures.items()}
