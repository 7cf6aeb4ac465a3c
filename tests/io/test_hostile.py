"""Any bytes either load or raise one of our errors, soon: valid files of every format, mutated at random."""

import contextlib
import copy
import io
import json
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from maquette.core.errors import BadInput, Unsupported
from maquette.io.gltf import load_mesh_glb, load_splats_glb, save_mesh_glb, save_splats_glb
from maquette.io.image import load_image
from maquette.io.meshes import load_mesh_obj
from maquette.io.ply import load_ply, save_ply
from maquette.io.spz import load_spz, save_spz
from maquette.representations.mesh import Mesh

# Above what any of them takes on an idle core (0.2 s), below the promise; counted in time of the processor.
SECONDS = 2.0

mutations = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "repeat", "cut"]),
        st.floats(0, 1, exclude_max=True),
        st.one_of(
            st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 4, b"\0" * 8, b"\n", b"-", b"9999999"])
        ),
    ),
    min_size=1,
    max_size=6,
)
json_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.sampled_from([2**31, 2**53, -(2**63), 10**30, 1e308, -1e-300, 0.5]),
    st.text(max_size=5),
    st.sampled_from([[], {}, [0], [[]], {"a": 1}, "VEC3", "../x", 5126, 5121]),
)


def mutated(data: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    for kind, where, new in changes:
        at = int(where * len(data))
        if kind == "replace":
            data = data[:at] + new + data[at + len(new) :]
        elif kind == "insert":
            data = data[:at] + new + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + 4 * len(new) :]
        elif kind == "repeat":
            data = data[:at] + data[at : at + 40] * 3 + data[at + 40 :]
        else:
            data = data[:at]
    return data


def places(value: object, path: tuple = ()) -> list[tuple]:
    """The path of every value in a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in inner for found in ((*path, key), *places(item, (*path, key)))]


def edited(document: dict, changes: list[tuple[float, object]]) -> dict:
    """The document with some of its values replaced."""
    for where, new in changes:
        paths = places(document)
        if not paths:
            break
        *path, last = paths[int(where * len(paths))]
        inner = document
        for key in path:
            inner = inner[key]
        inner[last] = copy.deepcopy(new)  # or the same list would come to lie in itself
    return document


def pack(document: dict, binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def survives(load: Callable, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    start = time.process_time()
    with contextlib.suppress(BadInput, Unsupported):
        load(path)
    assert time.process_time() - start < SECONDS


@pytest.fixture(scope="session")
def valid(folder, random_cloud) -> dict[str, tuple[Callable, bytes]]:
    """A reader and a valid file for each format."""
    uv, texture = torch.rand(6, 2), torch.rand(4, 4, 3)
    mesh = Mesh(torch.rand(6, 3), torch.tensor([[0, 1, 2], [3, 4, 5]]), uv=uv, texture=texture)
    save_mesh_glb(folder / "mesh.glb", mesh)
    for name, save in (("ply", save_ply), ("spz", save_spz), ("splats.glb", save_splats_glb)):
        save(folder / name, random_cloud(5, 1))
    header, body = (folder / "ply").read_bytes().split(b"end_header\n")
    numbers = " ".join(map(str, np.frombuffer(body, "<f4"))).encode()
    ascii_ply = header.replace(b"binary_little_endian", b"ascii") + b"end_header\n" + numbers
    obj = (
        b"mtllib a.mtl\n"
        + b"".join(b"v %d 0.5 1e-1\nvt 0 1\n" % i for i in range(6))
        + b"usemtl m\nf 1/1 2/2 3/3\nf 4 5 6\n"
    )
    (folder / "a.mtl").write_bytes(b"newmtl m\nKd 1 0 0\nmap_Kd a.png\n")
    found = {
        "PLY": (load_ply, (folder / "ply").read_bytes()),
        "ASCII PLY": (load_ply, ascii_ply),
        "SPZ": (load_spz, (folder / "spz").read_bytes()),
        "mesh GLB": (load_mesh_glb, (folder / "mesh.glb").read_bytes()),
        "splat GLB": (load_splats_glb, (folder / "splats.glb").read_bytes()),
        "OBJ": (load_mesh_obj, obj),
    }
    picture = Image.fromarray(np.arange(20 * 24 * 3, dtype=np.uint8).reshape(20, 24, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"):
        file = io.BytesIO()
        how = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {}
        picture.save(file, kind, **how)
        found[kind] = (load_image, file.getvalue())
    for load, data in found.values():
        (folder / "valid").write_bytes(data)
        load(folder / "valid")  # it is, and what has to be imported is imported
    return found


FORMATS = ["PLY", "ASCII PLY", "SPZ", "mesh GLB", "splat GLB", "OBJ", "PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"]


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=mutations)
def test_mutated_files(name, changes, valid, folder):
    load, data = valid[name]
    survives(load, folder / "mutated", mutated(data, changes))


@pytest.mark.parametrize("name", ["mesh GLB", "splat GLB"])
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), json_values), min_size=1, max_size=3))
def test_gltf_with_other_values_in_its_json(name, changes, valid, folder):
    load, data = valid[name]
    (length,) = struct.unpack_from("<I", data, 12)
    document = edited(json.loads(data[20 : 20 + length]), changes)
    survives(load, folder / "mutated", pack(document, data[28 + length :]))


@settings(max_examples=60, deadline=None)
@given(changes=mutations)
@example(changes=[("replace", 8 / 209, b"\xff\xff\xff\x7f")])  # the count
def test_spz_mutated_before_compression(changes, valid, folder):
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    data = mutated(zlib.decompress(valid["SPZ"][1], 31), changes)
    survives(load_spz, folder / "mutated", compressor.compress(data) + compressor.flush())


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=200),
    start=st.sampled_from([b"", b"ply\n", b"glTF\2\0\0\0", b"\x1f\x8b\x08\0", b"v ", b"{"]),
)
def test_random_bytes(data, start, valid, folder):
    for load in (load_ply, load_spz, load_mesh_glb, load_splats_glb, load_mesh_obj, load_image):
        survives(load, folder / "mutated", start + data)
