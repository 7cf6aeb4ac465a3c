"""The rules of the Khronos glTF validator that our files must keep, and proof that each rule would notice."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from maquette.io.gltf import save_mesh_glb, save_splats_glb
from maquette.representations.mesh import Mesh

COMPONENTS = {5120: "i1", 5121: "u1", 5122: "i2", 5123: "u2", 5125: "u4", 5126: "f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
VERTICES, INDICES = 34962, 34963


def unpack(data: bytes) -> tuple[dict, bytearray]:
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length]), bytearray(data[28 + length :])


def pack(document: dict, binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def faults(data: bytes) -> set[str]:
    """Codes of the validator's messages for a .glb file with one buffer. Stops at a broken container."""
    magic, version, total = struct.unpack_from("<4sII", data)
    length, kind = struct.unpack_from("<I4s", data, 12)
    container = {
        "GLB_INVALID_MAGIC": magic != b"glTF",
        "GLB_INVALID_VERSION": version != 2,
        "GLB_LENGTH_MISMATCH": total != len(data),
        "GLB_CHUNK_LENGTH_UNALIGNED": length % 4 != 0,
        "GLB_UNEXPECTED_FIRST_CHUNK": kind != b"JSON",
        "GLB_CHUNK_TOO_BIG": 20 + length > len(data),
    }
    found = {code for code, is_broken in container.items() if is_broken}
    if found:
        return found
    document, binary = unpack(data)
    found |= {"UNKNOWN_ASSET_MAJOR_VERSION"} if document["asset"]["version"] != "2.0" else set()
    found |= _extension_faults(document)
    found |= {"BUFFER_GLB_CHUNK_TOO_BIG"} if not 0 <= len(binary) - document["buffers"][0]["byteLength"] <= 3 else set()
    used: set[tuple[str, int]] = {("scenes", document.get("scene", 0))}
    try:
        _walk(document, used)
    except IndexError:
        return found | {"UNRESOLVED_REFERENCE"}
    for kind in ("nodes", "meshes", "accessors", "bufferViews", "materials", "textures", "images", "samplers"):
        unused = [i for i in range(len(document.get(kind, []))) if (kind, i) not in used]
        found |= {"UNUSED_OBJECT"} if unused else set()
    for mesh in document["meshes"]:
        for primitive in mesh["primitives"]:
            found |= _primitive_faults(document, binary, primitive)
    for image in document.get("images", []):
        view = document["bufferViews"][image["bufferView"]]
        start = bytes(binary[view["byteOffset"] : view["byteOffset"] + 8])
        is_png = start == b"\x89PNG\r\n\x1a\n"
        found |= {"IMAGE_MIME_TYPE_INVALID"} if is_png != (image["mimeType"] == "image/png") else set()
    return found


def _extension_faults(document: dict) -> set[str]:
    names = set()

    def visit(value: object) -> None:
        if isinstance(value, dict):
            names.update(value.get("extensions", {}))
            for inner in value.values():
                visit(inner)
        elif isinstance(value, list):
            for inner in value:
                visit(inner)

    visit(document)
    used, required = set(document.get("extensionsUsed", [])), set(document.get("extensionsRequired", []))
    undeclared = {"UNDECLARED_EXTENSION"} if names - used else set()
    return undeclared | ({"UNUSED_EXTENSION_REQUIRED"} if required - used else set())


def _walk(document: dict, used: set[tuple[str, int]]) -> None:
    """Follow every reference from the scene; an index out of range raises IndexError."""

    def take(kind: str, index: int) -> dict:
        used.add((kind, index))
        return document[kind][index]

    for root in document["scenes"][document.get("scene", 0)]["nodes"]:
        node = take("nodes", root)
        for primitive in take("meshes", node["mesh"])["primitives"]:
            accessors = [*primitive["attributes"].values(), *([primitive["indices"]] if "indices" in primitive else [])]
            for accessor in accessors:
                take("bufferViews", take("accessors", accessor)["bufferView"])
            if "material" in primitive:
                surface = take("materials", primitive["material"])["pbrMetallicRoughness"]
                if "baseColorTexture" in surface:
                    texture = take("textures", surface["baseColorTexture"]["index"])
                    take("samplers", texture["sampler"])
                    take("bufferViews", take("images", texture["source"])["bufferView"])


