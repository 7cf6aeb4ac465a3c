"""Bare points: bits come back, other programs read them, and files of Gaussians give their centres."""

import numpy as np
import pytest
import torch
import trimesh

from maquette.core.errors import BadInput
from maquette.io import load_points, save_ply, save_points, save_surfels
from maquette.representations.gaussians import from_points
from maquette.representations.surfels import surfels_from_gaussians

POINTS = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) - 0.5


def test_bits_come_back_and_another_reader_sees_the_same(tmp_path):
    save_points(tmp_path / "points.ply", POINTS)
    assert torch.equal(load_points(tmp_path / "points.ply"), POINTS)
    other = trimesh.load(tmp_path / "points.ply")
    np.testing.assert_array_equal(other.vertices.astype(np.float32), POINTS.numpy())


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_files_of_another_writer_with_colors_and_faces(tmp_path, encoding):
    mesh = trimesh.creation.box()
    mesh.visual.vertex_colors = [200, 30, 30, 255]
    (tmp_path / "box.ply").write_bytes(trimesh.exchange.ply.export_ply(mesh, encoding=encoding))
    np.testing.assert_allclose(load_points(tmp_path / "box.ply").numpy(), mesh.vertices, atol=1e-6)


def test_gaussians_and_surfels_give_their_centres_in_our_axes(tmp_path):
    cloud = from_points(POINTS, torch.full_like(POINTS, 0.5))
    save_ply(tmp_path / "gaussians.ply", cloud)
    save_surfels(tmp_path / "surfels.ply", surfels_from_gaussians(cloud))
    for name in ("gaussians.ply", "surfels.ply"):
        assert torch.equal(load_points(tmp_path / name), POINTS)


def _ply(*properties: str, count: int = 1, rows: bytes = b"") -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {count}", *properties, "end_header", ""]
    return "\n".join(lines).encode() + rows


AXES = [f"property double {axis}" for axis in "xyz"]


def test_doubles_are_read_and_those_beyond_float32_become_infinite(tmp_path):
    rows = np.array([[0.25, -0.5, 1e300]], "<f8").tobytes()
    (tmp_path / "wide.ply").write_bytes(_ply(*AXES, rows=rows))
    assert load_points(tmp_path / "wide.ply").tolist() == [[0.25, -0.5, float("inf")]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"solid cube", "does not begin with 'ply'"),
        (_ply(*AXES, count=3, rows=b"\0" * 24), "points.ply"),
        (_ply(*AXES, count=20_000_000), "20000000"),
        (_ply("property float x", "property float y", rows=b"\0" * 8), "no x, y and z; its vertices have x, y"),
    ],
)
def test_what_is_no_cloud(tmp_path, content, says):
    (tmp_path / "points.ply").write_bytes(content)
    with pytest.raises(BadInput, match=says):
        load_points(tmp_path / "points.ply")
