"""KHR_gaussian_splatting: known values, there and back, placed by nodes, and what the extension rules out."""

import json
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import BadInput, Unsupported
from maquette.core.rotation import normalize, quat_to_matrix
from maquette.io.gltf import load_mesh_glb, load_splats_glb, save_splats_glb

KHR = "KHR_gaussian_splatting"


def read_with_pygltflib(path) -> dict[str, np.ndarray]:
    """The attributes of the first primitive, through another reader."""
    import pygltflib

    document = pygltflib.GLTF2().load(str(path))
    rows = {}
    for name, index in vars(document.meshes[0].primitives[0].attributes).items():
        if index is None:
            continue
        accessor = document.accessors[index]
        offset = document.bufferViews[accessor.bufferView].byteOffset
        kind = {5126: "<f4", 5123: "<u2"}[accessor.componentType]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor.type]
        table = np.frombuffer(document.binary_blob(), kind, accessor.count * width, offset)
        rows[name] = table.reshape(accessor.count, width)
    return rows


def unpack(data: bytes) -> tuple[dict, bytes]:
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def pack(document: dict, binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def edited(path, change) -> None:
    document, binary = unpack(path.read_bytes())
    binary = bytearray(binary)
    change(document, binary)
    path.write_bytes(pack(document, bytes(binary)))


def test_the_values_of_the_two_known_gaussians(two_gaussians, tmp_path):
    save_splats_glb(tmp_path / "a.glb", two_gaussians)
    rows = read_with_pygltflib(tmp_path / "a.glb")
    assert np.array_equal(rows["POSITION"], [[0.125, -0.25, 0.375], [-0.5, 0.5, 0]])  # LUF as glTF: nothing turned
    assert np.allclose(rows[f"{KHR}:ROTATION"], [[0.10259783, -0.3077935, 0.20519567, 0.9233805], [0, 1, 0, 0]])
    assert np.allclose(rows[f"{KHR}:SCALE"], [[0.3, 0.1, 0.05], [0.01, 0.02, 0.005]])
    assert np.allclose(rows[f"{KHR}:OPACITY"], [[0.8], [0.25]])
    assert np.allclose(rows[f"{KHR}:SH_DEGREE_0_COEF_0"][1], [-1.06347227, -0.35449076, 0.35449076])
    assert np.allclose(rows[f"{KHR}:SH_DEGREE_1_COEF_1"], [[0.0625, 0.5, -0.25], [0.1, 0.2, 0.3]])
    assert rows["COLOR_0"][1].tolist() == [2170, 8708, 20876, 16384]  # linear light, as the fallback wants it
    document, _ = unpack((tmp_path / "a.glb").read_bytes())
    assert document["extensionsUsed"] == [KHR]
    assert "extensionsRequired" not in document  # points remain for who does not know it
    primitive = document["meshes"][0]["primitives"][0]
    assert primitive["mode"] == 0
    assert primitive["extensions"][KHR]["kernel"] == "ellipse"
    assert primitive["extensions"][KHR]["colorSpace"] == "srgb_rec709_display"


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 40), degree=st.integers(0, 3), seed=st.integers(0, 2**31))
def test_a_round_trip(count, degree, seed, random_cloud, folder):
    cloud = random_cloud(count, degree, seed)
    save_splats_glb(folder / "a.glb", cloud)
    seen = load_splats_glb(folder / "a.glb")
    assert torch.equal(seen.means, cloud.means)
    assert torch.equal(seen.sh, cloud.sh)
    assert torch.allclose(seen.log_scales, cloud.log_scales, atol=1e-5)
    assert torch.allclose(seen.opacities, cloud.opacities, atol=1e-6)
    assert torch.allclose(seen.quats, normalize(cloud.quats), atol=1e-6)


def test_nodes_place_gaussians(random_cloud, tmp_path):
    cloud, half = random_cloud(6, 0), 0.5**0.5
    save_splats_glb(tmp_path / "a.glb", cloud)
    placing = {"translation": [1, 2, 3], "rotation": [0, 0, half, half], "scale": [2, 2, 2]}
    edited(tmp_path / "a.glb", lambda document, _: document["nodes"][0].update(placing))
    seen = load_splats_glb(tmp_path / "a.glb")
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert torch.allclose(seen.means, 2 * cloud.means @ turn.T + torch.tensor([1.0, 2, 3]), atol=1e-6)

    def covariances(gaussians):
        root = quat_to_matrix(gaussians.quats) * gaussians.scales[:, None]
        return root @ root.mT

    assert torch.allclose(covariances(seen), 4 * turn @ covariances(cloud) @ turn.T, atol=1e-6)


def test_two_nodes_and_mixed_degrees_join(random_cloud, tmp_path):
    save_splats_glb(tmp_path / "a.glb", random_cloud(3, 0))
    nodes = [{"mesh": 0}, {"mesh": 0, "translation": [5, 0, 0]}]
    edited(tmp_path / "a.glb", lambda document, _: document.update(nodes=nodes, scenes=[{"nodes": [0, 1]}]))
    seen = load_splats_glb(tmp_path / "a.glb")
    assert torch.allclose(seen.means[3:] - seen.means[:3], torch.tensor([5.0, 0, 0]), atol=1e-6)


