"""Meshes through glTF: there and back, through trimesh both ways, placed by nodes, and broken files refused."""

import base64
import io
import json
import struct
import time

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.core.color import linear_to_srgb, srgb_to_linear
from maquette.core.errors import BadInput, Unsupported
from maquette.io.gltf import load_mesh_glb, save_mesh_glb
from maquette.representations.mesh import Mesh

TETRAHEDRON = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) - 0.25
FACES = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def unpack(data: bytes) -> tuple[dict, bytes]:
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def pack(document: object, binary: bytes) -> bytes:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def png(picture: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, "PNG")
    return encoded.getvalue()


def volume(vertices, faces) -> float:
    a, b, c = np.asarray(vertices, np.float64)[np.asarray(faces)].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def quarters() -> torch.Tensor:
    """A texture whose upper left quarter is red, upper right green, lower left blue, lower right white."""
    texture = torch.zeros(8, 8, 3)
    texture[:4, :4, 0] = texture[:4, 4:, 1] = texture[4:, :4, 2] = 1
    texture[4:, 4:] = 1
    return texture


def test_a_textured_mesh_comes_back(tmp_path):
    uv = torch.tensor([[0.1, 0.2], [0.9, 0.2], [0.1, 0.9], [0.7, 0.7]])
    mesh = Mesh(TETRAHEDRON, FACES, uv=uv, texture=torch.rand(9, 6, 3))
    save_mesh_glb(tmp_path / "a.glb", mesh)
    seen = load_mesh_glb(tmp_path / "a.glb")
    assert torch.equal(seen.vertices, mesh.vertices)
    assert torch.equal(seen.faces, mesh.faces)
    assert torch.equal(seen.uv, mesh.uv)
    assert (seen.texture - mesh.texture).abs().max() <= 0.5 / 255 + 1e-6


def test_vertex_colors_keep_their_dark_tones(tmp_path):
    colors = torch.tensor([[0.0, 0.004, 0.02], [1, 0.5, 0.25], [0.1, 0.05, 0.9], [0.008, 0.3, 0.7]])
    save_mesh_glb(tmp_path / "a.glb", Mesh(TETRAHEDRON, FACES, vertex_colors=colors))
    assert (load_mesh_glb(tmp_path / "a.glb").vertex_colors - colors).abs().max() < 2e-4


def test_face_colors_stay_sharp_and_flat(tmp_path):
    colors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]])
    save_mesh_glb(tmp_path / "a.glb", Mesh(TETRAHEDRON, FACES, face_colors=colors))
    seen = load_mesh_glb(tmp_path / "a.glb")
    assert torch.equal(seen.vertices[seen.faces], TETRAHEDRON[FACES])
    assert (seen.vertex_colors[seen.faces] - colors[:, None]).abs().max() < 1e-5


def test_a_white_mesh_has_no_colors(tmp_path):
    save_mesh_glb(tmp_path / "a.glb", Mesh(TETRAHEDRON, FACES))
    seen = load_mesh_glb(tmp_path / "a.glb")
    assert seen.vertex_colors is None
    assert seen.texture is None


def test_trimesh_reads_our_texture_and_its_orientation(tmp_path):
    import trimesh

    uv = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    save_mesh_glb(tmp_path / "a.glb", Mesh(TETRAHEDRON, FACES, uv=uv, texture=quarters()))
    seen = trimesh.load_mesh(tmp_path / "a.glb", process=False)
    assert np.array_equal(seen.vertices, TETRAHEDRON)
    assert seen.volume == pytest.approx(1 / 6)  # and not minus one sixth: the faces look outward
    assert np.allclose(np.linalg.norm(seen.vertex_normals, axis=1), 1)
    assert seen.visual.material.metallicFactor == 0
    picked = seen.visual.to_color().vertex_colors[:, :3]  # trimesh's own sampling of texture and uv
    expected = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])[: len(picked)] * 255
    order = [int(np.abs(seen.vertices - vertex).sum(axis=1).argmin()) for vertex in TETRAHEDRON.numpy()]
    assert np.array_equal(picked[order], expected)


