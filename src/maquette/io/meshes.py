"""Meshes by the ending of their file: glTF, and OBJ, which trimesh parses after the file has been looked through."""

import re
from pathlib import Path

import numpy as np
import torch

from maquette.core.color import srgb_to_linear
from maquette.core.errors import BadInput, Unsupported
from maquette.io.gltf_mesh import load_mesh_glb
from maquette.io.image import decode_image
from maquette.io.limits import MAX_FACES, MAX_TEXTURE_PIXELS, MAX_VERTICES, beside, read_file, refused
from maquette.io.pieces import Piece, joined
from maquette.representations.mesh import Mesh

_KIND = "an OBJ file"
_MAX_OBJ_MIB = 32
_MAX_LINE_BYTES = 2**16
_MAX_MATERIALS = 1000


def load_mesh(path: str | Path) -> Mesh:
    """Read a .glb, .gltf or .obj file. Raises as `load_mesh_glb` and `load_mesh_obj`; BadInput for other endings."""
    suffix = Path(path).suffix.lower()
    if suffix in (".glb", ".gltf"):
        return load_mesh_glb(path)
    if suffix == ".obj":
        return load_mesh_obj(path)
    raise BadInput(f"{path} ends in {suffix or 'nothing'}; expected .glb, .gltf or .obj", "convert it to GLB")


def load_mesh_obj(path: str | Path) -> Mesh:
    """Read a Wavefront OBJ file as one mesh, with its materials as colors as told in `pieces`.

    Materials and textures are read only from inside the file's own folder; without them the mesh is white. Raises
    BadInput for broken files, indices out of range, references that leave the folder, and no faces; Unsupported for
    indices that count backwards.
    """
    import trimesh

    with refused(path, _KIND):
        data = read_file(path, _KIND, max_mib=_MAX_OBJ_MIB)
        _look_through(data, path)
        resolver = trimesh.resolvers.FilePathResolver(str(path))
        scene = trimesh.load_scene(trimesh.util.wrap_as_stream(data), file_type="obj", resolver=resolver, process=False)
        meshes = [mesh for mesh in scene.geometry.values() if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces)]
        if not meshes:
            raise BadInput(f"{path} holds no faces", "give a file with a mesh in it")
        if sum(len(mesh.vertices) for mesh in meshes) > MAX_VERTICES or sum(len(m.faces) for m in meshes) > MAX_FACES:
            raise BadInput(f"{path} has more than {MAX_VERTICES} vertices or {MAX_FACES} faces", "simplify it")
        pieces = [_piece(mesh, path) for mesh in meshes]
        textures, room = {}, MAX_TEXTURE_PIXELS
        for name in {piece.texture for piece in pieces} - {None}:
            picture = read_file(beside(path, name), "a texture")
            textures[name] = decode_image(picture, beside(path, name), max_pixels=room)[..., :3]
            room -= textures[name].shape[0] * textures[name].shape[1]
        return joined(pieces, textures)


def _look_through(data: bytes, path: str | Path) -> None:
    """Refuse what trimesh would swallow, guess at, or be slow with."""
    ends = np.flatnonzero(np.frombuffer(data + b"\n", np.uint8) == ord("\n"))
    if b"\0" in data or np.diff(ends, prepend=0).max() > _MAX_LINE_BYTES:
        raise BadInput(f"{path} is not text in lines; expected {_KIND}", "check which file this is")
    if re.search(rb"^f[ \t].*-", data, re.MULTILINE):
        raise Unsupported(f"{path} counts vertices backwards (negative indices)", "export it again, or as GLB")
    if re.search(rb"^f[^\n]*[ \t/]0+(?:[ \t/\r]|$)", data, re.MULTILINE):
        raise BadInput(f"{path} refers to vertex 0; OBJ counts from 1", "export it again")
    if len(set(re.findall(rb"^usemtl[ \t].*$", data, re.MULTILINE))) > _MAX_MATERIALS:
        raise BadInput(f"{path} uses more than {_MAX_MATERIALS} materials", "merge them")
    for library in re.findall(rb"^mtllib[ \t]([^\n]*)", data, re.MULTILINE):
        target = beside(path, library.decode("utf-8", errors="replace").strip())
        if target.is_file():
            materials = read_file(target, "a material library", max_mib=4)
            for picture in re.findall(rb"^[ \t]*map_Kd[ \t]([^\n]*)", materials, re.MULTILINE | re.I):
                beside(target, picture.decode("utf-8", errors="replace").strip())


def _piece(mesh, path: str | Path) -> Piece:  # mesh: trimesh.Trimesh, which is imported only where it is used
    vertices, faces = np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int64)
    if not np.isfinite(vertices).all() or not 0 <= faces.min() <= faces.max() < len(vertices):
        raise BadInput(f"{path} has NaN, infinite values, or indices out of range", "export it again")
    color, uv, texture = np.ones_like(vertices), None, None
    material, coordinates = getattr(mesh.visual, "material", None), getattr(mesh.visual, "uv", None)
    image = getattr(material, "image", None)
    if image is not None and coordinates is not None and np.isfinite(coordinates).all():
        # OBJ counts v from the bottom. The texture is read again through our own door, by the name in the material.
        uv = torch.from_numpy(np.stack([coordinates[:, 0], 1 - coordinates[:, 1]], axis=1).astype(np.float32))
        texture = image.info["file_path"]
    elif getattr(mesh.visual, "kind", None) == "vertex":
        color = np.asarray(mesh.visual.vertex_colors)[:, :3].astype(np.float32) / 255
    elif material is not None:
        color = np.tile(np.asarray(material.main_color)[:3].astype(np.float32) / 255, (len(vertices), 1))
    return Piece(
        torch.from_numpy(vertices), torch.from_numpy(faces), srgb_to_linear(torch.from_numpy(color)), uv, texture
    )