def test_quantised_rotations_and_opacities(two_gaussians, tmp_path):
    """The extension allows normalized shorts and bytes; other writers use them."""
    save_splats_glb(tmp_path / "a.glb", two_gaussians)

    def quantise(document, binary):
        attributes = document["meshes"][0]["primitives"][0]["attributes"]
        for name, kind, code, limit in ((f"{KHR}:ROTATION", "<i2", 5122, 32767), (f"{KHR}:OPACITY", "<u1", 5121, 255)):
            accessor = document["accessors"][attributes[name]]
            view = document["bufferViews"][accessor["bufferView"]]
            width = 4 if name.endswith("ROTATION") else 1
            values = np.frombuffer(binary, "<f4", 2 * width, view["byteOffset"])
            packed = np.round(values * limit).astype(kind).tobytes()
            binary[view["byteOffset"] : view["byteOffset"] + len(packed)] = packed
            accessor.update(componentType=code, normalized=True)

    edited(tmp_path / "a.glb", quantise)
    seen = load_splats_glb(tmp_path / "a.glb")
    assert torch.allclose(seen.quats, two_gaussians.quats, atol=1e-4)
    assert torch.allclose(seen.opacities, two_gaussians.opacities, atol=1 / 255)


def attributes_of(document: dict) -> dict:
    return document["meshes"][0]["primitives"][0]["attributes"]


def poke(name: str, value: float):
    def change(document, binary):
        accessor = document["accessors"][attributes_of(document)[name]]
        struct.pack_into("<f", binary, document["bufferViews"][accessor["bufferView"]]["byteOffset"], value)

    return change


BROKEN = {
    "no rotation": (lambda d, _: attributes_of(d).pop(f"{KHR}:ROTATION"), f"{KHR}:ROTATION"),
    "no color": (lambda d, _: attributes_of(d).pop(f"{KHR}:SH_DEGREE_0_COEF_0"), "incomplete SH"),
    "a gap in degree 1": (lambda d, _: attributes_of(d).pop(f"{KHR}:SH_DEGREE_1_COEF_1"), "incomplete SH"),
    "triangles": (lambda d, _: d["meshes"][0]["primitives"][0].update(mode=4), "mode 0"),
    "unequal counts": (lambda d, _: d["accessors"][1].update(count=1), "unequal length"),
    "rotation of three": (lambda d, _: attributes_of(d).update({f"{KHR}:ROTATION": 0}), "wrong type"),
    "negative scale": (poke(f"{KHR}:SCALE", -0.5), "negative scales"),
    "opacity of two": (poke(f"{KHR}:OPACITY", 2.0), "outside [0, 1]"),
    "NaN": (poke("POSITION", float("nan")), "NaN"),
    "compressed": (
        lambda d, _: d["meshes"][0]["primitives"][0]["extensions"][KHR].update(extensions={"KHR_spz_2": {}}),
        "compressed with KHR_spz_2",
    ),
    "sheared": (lambda d, _: d["nodes"][0].update(scale=[1, 2, 1]), "shears"),
    "mirrored": (lambda d, _: d["nodes"][0].update(scale=[-1, -1, -1]), "mirrors"),
    "flattened": (lambda d, _: d["nodes"][0].update(scale=[0, 0, 0]), "shears"),
    "turned with SH": (lambda d, _: d["nodes"][0].update(rotation=[1, 0, 0, 0]), "turns"),
    "node cycle": (lambda d, _: d["nodes"][0].update(children=[0]), "cycle"),
    "huge count": (lambda d, _: d["accessors"][0].update(count=2**39), "more than"),
    "extension is text": (lambda d, _: d["meshes"][0]["primitives"][0].update(extensions={KHR: "x"}), None),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_the_extension_rules_out_is_refused(name, two_gaussians, tmp_path):
    change, words = BROKEN[name]
    save_splats_glb(tmp_path / "a.glb", two_gaussians)
    edited(tmp_path / "a.glb", change)
    with pytest.raises((BadInput, Unsupported)) as caught:
        load_splats_glb(tmp_path / "a.glb")
    assert words is None or words in str(caught.value)


def test_each_reader_names_the_other_when_the_file_holds_the_other_thing(two_gaussians, tmp_path):
    save_splats_glb(tmp_path / "a.glb", two_gaussians)
    with pytest.raises(BadInput, match="no triangles"):
        load_mesh_glb(tmp_path / "a.glb")
    edited(tmp_path / "a.glb", lambda d, _: d["meshes"][0]["primitives"][0].pop("extensions"))
    with pytest.raises(BadInput, match="or read its mesh"):
        load_splats_glb(tmp_path / "a.glb")