def test_we_read_what_trimesh_writes(tmp_path):
    import trimesh

    box = trimesh.creation.box(extents=(1, 2, 3))
    box.visual = trimesh.visual.ColorVisuals(box, face_colors=None, vertex_colors=[[255, 0, 0, 255]] * 8)
    ball = trimesh.creation.icosphere(subdivisions=2)
    uv = np.stack([np.linspace(0.1, 0.9, len(ball.vertices)), np.full(len(ball.vertices), 0.9)], axis=1)
    picture = Image.fromarray((quarters().numpy() * 255).astype(np.uint8))
    ball.visual = trimesh.visual.TextureVisuals(uv, trimesh.visual.material.PBRMaterial(baseColorTexture=picture))
    (tmp_path / "box.glb").write_bytes(box.export(file_type="glb"))
    (tmp_path / "ball.glb").write_bytes(ball.export(file_type="glb"))
    scene = trimesh.Scene([box, ball.copy().apply_translation((5, 0, 0))])
    (tmp_path / "scene.glb").write_bytes(scene.export(file_type="glb"))

    seen = load_mesh_glb(tmp_path / "box.glb")
    assert volume(seen.vertices, seen.faces) == pytest.approx(6)
    assert torch.allclose(seen.vertex_colors, torch.tensor([1.0, 0, 0]).expand(len(seen.vertices), 3))
    seen = load_mesh_glb(tmp_path / "ball.glb")
    assert volume(seen.vertices, seen.faces) == pytest.approx(ball.volume, rel=1e-5)
    assert torch.equal(seen.texture, quarters())
    assert np.allclose(seen.uv[:, 1], 0.1, atol=1e-6)  # trimesh counts v from the bottom
    seen = load_mesh_glb(tmp_path / "scene.glb")
    assert volume(seen.vertices, seen.faces) == pytest.approx(6 + ball.volume, rel=1e-4)
    assert seen.face_colors.shape == (len(seen.faces), 3)  # a texture and a color: sampled face by face
    assert {tuple(color) for color in seen.face_colors.round().int().tolist()} == {(1, 0, 0), (0, 1, 0)}


def test_pygltflib_reads_the_structure(tmp_path):
    import pygltflib

    colors = torch.tensor([[0.0, 0.5, 1.0]]).repeat(4, 1)
    save_mesh_glb(tmp_path / "a.glb", Mesh(TETRAHEDRON, FACES, vertex_colors=colors))
    seen = pygltflib.GLTF2().load(str(tmp_path / "a.glb"))
    assert seen.asset.version == "2.0"
    positions = seen.accessors[seen.meshes[0].primitives[0].attributes.POSITION]
    view = seen.bufferViews[positions.bufferView]
    rows = np.frombuffer(seen.binary_blob(), "<f4", positions.count * 3, view.byteOffset).reshape(-1, 3)
    assert np.array_equal(rows, TETRAHEDRON)
    stored = seen.accessors[seen.meshes[0].primitives[0].attributes.COLOR_0]
    shorts = np.frombuffer(seen.binary_blob(), "<u2", 4, seen.bufferViews[stored.bufferView].byteOffset)
    assert stored.normalized
    assert shorts.tolist() == [0, 14027, 65535, 65535]  # linear light: ((0.5 + 0.055) / 1.055) ** 2.4 of 65535


def build(tmp_path, change=None, *, nodes=None, binary=None, **top) -> str:
    """A minimal file with one triangle mesh; `change` may edit the JSON, `nodes` replace the nodes."""
    binary = binary or struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0) + struct.pack("<3H", 0, 1, 2) + b"\0\0"
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": nodes or [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": 6},
        ],
        "buffers": [{"byteLength": len(binary)}],
    } | top
    if change is not None:
        change(document)
    path = tmp_path / "a.glb"
    path.write_bytes(pack(document, binary))
    return str(path)


