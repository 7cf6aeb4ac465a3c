"""Any folder of GLB or OBJ files with a caption file, read as captioned meshes.

`captions.json` maps file names to a sentence or a list of sentences. Textures become one colour for each face.
"""

import json
from pathlib import Path

import numpy as np

from maquette.core.errors import BadInput
from maquette.data.captions import words
from maquette.data.shards import CaptionedMesh


def read_folder(folder: Path | str) -> list[tuple[Path, tuple[str, ...]]]:
    """The files that have captions, in the order of the caption file; raises BadInput for a missing or broken one."""
    folder = Path(folder)
    path = folder / "captions.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{folder} has no captions.json", 'write one: {"chair.glb": ["a wooden chair"]}') from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not JSON: {error}", "write a table of file name to captions") from None
    if not isinstance(table, dict):
        raise BadInput(f"{path} holds a {type(table).__name__}; expected a table", 'such as {"chair.glb": ["a chair"]}')
    found = []
    for name, captions in table.items():
        captions = [captions] if isinstance(captions, str) else captions
        file = (folder / name).resolve()
        if not file.is_relative_to(folder.resolve()) or file.suffix.lower() not in (".glb", ".gltf", ".obj"):
            raise BadInput(f"{path} names {name!r}", "name .glb or .obj files inside the folder")
        if not captions or not all(isinstance(c, str) and words(c) for c in captions):
            raise BadInput(f"{name} has no caption with a word in it", "give at least one sentence")
        found.append((file, tuple(captions)))
    return found


def read_captioned(path: Path, captions: tuple[str, ...]) -> CaptionedMesh:
    """One file, centred and scaled to a longest side of 1. The noun is the last word of the first caption."""
    from maquette.io import load_mesh

    mesh = load_mesh(path)
    low, high = mesh.vertices.amin(0), mesh.vertices.amax(0)
    vertices = ((mesh.vertices - (low + high) / 2) / (high - low).max().clamp(min=1e-9)).numpy()
    noun = words(captions[0])[-1]
    return CaptionedMesh(
        key=path.stem, vertices=vertices.astype(np.float32), faces=mesh.faces.numpy().astype(np.int32),
        colors=_face_colors(mesh), captions=captions, noun=noun, category=noun,
    )  # fmt: skip


def _face_colors(mesh) -> np.ndarray:
    """(faces, 3) uint8: the face's own colour, its texture at the middle of the face, or the mean of its corners."""
    if mesh.face_colors is not None:
        colors = mesh.face_colors
    elif mesh.texture is not None and mesh.uv is not None:
        middle = mesh.uv[mesh.faces].mean(1)
        height, width = mesh.texture.shape[:2]
        rows = (middle[:, 1] * height).long() % height
        colors = mesh.texture[rows, (middle[:, 0] * width).long() % width]
    elif mesh.vertex_colors is not None:
        colors = mesh.vertex_colors[mesh.faces].mean(1)
    else:
        return np.full((len(mesh.faces), 3), 200, np.uint8)
    return (colors.clamp(0, 1) * 255).round().byte().numpy()