def _primitive_faults(document: dict, binary: bytes, primitive: dict) -> set[str]:
    found, tables = set(), {}
    for semantic, index in [
        *primitive["attributes"].items(),
        *([("indices", primitive["indices"])] if "indices" in primitive else []),
    ]:
        accessor = document["accessors"][index]
        view = document["bufferViews"][accessor["bufferView"]]
        kind = np.dtype("<" + COMPONENTS[accessor["componentType"]])
        row = kind.itemsize * WIDTHS[accessor["type"]]
        offset = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        if accessor.get("byteOffset", 0) + row * accessor["count"] > view["byteLength"]:
            found.add("ACCESSOR_TOO_LONG")
            continue
        if offset % kind.itemsize:
            found.add("ACCESSOR_TOTAL_OFFSET_ALIGNMENT")
        if semantic != "indices" and (offset % 4 or row % 4):
            found.add("MESH_PRIMITIVE_ACCESSOR_UNALIGNED")
        if view.get("target") != (INDICES if semantic == "indices" else VERTICES):
            found.add("BUFFER_VIEW_TARGET_MISSING")
        table = np.frombuffer(binary, kind, accessor["count"] * WIDTHS[accessor["type"]], offset)
        tables[semantic] = table = table.reshape(accessor["count"], -1)
        if kind.kind == "f" and not np.isfinite(table).all():
            found.add("ACCESSOR_INVALID_FLOAT")
            continue
        for bound, value in (("min", table.min(axis=0)), ("max", table.max(axis=0))):
            if accessor.get(bound, value.tolist()) != value.tolist():
                found.add(f"ACCESSOR_{bound.upper()}_MISMATCH")
            elif semantic == "POSITION" and bound not in accessor:
                found.add("MESH_PRIMITIVE_POSITION_ACCESSOR_WITHOUT_BOUNDS")
        if semantic == "NORMAL" and (np.abs(np.linalg.norm(table, axis=1) - 1) > 5e-4).any():
            found.add("ACCESSOR_VECTOR3_NON_UNIT")
    count = len(tables.get("POSITION", []))
    if any(len(table) != count for semantic, table in tables.items() if semantic != "indices"):
        found.add("MESH_PRIMITIVE_UNEQUAL_ACCESSOR_COUNT")
    indices = tables.get("indices")
    if indices is not None:
        if indices.max() >= count:
            found.add("ACCESSOR_INDEX_OOB")
        if indices.max() == np.iinfo(indices.dtype).max:
            found.add("ACCESSOR_INDEX_PRIMITIVE_RESTART")
        if len(indices) % 3:
            found.add("MESH_PRIMITIVE_INDICES_INCOMPATIBLE_MODE")
    return found


def meshes() -> dict[str, Mesh]:
    generator = torch.Generator().manual_seed(0)
    vertices = torch.rand(9, 3, generator=generator) - 0.5
    faces = torch.tensor([[0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 8], [8, 8, 8]])  # the last one has no area
    color, uv = torch.rand(9, 3, generator=generator), torch.rand(9, 2, generator=generator)
    texture = torch.rand(7, 5, 3, generator=generator)
    many = torch.rand(66_000, 3, generator=generator)
    return {
        "plain": Mesh(vertices, faces),
        "vertex colors": Mesh(vertices, faces, vertex_colors=color),
        "face colors": Mesh(vertices, faces, face_colors=color[:5]),
        "texture": Mesh(vertices, faces, uv=uv, texture=texture),
        "repeating texture": Mesh(vertices, faces, uv=uv * 3 - 1, texture=texture),
        "32-bit indices": Mesh(many, torch.arange(66_000).reshape(-1, 3)),
    }


