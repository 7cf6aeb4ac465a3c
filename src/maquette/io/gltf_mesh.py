"""Meshes out of glTF 2.0 files, in world space and with their base color.

Inside we keep sRGB colors; glTF has textures in sRGB, but factors and vertex colors in linear light.
"""

from pathlib import Path

import numpy as np
import torch

from maquette.core.errors import BadInput, Unsupported
from maquette.io.glb import KIND, Document, open_document
from maquette.io.image import decode_image
from maquette.io.limits import MAX_FACES, MAX_TEXTURE_PIXELS, MAX_VERTICES, refused
from maquette.io.pieces import Piece, joined
from maquette.representations.mesh import Mesh

_TRIANGLES, _STRIP, _FAN = 4, 5, 6


def load_mesh_glb(path: str | Path) -> Mesh:
    """Read all triangles of a .glb or .gltf file as one mesh in world space, with its base color.

    Materials become colors as told in `pieces`. Alpha, metalness and the other maps are left out.

    Raises BadInput for broken files: references, indices and sizes out of range, node cycles, URIs that leave the
    folder, NaN, no triangles. Raises Unsupported for compression, sparse accessors, skeletons, and glTF 1.
    """
    with refused(path, KIND), np.errstate(all="ignore"):  # what overflows is found by asking whether it is finite
        document = open_document(path)
        drawn = [(world, primitive) for world, primitive in document.primitives() if _has_triangles(primitive)]
        num_vertices = sum(document.num_rows(primitive["attributes"]["POSITION"]) for _, primitive in drawn)
        num_indices = sum(document.num_rows(primitive["indices"]) for _, primitive in drawn if "indices" in primitive)
        if num_vertices > MAX_VERTICES or num_indices > 3 * MAX_FACES:  # the same mesh can be drawn many times
            raise BadInput(f"{path} draws {num_vertices} vertices and {num_indices} indices", "simplify it")
        pieces = [_read_piece(document, world, primitive) for world, primitive in drawn]
        if not any(len(piece.faces) for piece in pieces):
            raise BadInput(f"{path} holds no triangles", "give a file with a mesh in it")
        textures, room = {}, MAX_TEXTURE_PIXELS
        for image in {piece.texture for piece in pieces} - {None}:
            texture = decode_image(document.image(image), f"a texture of {path}", max_pixels=room)[..., :3]
            textures[image], room = texture, room - texture.shape[0] * texture.shape[1]
        return joined(pieces, textures)


def _has_triangles(primitive: dict) -> bool:
    """Not points or lines, among them Gaussians."""
    return primitive.get("mode", _TRIANGLES) in (_TRIANGLES, _STRIP, _FAN) and "POSITION" in primitive["attributes"]


def _read_piece(document: Document, world: np.ndarray, primitive: dict) -> Piece:
    attributes = primitive["attributes"]
    positions = document.accessor(attributes["POSITION"]).astype(np.float64)
    count = len(positions)
    indices = np.arange(count)
    if "indices" in primitive:
        indices = document.accessor(primitive["indices"])[:, 0].astype(np.int64)
    if len(indices) and not 0 <= indices.min() <= indices.max() < count:
        raise BadInput(f"{document.path}: an index is {indices.max()}, of {count} vertices", "export the file again")
    faces = _triangles(indices, primitive.get("mode", _TRIANGLES))
    if np.linalg.det(world[:3, :3]) < 0:  # a mirror turns every face inside out
        faces = faces[:, ::-1]
    vertices = (positions @ world[:3, :3].T + world[:3, 3]).astype(np.float32)
    if not np.isfinite(vertices).all():
        raise BadInput(f"{document.path}: a mesh is transformed beyond float32", "export the file again")
    factor, uv, image = _read_material(document, primitive, count)
    color = np.tile(factor, (count, 1))
    if "COLOR_0" in attributes:
        color = color * _rows(document, attributes["COLOR_0"], count)[:, :3]
    return Piece(
        torch.from_numpy(vertices),
        torch.from_numpy(np.ascontiguousarray(faces)),
        torch.from_numpy(color.astype(np.float32)).clamp(0, 1),
        None if uv is None else torch.from_numpy(uv),
        image,
    )


def _triangles(indices: np.ndarray, mode: int) -> np.ndarray:
    if mode == _TRIANGLES:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    first = indices[:-2] if mode == _STRIP else np.repeat(indices[:1], max(len(indices) - 2, 0))
    faces = np.stack([first, indices[1:-1], indices[2:]], axis=1)
    if mode == _STRIP:
        faces[1::2] = faces[1::2, [1, 0, 2]]  # every other triangle of a strip is wound the other way
    return faces


def _read_material(document: Document, primitive: dict, count: int) -> tuple[np.ndarray, np.ndarray | None, int | None]:
    """Linear base color factor (3), uv of its texture, and the image behind the texture."""
    if "material" not in primitive:
        return np.ones(3), None, None
    surface = document.item("materials", primitive["material"]).get("pbrMetallicRoughness", {})
    factor = np.array(surface.get("baseColorFactor", (1, 1, 1, 1)), dtype=np.float64)[:3]
    if factor.shape != (3,) or not np.isfinite(factor).all():
        raise BadInput(f"{document.path} has a broken baseColorFactor", "export the file again")
    reference = surface.get("baseColorTexture")
    if reference is None:
        return factor, None, None
    transform = reference.get("extensions", {}).get("KHR_texture_transform", {})
    if transform.get("rotation", 0) != 0:
        raise Unsupported(f"{document.path} rotates a texture", "apply the texture's transform and export again")
    coordinates = f"TEXCOORD_{transform.get('texCoord', reference.get('texCoord', 0))}"
    if coordinates not in primitive["attributes"]:
        return factor, None, None
    image = document.item("textures", reference.get("index")).get("source")
    document.item("images", image)
    uv = _rows(document, primitive["attributes"][coordinates], count)[:, :2].astype(np.float64)
    uv = (uv * transform.get("scale", (1, 1)) + np.array(transform.get("offset", (0, 0)))).astype(np.float32)
    if not np.isfinite(uv).all():
        raise BadInput(f"{document.path} transforms a texture beyond float32", "export the file again")
    return factor, uv, image


def _rows(document: Document, accessor: object, count: int) -> np.ndarray:
    rows = document.accessor(accessor)
    if len(rows) != count:
        raise BadInput(f"{document.path} has {len(rows)} rows of an attribute for {count} vertices", "export it again")
    return rows