def test_nodes_place_their_meshes(tmp_path):
    half = 0.5**0.5
    nodes = [
        {"children": [1], "translation": [10, 0, 0], "rotation": [0, 0, half, half]},  # a quarter turn about z
        {"mesh": 0, "scale": [2, 3, 4]},
    ]
    seen = load_mesh_glb(build(tmp_path, nodes=nodes))
    assert torch.allclose(seen.vertices, torch.tensor([[10.0, 0, 0], [10, 2, 0], [7, 0, 0]]), atol=1e-6)
    matrix = [0, 2, 0, 0, -3, 0, 0, 0, 0, 0, 4, 0, 10, 0, 0, 1]  # the same, written out by columns
    assert torch.allclose(load_mesh_glb(build(tmp_path, nodes=[{"mesh": 0, "matrix": matrix}])).vertices, seen.vertices)


def test_a_mirror_keeps_faces_looking_outward(tmp_path):
    seen = load_mesh_glb(build(tmp_path, nodes=[{"mesh": 0, "scale": [1, 1, -1]}]))
    assert torch.equal(seen.faces, torch.tensor([[2, 1, 0]]))


def test_strips_fans_and_meshes_without_indices(tmp_path):
    square = struct.pack("<12f", 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0)
    for mode, expected in ((5, [[0, 1, 2], [2, 1, 3]]), (6, [[0, 1, 2], [0, 2, 3]]), (4, [[0, 1, 2]])):
        primitive = {"attributes": {"POSITION": 0}, "mode": mode}
        accessors = [{"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"}]
        views = [{"buffer": 0, "byteLength": 48}]
        top = {"meshes": [{"primitives": [primitive]}], "accessors": accessors, "bufferViews": views}
        assert load_mesh_glb(build(tmp_path, binary=square, **top)).faces.tolist() == expected


def test_factors_are_linear_and_multiply(tmp_path):
    def painted(document):
        document["materials"] = [{"pbrMetallicRoughness": {"baseColorFactor": [0.25, 0.5, 1, 1]}}]
        document["meshes"][0]["primitives"][0]["material"] = 0

    seen = load_mesh_glb(build(tmp_path, painted))
    assert torch.allclose(seen.vertex_colors[0], linear_to_srgb(torch.tensor([0.25, 0.5, 1])), atol=1e-6)
    assert torch.allclose(srgb_to_linear(seen.vertex_colors[2]), torch.tensor([0.25, 0.5, 1]), atol=1e-6)


def test_gltf_with_data_uris_files_beside_it_and_texture_transform(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a b.png").write_bytes(png((quarters().numpy() * 255).astype(np.uint8)))
    numbers = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0) + struct.pack("<6f", 0, 0, 1, 0, 0, 1)
    transform = {"KHR_texture_transform": {"offset": [0.5, 0], "scale": [0.5, 0.25]}}
    document = {
        "asset": {"version": "2.0"},
        "nodes": [{"mesh": 0}],  # and no scene
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0, "extensions": transform}}}],
        "textures": [{"source": 0}],
        "images": [{"uri": "parts/a%20b.png"}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 0, "byteOffset": 36, "componentType": 5126, "count": 3, "type": "VEC2"},
        ],
        "bufferViews": [{"buffer": 0, "byteLength": 60}],
        "buffers": [
            {"byteLength": 60, "uri": "data:application/octet-stream;base64," + base64.b64encode(numbers).decode()}
        ],
    }
    (tmp_path / "a.gltf").write_text(json.dumps(document))
    seen = load_mesh_glb(tmp_path / "a.gltf")
    assert torch.equal(seen.texture, quarters())
    assert torch.equal(seen.uv, torch.tensor([[0.5, 0], [1, 0], [0.5, 0.25]]))


def deep(document, *path_and_value):
    *path, last, value = path_and_value
    for key in path:
        document = document[key]
    document[last] = value


def setting(*path_and_value):
    return lambda document: deep(document, *path_and_value)


