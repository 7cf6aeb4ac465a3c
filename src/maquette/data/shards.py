"""The CC0 low-poly assets: captioned coloured triangle meshes packed in a few .npz files with one JSON index.

Layout: `assets.jsonl` names for each object its shard and index; a shard holds concatenated vertices (int16, scaled by
65534), faces and one sRGB colour per face. The folder is given by the caller or by MAQUETTE_DATA.
"""

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from maquette.core.errors import BadInput

POSITION_SCALE = 65534.0


@dataclass(frozen=True)
class CaptionedMesh:
    """A coloured triangle mesh with words.

    vertices (v, 3) float32 in [-0.5, 0.5]; faces (f, 3) int32; colors (f, 3) uint8 sRGB, one per face. `color_shares`
    lists
    (palette name, visible fraction), largest first.
    """

    key: str
    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    captions: tuple[str, ...]
    noun: str
    category: str
    color_shares: tuple[tuple[str, float], ...] = ()
    has_color: bool = True


def data_folder(folder: Path | str | None = None) -> Path:
    """The asset folder: the argument, else MAQUETTE_DATA; raises BadInput if it holds no `assets.jsonl`."""
    given = folder or os.environ.get("MAQUETTE_DATA")
    if not given:
        raise BadInput("no data folder was given", "pass --data FOLDER or set MAQUETTE_DATA to the asset folder")
    path = Path(given).expanduser()
    if not (path / "assets.jsonl").is_file():
        raise BadInput(f"{path} has no assets.jsonl", "point --data or MAQUETTE_DATA at the folder that holds it")
    return path


@lru_cache(maxsize=8)
def _shard(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def read_index(folder: Path | str | None = None, *, split: str | None = None, colored: bool = True) -> list[dict]:
    """The index rows of one split ("train", "val" or None for both); `colored` leaves out the uncoloured shapes."""
    path = data_folder(folder) / "assets.jsonl"
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row for row in rows if split in (None, row["split"]) and not (colored and row["untextured"])]


def read_mesh(row: dict, folder: Path | str | None = None) -> CaptionedMesh:
    """One object of the index."""
    shard = _shard(data_folder(folder) / row["shard"])
    index = row["index"]
    first_vertex, last_vertex = shard["vert_offset"][index : index + 2]
    first_face, last_face = shard["face_offset"][index : index + 2]
    return CaptionedMesh(
        key=row["id"],
        vertices=shard["verts"][first_vertex:last_vertex].astype(np.float32) / np.float32(POSITION_SCALE),
        faces=shard["faces"][first_face:last_face].astype(np.int32),
        colors=shard["colors"][first_face:last_face],
        captions=tuple(row["captions"]),
        noun=row["noun"],
        category=row["category"],
        color_shares=tuple((name, share) for name, share in row["colors"]),
        has_color=not row["untextured"],
    )
