"""The frame of a glTF 2.0 file: its JSON, its buffers, and numbers out of them, every reference checked before use.

The checks are ours because the libraries' are not enough for files from strangers: pygltflib takes seconds for a
megabyte of JSON and follows any URI, trimesh ends in bare assertions. This module does not know meshes or Gaussians.
"""

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from maquette.core.errors import BadInput, Unsupported
from maquette.io.limits import beside, read_file

KIND = "a glTF file (.glb or .gltf)"
MAX_JSON_MIB = 16
MAX_NODES = 20_000
MAX_PRIMITIVES = 10_000
MAX_ELEMENTS = 40_000_000  # rows of one accessor
_AGAIN = "export the file again; a glTF validator shows what else is wrong with it"
_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_PLACING = {"matrix", "translation", "rotation", "scale"}
_READABLE = {"KHR_gaussian_splatting", "KHR_mesh_quantization", "KHR_texture_transform", "KHR_materials_unlit"}


@dataclass(frozen=True)
class Document:
    """A parsed glTF file. `chunk` is the binary part of a .glb; `buffers` keeps what has been read."""

    path: Path
    json: dict
    chunk: bytes = b""
    buffers: dict[int, bytes] = field(default_factory=dict)

    def item(self, kind: str, index: object) -> dict:
        """Object `index` of the top-level array `kind`. Raises BadInput if there is none."""
        items = self.json.get(kind, [])
        is_index = isinstance(index, int) and not isinstance(index, bool)
        if not is_index or not isinstance(items, list) or not 0 <= index < len(items):
            raise BadInput(f"{self.path} refers to {kind}[{index}], which is not there", _AGAIN)
        if not isinstance(items[index], dict):
            raise BadInput(f"{self.path} has no object at {kind}[{index}]", _AGAIN)
        return items[index]

    def view(self, index: object) -> tuple[bytes, int, int, int]:
        """Buffer, offset, length and stride (0: none given) of a buffer view, which lies inside of its buffer."""
        view = self.item("bufferViews", index)
        buffer = self._buffer(view.get("buffer"))
        offset, length = _count(view.get("byteOffset", 0)), _count(view.get("byteLength"))
        if offset + length > len(buffer):
            raise BadInput(
                f"{self.path}: bufferViews[{index}] ends at byte {offset + length} of a buffer of {len(buffer)}", _AGAIN
            )
        return buffer, offset, length, _count(view.get("byteStride", 0))

    def accessor(self, index: object) -> np.ndarray:
        """The rows of an accessor, (count, components); normalized integers become float32 in [0, 1] or [-1, 1].

        Raises BadInput when it reaches out of its buffer view or holds NaN, Unsupported when sparse or compressed.
        """
        accessor = self.item("accessors", index)
        count, width = _count(accessor.get("count")), _WIDTHS[accessor["type"]]
        dtype = np.dtype(_COMPONENTS[accessor["componentType"]])
        if "sparse" in accessor or "bufferView" not in accessor:
            raise Unsupported(f"{self.path}: accessors[{index}] is sparse or compressed", "export without compression")
        buffer, offset, length, stride = self.view(accessor["bufferView"])
        start, size = _count(accessor.get("byteOffset", 0)), width * dtype.itemsize
        stride = stride or size
        if stride < size or count > MAX_ELEMENTS or (count and start + stride * (count - 1) + size > length):
            raise BadInput(
                f"{self.path}: accessors[{index}] wants {count} rows of {stride} bytes from byte {start} of {length}",
                _AGAIN,
            )
        table = np.ndarray((count, width), dtype, buffer, offset + start, (stride, dtype.itemsize))
        if dtype.kind == "f" and not np.isfinite(table).all():
            raise BadInput(f"{self.path}: accessors[{index}] holds NaN or infinite values", _AGAIN)
        if accessor.get("normalized"):
            return np.maximum(table.astype(np.float32) / np.iinfo(dtype).max, -1.0)
        return table

    def num_rows(self, index: object) -> int:
        """How many rows an accessor declares, unread."""
        return _count(self.item("accessors", index).get("count"))

    def image(self, index: object) -> bytes:
        """The encoded bytes of an image."""
        image = self.item("images", index)
        if "bufferView" in image:
            buffer, offset, length, _ = self.view(image["bufferView"])
            return buffer[offset : offset + length]
        return self._uri(image.get("uri"))

    def primitives(self) -> Iterator[tuple[np.ndarray, dict]]:
        """Each primitive of the scene with its world matrix (4, 4), float64; a mesh that is used twice comes twice.

        Raises BadInput for a node that is its own ancestor or has two parents, Unsupported for skinned meshes.
        """
        scenes, nodes = self.json.get("scenes", []), self.json.get("nodes", [])
        if len(nodes) > MAX_NODES:
            raise BadInput(f"{self.path} has {len(nodes)} nodes; at most {MAX_NODES} are read", "merge its parts")
        if scenes:
            roots = self.item("scenes", self.json.get("scene", 0)).get("nodes", [])
        else:  # a library of meshes without a scene: every node that is nobody's child
            children = {child for node in nodes for child in node.get("children", [])}
            roots = [i for i in range(len(nodes)) if i not in children]
            if nodes and not roots:
                raise BadInput(f"{self.path}: every node is a child of another; the nodes form a cycle", _AGAIN)
        seen: set[int] = set()
        count = 0
        stack = [(root, np.eye(4)) for root in reversed(roots)]
        while stack:
            index, above = stack.pop()
            node = self.item("nodes", index)
            if index in seen:
                raise BadInput(f"{self.path}: nodes[{index}] is reached twice; the nodes form a cycle", _AGAIN)
            seen.add(index)
            world = above
            if not _PLACING.isdisjoint(node):
                world = above @ _matrix(node)
                if not np.isfinite(world).all():
                    raise BadInput(f"{self.path}: the transform of nodes[{index}] is not finite", _AGAIN)
            if "mesh" in node:
                if "skin" in node:
                    raise Unsupported(f"{self.path}: nodes[{index}] has a skeleton", "apply its pose and export again")
                found = self.item("meshes", node["mesh"]).get("primitives", [])
                count += len(found)
                if count > MAX_PRIMITIVES:
                    raise BadInput(f"{self.path} draws more than {MAX_PRIMITIVES} primitives", "merge its parts")
                yield from ((world, primitive) for primitive in found)
            stack += [(child, world) for child in reversed(node.get("children", []))]

    def _buffer(self, index: object) -> bytes:
        buffer = self.item("buffers", index)
        if index not in self.buffers:
            self.buffers[index] = self.chunk if index == 0 and "uri" not in buffer else self._uri(buffer.get("uri"))
        data = self.buffers[index]
        if len(data) < _count(buffer.get("byteLength")):
            raise BadInput(f"{self.path}: buffers[{index}] declares more bytes than the {len(data)} it has", _AGAIN)
        return data

    def _uri(self, uri: object) -> bytes:
        if not isinstance(uri, str):
            raise BadInput(f"{self.path} has a buffer or image without data", _AGAIN)
        if uri.startswith("data:"):
            try:
                return base64.b64decode(uri.partition(";base64,")[2], validate=True)
            except binascii.Error as error:
                raise BadInput(f"{self.path} has a data URI that is no base64", _AGAIN) from error
        return read_file(beside(self.path, uri), "a file that a glTF file refers to")


