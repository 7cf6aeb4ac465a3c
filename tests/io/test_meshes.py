"""OBJ through trimesh behind our door, and readers chosen by the ending of a file."""

import time

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.core.errors import BadInput, Unsupported
from maquette.io.gltf import save_mesh_glb
from maquette.io.meshes import load_mesh, load_mesh_obj
from maquette.representations.mesh import Mesh

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"


def written(tmp_path, text: str | bytes, name: str = "a.obj"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def area(mesh: Mesh) -> float:
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    return float(torch.linalg.cross(b - a, c - a).norm(dim=1).sum() / 2)


def test_a_plain_square(tmp_path):
    mesh = load_mesh_obj(written(tmp_path, SQUARE + "f 1 2 3 4\n"))
    assert len(mesh.faces) == 2
    assert area(mesh) == pytest.approx(1)
    assert torch.equal(mesh.face_normals(), torch.tensor([[0.0, 0, 1]] * 2))  # the winding is kept
    assert mesh.vertex_colors is None


def test_materials_become_colors(tmp_path):
    written(tmp_path, "newmtl red\nKd 1 0 0\nnewmtl green\nKd 0 1 0\n", "a.mtl")
    text = "mtllib a.mtl\n" + SQUARE + "usemtl red\nf 1 2 3\nusemtl green\nf 1 3 4\n"
    mesh = load_mesh_obj(written(tmp_path, text))
    colors = mesh.vertex_colors[mesh.faces].mean(dim=1).round().int().tolist()
    assert sorted(colors) == [[0, 1, 0], [1, 0, 0]]
    assert mesh.vertices[mesh.faces[colors.index([1, 0, 0])]].tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]


def test_a_texture_keeps_its_orientation(tmp_path):
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:8, :8] = (255, 0, 0)  # the upper left
    Image.fromarray(picture).save(tmp_path / "t.png")
    written(tmp_path, "newmtl m\nKd 1 1 1\nmap_Kd t.png\n", "a.mtl")
    text = "mtllib a.mtl\n" + SQUARE + "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nusemtl m\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n"
    mesh = load_mesh_obj(written(tmp_path, text))
    assert mesh.texture.shape == (16, 16, 3)
    corner = int((mesh.vertices == torch.tensor([0.0, 1, 0])).all(dim=1).nonzero()[0, 0])
    assert torch.allclose(mesh.uv[corner], torch.zeros(2), atol=1e-6)  # the upper left corner of the square
    assert mesh.texture[2, 2].tolist() == [1, 0, 0]


def test_vertex_colors(tmp_path):
    text = "v 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 1 1 0 1 0 0\nf 1 2 3\n"
    mesh = load_mesh_obj(written(tmp_path, text))
    assert torch.allclose(mesh.vertex_colors, torch.tensor([[1.0, 0, 0]] * 3), atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "mtllib ../../etc/passwd\n" + SQUARE + "f 1 2 3\n",
        "mtllib /etc/passwd\n" + SQUARE + "f 1 2 3\n",
        "mtllib escape.mtl\n" + SQUARE + "usemtl m\nf 1 2 3\n",
    ],
)
def test_references_that_leave_the_folder_are_refused(text, tmp_path):
    written(tmp_path, "newmtl m\nmap_Kd ../../secret.png\n", "escape.mtl")
    with pytest.raises(BadInput, match="outside of its own folder"):
        load_mesh_obj(written(tmp_path, text))


def test_a_picture_bomb_as_texture_is_refused(tmp_path):
    Image.new("L", (8192, 8192)).save(tmp_path / "t.png")
    written(tmp_path, "newmtl m\nmap_Kd t.png\n", "a.mtl")
    text = "mtllib a.mtl\n" + SQUARE + "vt 0 0\nusemtl m\nf 1/1 2/1 3/1\n"
    with pytest.raises(BadInput, match="8192 x 8192"):
        load_mesh_obj(written(tmp_path, text))


BROKEN = {
    "empty": b"",
    "binary": bytes(range(256)) * 10,
    "no faces": SQUARE.encode(),
    "no vertices": b"f 1 2 3\n",
    "index out of range": (SQUARE + "f 1 2 9\n").encode(),
    "index zero": (SQUARE + "f 0 1 2\n").encode(),
    "negative indices": (SQUARE + "f -1 -2 -3\n").encode(),
    "words for numbers": b"v a b c\nv 1 2 3\nv 4 5 6\nf 1 2 3\n",
    "two coordinates": b"v 1 2\nv 3 4\nv 5 6\nf 1 2 3\n",
    "NaN": b"v nan nan nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    "a face of one": (SQUARE + "f 1\n").encode(),
    "a face of nothing": (SQUARE + "f\nf \n").encode(),
    "a line without end": b"v " + b"1 " * 100_000,
    "many materials": (SQUARE + "".join(f"usemtl m{i}\nf 1 2 3\n" for i in range(1500))).encode(),
    "spaces": b"mtllib " + b" " * 60_000 + b"x\n" + SQUARE.encode(),
    "GLB": b"glTF\2\0\0\0\x14\0\0\0",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused(name, tmp_path):
    import trimesh  # noqa: F401  (its import is not what is timed)

    path = written(tmp_path, BROKEN[name])
    start = time.process_time()
    with pytest.raises((BadInput, Unsupported)):
        load_mesh_obj(path)
    assert time.process_time() - start < 2


def test_the_ending_chooses_the_reader(tmp_path):
    save_mesh_glb(tmp_path / "a.glb", Mesh(torch.eye(3), torch.tensor([[0, 1, 2]])))
    assert len(load_mesh(tmp_path / "a.glb").faces) == 1
    assert len(load_mesh(written(tmp_path, SQUARE + "f 1 2 3\n")).faces) == 1
    with pytest.raises(BadInput, match=r"expected \.glb, \.gltf or \.obj"):
        load_mesh(tmp_path / "a.fbx")
