"""The files of a session: scenes, differences and pasted clouds as safetensors. Knows neither log nor history."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from maquette.core.errors import BadInput
from maquette.edit.delta import Delta
from maquette.edit.scene import Scene, pack, scene_hash, unpack
from maquette.io import load_state, save_state
from maquette.representations import GaussianCloud

FOLDERS = ("states", "deltas", "clouds")
_ENDING = ".safetensors"


def state_path(folder: Path, line: int) -> Path:
    """Where the whole scene after a line of the log is, if it is kept."""
    return folder / "states" / f"{line:06d}{_ENDING}"


def delta_path(folder: Path, line: int) -> Path:
    """Where the difference that an edit made is."""
    return folder / "deltas" / f"{line:06d}{_ENDING}"


def numbered(folder: Path, kind: str) -> dict[int, Path]:
    """The states or deltas that are there, by line; other files are not ours and are left alone."""
    return {int(path.stem): path for path in (folder / kind).glob(f"*{_ENDING}") if path.stem.isdecimal()}


def save_scene(path: Path, scene: Scene) -> None:
    """Write a scene; BadInput if the disk is full."""
    tensors = {f"cloud.{name}": tensor for name, tensor in scene.cloud.tensors().items()}
    tensors |= {f"part.{name}": pack(mask) for name, mask in scene.parts.items()}
    save_state(path, tensors, {"rows": len(scene.cloud)})


def load_scene(path: Path) -> Scene:
    """Read a scene; BadInput if it is missing or damaged."""
    tensors, values = _load(path)
    try:
        cloud = {name.removeprefix("cloud."): x for name, x in tensors.items() if name.startswith("cloud.")}
        parts = {name.removeprefix("part."): x for name, x in tensors.items() if name.startswith("part.")}
        scene = Scene(GaussianCloud(**cloud), {name: unpack(bits, values["rows"]) for name, bits in parts.items()})
    except (KeyError, TypeError, BadInput) as error:
        raise _damaged(path, error) from error
    if any(tensor.dtype != torch.float32 for tensor in cloud.values()):
        raise _damaged(path, "its type is not float32")
    return scene


def save_delta(path: Path, delta: Delta) -> None:
    """Write a difference; BadInput if the disk is full."""
    save_state(path, delta.tensors, delta.values)


def load_delta(path: Path) -> Delta:
    """Read a difference; BadInput if it is missing or damaged."""
    return Delta(*_load(path))


def check_hash(scene: Scene, wanted: str, path: Path) -> Scene:
    """The scene, if it is the one that the log speaks of; else BadInput."""
    if scene_hash(scene) != wanted:
        raise _damaged(path, "it leads to another state than the log says")
    return scene


class Clouds(Mapping):
    """Pasted clouds by their `state_hash`, read when asked for."""

    def __init__(self, folder: Path):
        """Of the session in `folder`."""
        self._folder = folder / "clouds"

    def path(self, name: str) -> Path:
        """Where a cloud is kept, or would be."""
        return self._folder / f"{name}{_ENDING}"

    def __contains__(self, name: object) -> bool:
        return self.path(str(name)).is_file()

    def __getitem__(self, name: str) -> GaussianCloud:
        if name not in self:
            raise KeyError(name)
        return load_scene(self.path(name)).cloud

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in sorted(self._folder.glob(f"*{_ENDING}")))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _load(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    try:
        found = load_state(path)
    except BadInput as error:
        raise _damaged(path, error.message) from error
    if found is None:
        raise _damaged(path, "it is missing")
    return found


def _damaged(path: Path, why: object) -> BadInput:
    return BadInput(f"the session is damaged at {path}: {why}", "restore it from a copy, or replay it to a new folder")