def open_document(path: str | Path) -> Document:
    """Parse a .glb or .gltf file (told apart by its bytes), and check its frame, version and required extensions."""
    data = read_file(path, KIND)
    document = Document(Path(path), *_parts(data, path))
    if not isinstance(document.json, dict) or not isinstance(document.json.get("asset"), dict):
        raise BadInput(f"{path} has no glTF asset in its JSON", "check which file this is")
    if str(document.json["asset"].get("version", "")).split(".")[0] != "2":
        raise Unsupported(f"{path} is glTF {document.json['asset'].get('version')}", "export it as glTF 2.0")
    unknown = sorted(set(map(str, document.json.get("extensionsRequired", []))) - _READABLE)
    if unknown:
        raise Unsupported(f"{path} requires {', '.join(unknown)[:200]}", "export it without compression and extensions")
    return document


def _parts(data: bytes, path: str | Path) -> tuple[dict, bytes]:
    """JSON and binary chunk."""
    if data[:4] != b"glTF":
        return _parse(data, path), b""
    if len(data) < 20:
        raise BadInput(f"{path} is truncated: {len(data)} bytes", _AGAIN)
    _, version, total = struct.unpack_from("<4sII", data)
    if version != 2 or total != len(data):
        raise BadInput(f"{path} says GLB version {version} and {total} bytes; it has {len(data)} bytes", _AGAIN)
    chunks, at = [], 12
    while at + 8 <= len(data) and len(chunks) < 2:
        length, kind = struct.unpack_from("<I4s", data, at)
        if at + 8 + length > len(data):
            raise BadInput(f"{path} has a chunk of {length} bytes that ends beyond the file", _AGAIN)
        chunks.append((kind, data[at + 8 : at + 8 + length]))
        at += 8 + length
    if not chunks or chunks[0][0] != b"JSON":
        raise BadInput(f"{path} does not begin with a JSON chunk", _AGAIN)
    binary = chunks[1][1] if len(chunks) > 1 and chunks[1][0] == b"BIN\0" else b""
    return _parse(chunks[0][1], path), binary


def _parse(text: bytes, path: str | Path) -> dict:
    if len(text) > MAX_JSON_MIB * 2**20:
        raise BadInput(
            f"{path} has {len(text) / 2**20:.0f} MiB of JSON; at most {MAX_JSON_MIB} are read", "simplify it"
        )

    def not_json(word: str) -> float:
        raise BadInput(f"{path} holds {word} in its JSON, which JSON does not have", _AGAIN)

    return json.loads(text.decode("utf-8"), parse_constant=not_json)


def _matrix(node: dict) -> np.ndarray:
    """The local matrix of a node: its own, or translation x rotation x scale. Columns are stored first in glTF."""
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    quat = np.array(node.get("rotation", (0, 0, 0, 1)), dtype=np.float64)
    x, y, z, w = quat / np.linalg.norm(quat)
    rotation = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(node.get("scale", (1, 1, 1)), dtype=np.float64).reshape(1, 3)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**40:
        raise BadInput(f"a glTF count or offset is {str(value)[:40]}; expected a whole number", _AGAIN)
    return value