@pytest.mark.parametrize("name", meshes())
def test_our_meshes_keep_every_rule(name, tmp_path):
    save_mesh_glb(tmp_path / "a.glb", meshes()[name])
    assert faults((tmp_path / "a.glb").read_bytes()) == set()


def test_what_follows_a_picture_of_any_length_is_aligned(tmp_path):
    mesh = meshes()["texture"]
    for width in range(1, 9):  # PNG files of odd and even lengths
        save_mesh_glb(tmp_path / "a.glb", replace(mesh, texture=torch.rand(3, width, 3)))
        document, _ = unpack((tmp_path / "a.glb").read_bytes())
        assert all(view["byteOffset"] % 4 == 0 for view in document["bufferViews"])
        assert faults((tmp_path / "a.glb").read_bytes()) == set()


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_our_splats_keep_every_rule(degree, random_cloud, tmp_path):
    save_splats_glb(tmp_path / "a.glb", random_cloud(33, degree))
    assert faults((tmp_path / "a.glb").read_bytes()) == set()


def poke(accessor: int, value: float, at: int = 0) -> Callable[[dict, bytearray], None]:
    """Overwrite one float of an accessor."""

    def change(document: dict, binary: bytearray) -> None:
        offset = document["bufferViews"][document["accessors"][accessor]["bufferView"]]["byteOffset"]
        struct.pack_into("<f", binary, offset + at, value)

    return change


def put(value: object, *path: str | int) -> Callable[[dict, bytearray], None]:
    """Set one value of the JSON; None deletes it."""

    def change(document: dict, binary: bytearray) -> None:
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        if value is None:
            del inner[path[-1]]
        else:
            inner[path[-1]] = value

    return change


MUTATIONS = {
    "UNKNOWN_ASSET_MAJOR_VERSION": put("1.0", "asset", "version"),
    "MESH_PRIMITIVE_POSITION_ACCESSOR_WITHOUT_BOUNDS": put(None, "accessors", 0, "min"),
    "ACCESSOR_MIN_MISMATCH": put([0, 0, 0], "accessors", 0, "min"),
    "ACCESSOR_MAX_MISMATCH": put([9, 9, 9], "accessors", 0, "max"),
    "ACCESSOR_INVALID_FLOAT": poke(0, float("nan")),
    "ACCESSOR_VECTOR3_NON_UNIT": poke(1, 7.0),
    "ACCESSOR_TOO_LONG": put(10, "accessors", 0, "count"),
    "MESH_PRIMITIVE_UNEQUAL_ACCESSOR_COUNT": put(8, "accessors", 1, "count"),
    "UNRESOLVED_REFERENCE": put(77, "meshes", 0, "primitives", 0, "attributes", "NORMAL"),
    "UNUSED_OBJECT": put(None, "meshes", 0, "primitives", 0, "attributes", "TEXCOORD_0"),
    "UNDECLARED_EXTENSION": put({"KHR_materials_unlit": {}}, "materials", 0, "extensions"),
    "UNUSED_EXTENSION_REQUIRED": put(["KHR_x"], "extensionsRequired"),
    "BUFFER_VIEW_TARGET_MISSING": put(None, "bufferViews", 0, "target"),
    "IMAGE_MIME_TYPE_INVALID": put("image/jpeg", "images", 0, "mimeType"),
    "BUFFER_GLB_CHUNK_TOO_BIG": put(8, "buffers", 0, "byteLength"),
    "ACCESSOR_INDEX_OOB": lambda document, binary: binary.__setitem__(
        document["bufferViews"][document["accessors"][3]["bufferView"]]["byteOffset"], 200
    ),
}


@pytest.mark.parametrize("code", MUTATIONS)
def test_each_rule_notices_its_mutation(code, tmp_path):
    save_mesh_glb(tmp_path / "a.glb", meshes()["texture"])
    document, binary = unpack((tmp_path / "a.glb").read_bytes())
    MUTATIONS[code](document, binary)
    assert code in faults(pack(document, bytes(binary)))