PRIMITIVE = ("meshes", 0, "primitives", 0)
FAR = {"KHR_texture_transform": {"scale": [1e300, 1e300]}}
BROKEN = {
    "node cycle": (setting("nodes", [{"children": [1]}, {"mesh": 0, "children": [0]}]), "cycle"),
    "node that is its own child": (setting("nodes", [{"mesh": 0, "children": [0]}]), "cycle"),
    "cycle without a scene": (
        lambda d: [d.pop("scenes"), setting("nodes", [{"children": [0], "mesh": 0}])(d)],
        "cycle",
    ),
    "two parents": (setting("nodes", [{"children": [1, 2]}, {"children": [2]}, {"mesh": 0}]), "reached twice"),
    "accessor out of range": (setting(*PRIMITIVE, "attributes", "POSITION", 9), "accessors[9]"),
    "negative accessor": (setting(*PRIMITIVE, "attributes", "POSITION", -1), "accessors[-1]"),
    "view out of range": (setting("accessors", 0, "bufferView", 5), "bufferViews[5]"),
    "view beyond the buffer": (setting("bufferViews", 0, "byteLength", 3600), "ends at byte 3600"),
    "negative offset": (setting("bufferViews", 0, "byteOffset", -4), "whole number"),
    "huge count": (setting("accessors", 0, "count", 10**9), "draws 1000000000 vertices"),
    "absurd count": (setting("accessors", 0, "count", 10**30), "whole number"),
    "fractional count": (setting("accessors", 0, "count", 2.5), "whole number"),
    "zero stride trick": (setting("bufferViews", 0, "byteStride", 4), "rows of 4 bytes"),
    "buffer longer than the file": (setting("buffers", 0, "byteLength", 10**9), "declares more bytes"),
    "index out of range": (setting("accessors", 0, "count", 2), "an index is 2, of 2 vertices"),
    "sparse": (setting("accessors", 0, "sparse", {"count": 1}), "sparse or compressed"),
    "draco": (setting("extensionsRequired", ["KHR_draco_mesh_compression"]), "requires KHR_draco_mesh_compression"),
    "URI that escapes": (setting("buffers", 0, {"uri": "../../../etc/passwd", "byteLength": 44}), "outside of its own"),
    "URI that escapes, encoded": (
        setting("buffers", 0, {"uri": "%2e%2e/a.bin", "byteLength": 44}),
        "outside of its own",
    ),
    "absolute URI": (setting("buffers", 0, {"uri": "/etc/passwd", "byteLength": 44}), "outside of its own"),
    "file URI": (setting("buffers", 0, {"uri": "file:///etc/passwd", "byteLength": 44}), "outside of its own"),
    "web URI": (setting("buffers", 0, {"uri": "https://example.org/a", "byteLength": 44}), "outside of its own"),
    "missing file": (setting("buffers", 0, {"uri": "nothing.bin", "byteLength": 44}), "there is no file"),
    "broken data URI": (setting("buffers", 0, {"uri": "data:x;base64,@@@", "byteLength": 44}), "no base64"),
    "glTF 1": (setting("asset", "version", "1.0"), "glTF 1.0"),
    "no asset": (lambda d: d.pop("asset"), "no glTF asset"),
    "points only": (setting(*PRIMITIVE, "mode", 0), "no triangles"),
    "nothing in it": (setting("scenes", [{"nodes": []}]), "no triangles"),
    "no such scene": (setting("scene", 4), "scenes[4]"),
    "skeleton": (setting("nodes", 0, "skin", 0), "skeleton"),
    "infinite scale": (setting("nodes", 0, "scale", [1e300, 1e300, 1e300]), "beyond float32"),
    "huge factor": (
        lambda d: [
            d.update(materials=[{"pbrMetallicRoughness": {"baseColorFactor": [1e308, 1e400, 0, 1]}}]),
            setting(*PRIMITIVE, "material", 0)(d),
        ],
        "Infinity in its JSON",
    ),
    "texture far away": (
        lambda d: [
            setting(*PRIMITIVE, "attributes", "TEXCOORD_0", 0)(d),
            setting(*PRIMITIVE, "material", 0)(d),
            d.update(
                materials=[{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0, "extensions": FAR}}}],
                textures=[{"source": 0}],
                images=[{"uri": "a.png"}],
            ),
        ],
        "transforms a texture beyond float32",
    ),
    "no rotation": (setting("nodes", 0, "rotation", [0, 0, 0, 0]), "not finite"),
    "nodes are a number": (setting("nodes", 7), None),
    "accessor is text": (setting("accessors", 0, "position"), "no object at"),
    "children are text": (setting("nodes", 0, "children", "abc"), "nodes[a]"),
    "unknown type": (setting("accessors", 0, "type", "VEC7"), None),
    "image missing": (
        lambda d: [
            setting(*PRIMITIVE, "attributes", "TEXCOORD_0", 0)(d),
            setting(*PRIMITIVE, "material", 0)(d),
            d.update(
                materials=[{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}], textures=[{"source": 0}]
            ),
        ],
        "images[0]",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused(name, tmp_path):
    change, words = BROKEN[name]
    path = build(tmp_path, change)
    start = time.process_time()
    with pytest.raises((BadInput, Unsupported)) as caught:
        load_mesh_glb(path)
    assert words is None or words in str(caught.value)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"glTF",
        b"glTF\2\0\0\0\x0c\0\0\0",
        b"glTF\1\0\0\0\x14\0\0\0" + bytes(8),
        pack(b"{", b""),
        pack(b"[" * 100_000, b""),
        pack(b'{"asset":' * 50_000, b""),
        pack(b'{"asset":{"version":"2.0"},"nodes":[' + b"1" * 100_000 + b"]}", b""),
        pack(b'{"asset":{"version":"2.0"},"x":NaN}', b""),
        pack(b"\xff\xfe", b""),
        pack({"asset": {"version": "2.0"}}, b"")[:-4],
        b"{}",
        b"a text",
    ],
    ids=range(13),
)
def test_broken_containers_are_refused(data, tmp_path):
    (tmp_path / "a.glb").write_bytes(data)
    with pytest.raises((BadInput, Unsupported)):
        load_mesh_glb(tmp_path / "a.glb")


