"""A scene as a file for other programs; in glTF its parts are nodes. Knows no edits."""

from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.edit.regions import nearest
from maquette.edit.scene import ALL, Scene
from maquette.io import save_health, save_mesh_glb, save_splats, save_splats_glb
from maquette.representations import Mesh, examine, gaussians_to_mesh

VOTERS = 5
"""Gaussians that decide on the part of a face."""


def save_scene_file(path: str | Path, scene: Scene, *, part: str = ALL, as_mesh: bool = False) -> None:
    """Write Gaussians as .ply, .spz or .glb, or their surface as a mesh with a texture (.glb) and its
    health beside it.

    A .glb has a node for every part; rows that several parts share have one with the names of all of them. Gaussians
    in it are sorted by node. Raises BadInput for another ending and for a part without rows.
    """
    path = Path(path)
    is_glb = path.suffix.lower() == ".glb"
    if as_mesh and not is_glb:
        raise BadInput(f"{path} cannot hold a mesh, only Gaussians", "choose the ending .glb")
    rows = scene.rows(part)
    scene = Scene(scene.cloud.select(rows), {name: mask[rows] for name, mask in scene.parts.items()})
    if as_mesh:
        mesh = gaussians_to_mesh(scene.cloud)
        save_mesh_glb(path, mesh, face_parts(mesh, scene))
        save_health(path, examine(mesh))
    elif is_glb:
        save_splats_glb(path, scene.cloud, scene.parts)
    else:
        save_splats(path, scene.cloud)


def face_parts(mesh: Mesh, scene: Scene) -> dict[str, Bool[Tensor, " faces"]]:
    """The parts of a surface: a face is in those in which most of the five rows nearest to its middle are."""
    middles = mesh.vertices[mesh.faces].mean(dim=1)
    around = nearest(scene.cloud.means.double(), middles.double(), VOTERS)
    return {name: 2 * mask[around].sum(dim=1) > around.shape[1] for name, mask in scene.parts.items()}
