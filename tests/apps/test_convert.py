import json
import re
import subprocess
from functools import partial

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from maquette import io
from maquette.apps import cli
from maquette.apps.convert import load, save
from maquette.core import BadInput
from maquette.io import load_image
from maquette.representations import GaussianCloud, Mesh, from_points
from maquette.representations import convert as arrows


@pytest.fixture
def cloud() -> GaussianCloud:
    """A red ball to the right (+X) and a blue one on top (+Y), as seen from the front."""
    spread = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) * 0.05
    centers = torch.tensor([[0.35, 0, 0], [0, 0.35, 0]]).repeat_interleave(200, 0)
    colors = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]]).repeat_interleave(200, 0)
    return from_points(centers + spread, colors, opacity=0.8)


@pytest.fixture
def mesh() -> Mesh:
    corners = torch.tensor([[0.5, -0.2, 0], [-0.5, -0.2, 0], [0, 0.5, 0], [0, 0, -0.5]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    return Mesh(corners, faces, face_colors=torch.tensor([[0.9, 0.1, 0.1]]).repeat(4, 1))


def test_gaussians_survive_every_kind_of_file_and_are_recognised_in_glb(cloud, tmp_path):
    for ending in (".ply", ".glb", ".spz"):
        save(cloud, tmp_path / f"a{ending}")
        again = load(tmp_path / f"a{ending}")
        assert isinstance(again, GaussianCloud)
        assert torch.allclose(again.means, cloud.means, atol=1e-3)  # SPZ keeps 12 bits of fraction


def test_a_mesh_in_glb_is_recognised_as_one(mesh, tmp_path):
    save(mesh, tmp_path / "a.glb")
    again = load(tmp_path / "a.glb")
    assert isinstance(again, Mesh)
    assert len(again.faces) == 4
    with pytest.raises(BadInput, match="cannot hold a mesh"):
        save(mesh, tmp_path / "a.ply")


def test_convert_on_the_command_line(cloud, mesh, tmp_path, capsys):
    save(cloud, tmp_path / "a.ply")
    assert cli.run(["convert", str(tmp_path / "a.ply"), str(tmp_path / "b.spz")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "b.spz")
    assert len(load(tmp_path / "b.spz")) == 400
    assert cli.run(["convert", str(tmp_path / "a.ply"), str(tmp_path / "nowhere" / "b.spz")]) == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.fixture
def sooner(monkeypatch):
    """The same, on a coarse grid."""
    monkeypatch.setattr(arrows, "gaussians_to_mesh", partial(arrows.gaussians_to_mesh, resolution=16))


def test_the_surface_of_gaussians_becomes_a_mesh_on_demand(cloud, tmp_path, capsys, sooner):
    save(cloud, tmp_path / "a.ply")
    assert cli.run(["convert", str(tmp_path / "a.ply"), str(tmp_path / "b.spz"), "--to", "mesh"]) == 2
    assert "cannot hold a mesh" in capsys.readouterr().err
    words = ["--to", "mesh", "--faces", "200", "--texture", "64"]
    assert cli.run(["convert", str(tmp_path / "a.ply"), str(tmp_path / "b.glb"), *words]) == 0
    said = capsys.readouterr().out
    assert re.search(r"faces +\d+ of at most 200", said) and re.search(r"watertight +yes", said)
    again = load(tmp_path / "b.glb")
    assert isinstance(again, Mesh)
    assert again.texture.shape == (64, 64, 3)
    highest, rightmost = again.vertices.max(0).values[1], again.vertices.max(0).values[0]
    assert 0.3 < highest < 0.75  # the soft edge of the upper ball
    assert 0.3 < rightmost < 0.75
    health = json.loads((tmp_path / "b.health.json").read_text())
    assert health["is_sound"] and health["budget"] == 200
    assert 15 < health["bake_psnr_db"] < health["bake_psnr_inside_db"] < 60


def test_named_parts_of_gaussians_become_nodes_of_the_mesh(cloud, tmp_path, sooner):
    import pygltflib
    import trimesh

    io.save_splats_glb(tmp_path / "a.glb", cloud, {"red": cloud.means[:, 0] > 0.15, "blue": cloud.means[:, 1] > 0.15})
    words = ["--to", "mesh", "--faces", "200", "--texture", "64"]
    assert cli.run(["convert", str(tmp_path / "a.glb"), str(tmp_path / "b.glb"), *words]) == 0
    document = pygltflib.GLTF2().load(str(tmp_path / "b.glb"))
    assert {"red", "blue"} <= {node.name for node in document.nodes}
    assert len(document.materials) == len(document.textures) == 1
    scene = trimesh.load_scene(tmp_path / "b.glb")
    red = scene.geometry[next(name for name in scene.geometry if name.startswith("red"))]
    assert red.visual.uv is not None and red.vertices[np.unique(red.faces), 0].mean() > 0.25
    corners = np.concatenate([part.triangles for part in scene.geometry.values()]).reshape(-1, 3)
    whole = trimesh.Trimesh(corners, np.arange(len(corners)).reshape(-1, 3), process=True, validate=True)
    assert whole.is_watertight and whole.is_winding_consistent


BROKEN = """
v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 0 1\nv 1 0 1\nv 1 1 1\nv 0 1 1
v 0.5 0.5 0\nv 2 2 2\nv 1 2 2
f 1 3 2\nf 1 4 3\nf 5 6 7\nf 7 6 5\nf 5 8 7\nf 1 2 6\nf 1 6 5\nf 2 3 7\nf 2 7 6\nf 3 4 8\nf 3 8 7\nf 4 1 5\nf 4 5 8
f 1 1 2\nf 3 9 1\nf 7 10 11
"""
"""A cube with a flipped and a doubled face, a collapsed one, one without height, and a leaf that touches its corner."""


def test_a_broken_mesh_is_mended_and_it_is_said_how(tmp_path, capsys):
    (tmp_path / "a.obj").write_text(BROKEN.replace("\\n", "\n"))
    assert cli.run(["convert", str(tmp_path / "a.obj"), str(tmp_path / "b.glb")]) == 0  # as it is
    as_it_is = json.loads((tmp_path / "b.health.json").read_text())
    assert not as_it_is["is_sound"] and not as_it_is["is_manifold"] and as_it_is["duplicate_faces"] == 1
    assert as_it_is["uv_overlap"] is None and as_it_is["degenerate_faces"] == 2
    capsys.readouterr()
    words = ["--to", "mesh", "--faces", "100", "--texture", "64"]
    assert cli.run(["convert", str(tmp_path / "a.obj"), str(tmp_path / "b.glb"), *words]) == 0
    said = capsys.readouterr().out
    for sentence in (
        "duplicate faces dropped: 1",
        "collapsed faces dropped: 2",
        "turned outward",
        "parted",
        "left open",
    ):
        assert sentence in said, said
    mended = json.loads((tmp_path / "b.health.json").read_text())
    assert mended["is_manifold"] and mended["is_wound_consistently"] and mended["border_edges"] == 3  # of the leaf
    assert mended["degenerate_faces"] == mended["duplicate_faces"] == mended["uv_overlap"] == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--to", "mesh", "--texture", "0"], "texture_size 0; expected at least 8"),
        (["--to", "mesh", "--faces", "1000000"], "at most 200000 faces"),
        (["--to", "mesh", "--faces", "0"], "expected at least 8, 64, 8"),
        (["--faces", "100"], "say --to mesh"),
    ],
)
def test_budgets_are_refused_before_reading(words, complaint, tmp_path, capsys):
    assert cli.run(["convert", str(tmp_path / "none.ply"), str(tmp_path / "b.glb"), *words]) == 2
    assert complaint in capsys.readouterr().err


def test_a_sheet_shows_the_front_first(cloud, tmp_path):
    save(cloud, tmp_path / "a.ply")
    sheet = tmp_path / "sheet.png"
    assert cli.run(["render", str(tmp_path / "a.ply"), "--out", str(sheet), "--views", "4", "--size", "64"]) == 0
    first = load_image(sheet)[4:68, 4:68, :3]
    assert torch.allclose(first[0, 0], torch.ones(3))  # white around it
    red, blue = (first[..., 0] - first[..., 2]), (first[..., 2] - first[..., 0])
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    mean = lambda weight, at: ((weight.clamp(min=0) * at).sum() / weight.clamp(min=0).sum()).item()  # noqa: E731
    assert mean(red, columns) > 40  # right
    assert mean(blue, rows) < 28  # above


def test_a_mesh_turns_in_a_video(mesh, tmp_path):
    save(mesh, tmp_path / "a.glb")
    video = tmp_path / "turn.mp4"
    assert cli.run(["render", str(tmp_path / "a.glb"), "--out", str(video), "--views", "4", "--size", "32"]) == 0
    command = [imageio_ffmpeg.get_ffmpeg_exe(), *f"-v error -i {video} -f rawvideo -pix_fmt rgb24 -".split()]
    frames = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)
    frames = frames.reshape(4, 32, 32, 3)
    assert frames[0, 16, 16, 0] > 150  # red in the middle
    assert frames[0, 16, 16, 2] < 100


@pytest.mark.parametrize("words", [["--views", "0"], ["--size", "5000"], ["--size", "4"]])
def test_unreasonable_sizes_are_refused_before_reading(words, tmp_path, capsys):
    assert cli.run(["render", str(tmp_path / "none.ply"), *words]) == 2
    assert "expected 1 to 1000 views" in capsys.readouterr().err
