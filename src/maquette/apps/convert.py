"""Files to assets and back, chosen by the endings of their names; and pictures of what a file holds."""

from dataclasses import dataclass
from pathlib import Path

import torch

from maquette import io
from maquette.core import BadInput, Camera, turntable
from maquette.io.glb import KIND, open_document
from maquette.io.gltf_splats import EXTENSION
from maquette.io.limits import refused
from maquette.render import Rendering
from maquette.representations import GaussianCloud, Health, Mesh, Repairs, examine

READABLE = (".ply", ".spz", ".glb", ".gltf", ".obj")
WRITABLE = (".ply", ".spz", ".glb")
JUDGING_VIEWS = 12
"""Pictures in which a mesh is compared with what it was made from."""


def load(path: str | Path) -> GaussianCloud | Mesh:
    """The asset in a .ply, .spz, .glb, .gltf or .obj file: Gaussians where it has any, else a mesh.

    Raises BadInput for any other file, and for one that is broken.
    """
    path = Path(path)
    ending = _ending(path, READABLE)
    if ending in (".ply", ".spz") or (ending != ".obj" and _has_splats(path)):
        return io.load_splats(path)
    return io.load_mesh(path)


def save(asset: GaussianCloud | Mesh, path: str | Path) -> None:
    """Write Gaussians as .ply, .spz or .glb, a mesh as .glb; the file appears whole or not at all."""
    path = Path(path)
    ending = _ending(path, WRITABLE)
    if isinstance(asset, GaussianCloud):
        io.save_splats(path, asset)
    elif ending == ".glb":
        io.save_mesh_glb(path, asset)
    else:
        raise BadInput(f"{path} cannot hold a mesh, only Gaussians", "choose the ending .glb")


@dataclass(frozen=True)
class Converted:
    """What was written, and what there is to say about it."""

    path: Path
    health: Health | None = None
    """Of a mesh."""
    repairs: Repairs | None = None
    """Of a mesh that came as one."""


def convert_file(
    source: Path, target: Path, *, as_mesh: bool = False, faces: int = 8000, texture_size: int = 512
) -> Converted:
    """Read `source` and write `target`.

    `as_mesh` makes a clean mesh with one texture and at most so many faces: out of Gaussians (their named parts become
    nodes), or out of another mesh, which is repaired. A mesh gets its health written beside it. Raises BadInput for an
    ending that we do not write, or that cannot hold the asset, and when the source is broken.
    """
    if _ending(target, WRITABLE) != ".glb" and as_mesh:  # what we cannot write is refused before a long read
        raise BadInput(f"{target} cannot hold a mesh, only Gaussians", "choose the ending .glb")
    if not as_mesh:
        asset = load(source)
        save(asset, target)
        if isinstance(asset, GaussianCloud):
            return Converted(target)
        health = examine(asset)
        io.save_health(target, health)
        return Converted(target, health)

    from maquette.evaluation.baked import examine_baked
    from maquette.representations.convert import around, check_budgets, clean_mesh, gaussians_to_mesh

    check_budgets(8, faces, texture_size)
    asset, parts = _with_parts(source)
    if isinstance(asset, GaussianCloud):
        from maquette.edit import Scene
        from maquette.edit.export import face_parts

        mesh, repairs = gaussians_to_mesh(asset, faces=faces, texture_size=texture_size), None
        named = face_parts(mesh, Scene(asset, parts)) if parts else {}
    else:
        mesh, repairs = clean_mesh(asset, faces=faces, texture_size=texture_size)
        named = {}
    camera = around(mesh.vertices.amin(0), mesh.vertices.amax(0), views=JUDGING_VIEWS)
    health = examine_baked(mesh, camera, draw(asset, camera, torch.ones(3)), budget=faces)
    io.save_mesh_glb(target, mesh, named)
    io.save_health(target, health)
    return Converted(target, health, repairs)


def _with_parts(path: Path) -> tuple[GaussianCloud | Mesh, dict[str, torch.Tensor]]:
    """The asset, and the named parts of Gaussians in glTF."""
    if path.suffix.lower() in (".glb", ".gltf") and _has_splats(path):
        return io.load_splat_parts(path)
    return load(path), {}


def draw(asset: GaussianCloud | Mesh, camera: Camera, background: torch.Tensor) -> Rendering:
    """Pictures of either kind of asset."""
    if isinstance(asset, GaussianCloud):
        from maquette.render import render_gaussians

        with torch.no_grad():
            return render_gaussians(asset, camera, background=background)
    from maquette.render.mesh import render_mesh

    return render_mesh(asset, camera, background=background)


def render_turntable(source: Path, target: Path, *, num_views: int, size: int, elevation_deg: float) -> None:
    """Draw the asset in `source` from all around, on white, as an .mp4 video or a .png sheet."""
    if target.suffix.lower() not in (".mp4", ".png"):
        raise BadInput(f"{target} is neither .mp4 nor .png", "choose one of these endings")
    if not (1 <= num_views <= 1000 and 8 <= size <= 4096):
        raise BadInput(
            f"{num_views} views of {size} pixels; expected 1 to 1000 views of 8 to 4096", "choose other numbers"
        )
    camera = turntable(num_views, elevation_deg, size=size)
    images = draw(load(source), camera, torch.ones(3)).color
    if target.suffix.lower() == ".mp4":
        io.save_video(target, images, fps=max(1.0, num_views / 4))  # once around in four seconds
    else:
        io.save_image(target, io.contact_sheet(images, columns=round(num_views**0.5)))


def _ending(path: Path, known: tuple[str, ...]) -> str:
    ending = path.suffix.lower()
    if ending not in known:
        raise BadInput(f"{path} ends in {ending or 'nothing'}; expected {', '.join(known)}", "choose one of these")
    return ending


def _has_splats(path: Path) -> bool:
    with refused(path, KIND):
        used = open_document(path).json.get("extensionsUsed", [])
        return isinstance(used, list) and EXTENSION in used