def test_a_mesh_drawn_many_times_is_refused_before_memory_is_full(tmp_path):
    rows = np.zeros((300_000, 3), np.float32)
    top = {
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": len(rows), "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": rows.nbytes}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "scenes": [{"nodes": list(range(5000))}],
    }
    path = build(tmp_path, nodes=[{"mesh": 0}] * 5000, binary=rows.tobytes(), **top)
    start = time.process_time()
    with pytest.raises(BadInput, match="draws 1500000000 vertices"):
        load_mesh_glb(path)
    assert time.process_time() - start < 2


def test_a_picture_bomb_inside_is_refused(tmp_path):
    bomb = png(np.zeros((8192, 8192), np.uint8))
    uv = torch.rand(4, 2)
    save_mesh_glb(tmp_path / "a.glb", Mesh(TETRAHEDRON, FACES, uv=uv, texture=torch.rand(4, 4, 3)))
    document, binary = unpack((tmp_path / "a.glb").read_bytes())
    view = document["bufferViews"][document["images"][0]["bufferView"]]
    view["byteOffset"], view["byteLength"] = len(binary), len(bomb)
    document["buffers"][0]["byteLength"] = len(binary) + len(bomb)
    (tmp_path / "a.glb").write_bytes(pack(document, binary + bomb + bytes(-len(bomb) % 4)))
    with pytest.raises(BadInput, match="8192 x 8192"):
        load_mesh_glb(tmp_path / "a.glb")


@pytest.mark.parametrize("field", ["vertices", "uv", "texture"])
def test_nothing_is_written_for_a_broken_mesh(field, tmp_path):
    tensors = {"vertices": TETRAHEDRON, "faces": FACES, "uv": torch.rand(4, 2), "texture": torch.rand(3, 3, 3)}
    tensors[field] = tensors[field].clone()
    tensors[field][0, 0] = float("nan")
    with pytest.raises(BadInput, match="NaN"):
        save_mesh_glb(tmp_path / "a.glb", Mesh(**tensors))
    with pytest.raises(BadInput, match="no faces"):
        save_mesh_glb(tmp_path / "a.glb", Mesh(TETRAHEDRON, FACES[:0]))
    assert list(tmp_path.iterdir()) == []
