"""Gaussians by the ending of their file: PLY, SPZ, or glTF."""

from pathlib import Path

from maquette.core.errors import BadInput
from maquette.io.ply import load_ply, save_ply
from maquette.io.spz import load_spz, save_spz
from maquette.representations.gaussians import GaussianCloud

__all__ = ["load_ply", "load_splats", "load_spz", "save_ply", "save_splats", "save_spz"]

_ENDINGS = ".ply, .spz or .glb"


def load_splats(path: str | Path) -> GaussianCloud:
    """Read Gaussians from a .ply, .spz, .glb or .gltf file. Raises as the readers do; BadInput for other endings."""
    suffix = Path(path).suffix.lower()
    if suffix == ".ply":
        return load_ply(path)
    if suffix == ".spz":
        return load_spz(path)
    if suffix in (".glb", ".gltf"):
        from maquette.io.gltf_splats import load_splats_glb

        return load_splats_glb(path)
    raise BadInput(f"{path} ends in {suffix or 'nothing'}; expected {_ENDINGS}", "convert it to PLY")


def save_splats(path: str | Path, cloud: GaussianCloud) -> None:
    """Write Gaussians to a .ply, .spz or .glb file. Raises as the writers do; BadInput for other endings."""
    suffix = Path(path).suffix.lower()
    if suffix == ".ply":
        save_ply(path, cloud)
    elif suffix == ".spz":
        save_spz(path, cloud)
    elif suffix == ".glb":
        from maquette.io.gltf import save_splats_glb

        save_splats_glb(path, cloud)
    else:
        raise BadInput(f"{path} ends in {suffix or 'nothing'}; expected {_ENDINGS}", "choose one of these endings")
