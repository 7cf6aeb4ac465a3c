"""Surfels to a file and back, the file read by another reader, and files that are something else."""

import pytest
import torch
import trimesh

from maquette.core import turntable
from maquette.core.errors import BadInput, Unsupported
from maquette.io.ply import load_ply, save_ply
from maquette.io.surfel_ply import load_surfels, save_surfels
from maquette.render.surfels import render_surfels
from maquette.representations.surfels import SurfelCloud, gaussians_from_surfels


@pytest.fixture
def surfels():
    draw = torch.Generator().manual_seed(0)
    parts = (torch.randn(40, 3, generator=draw) * 0.2, torch.randn(40, 2, generator=draw) * 0.3 - 3)
    parts += (
        torch.randn(40, 4, generator=draw),
        torch.randn(40, generator=draw),
        torch.randn(40, 4, 3, generator=draw),
    )
    return SurfelCloud(*parts)


def test_the_same_bits_come_back(surfels, tmp_path):
    save_surfels(tmp_path / "a.ply", surfels)
    back = load_surfels(tmp_path / "a.ply")
    for name, tensor in surfels.tensors().items():
        assert torch.equal(tensor, back.tensors()[name]), name
    camera = turntable(2, size=24)
    assert torch.equal(render_surfels(surfels, camera).color, render_surfels(back, camera).color)


def test_another_reader_finds_two_scales_and_turned_axes(surfels, tmp_path):
    save_surfels(tmp_path / "a.ply", surfels)
    data = trimesh.load(tmp_path / "a.ply").metadata["_ply_raw"]["vertex"]["data"]
    assert [name for name in data.dtype.names if name.startswith("scale")] == ["scale_0", "scale_1"]
    assert data["y"] == pytest.approx(-surfels.means[:, 1].numpy())
    assert data["scale_1"] == pytest.approx(surfels.log_scales[:, 1].numpy())


def test_other_files_are_refused(surfels, tmp_path):
    save_ply(tmp_path / "solid.ply", gaussians_from_surfels(surfels))
    with pytest.raises(Unsupported, match="three scales"):
        load_surfels(tmp_path / "solid.ply")
    save_surfels(tmp_path / "flat.ply", surfels)
    with pytest.raises(Unsupported, match="surfels"):
        load_ply(tmp_path / "flat.ply")
    whole = (tmp_path / "flat.ply").read_bytes()
    (tmp_path / "cut.ply").write_bytes(whole[:-30])
    with pytest.raises(BadInput, match="truncated"):
        load_surfels(tmp_path / "cut.ply")
    (tmp_path / "points.ply").write_bytes(whole.replace(b"scale_0", b"width_0"))
    with pytest.raises(BadInput, match="scale_0"):
        load_surfels(tmp_path / "points.ply")
    broken = SurfelCloud(surfels.means * float("nan"), *list(surfels.tensors().values())[1:])
    with pytest.raises(BadInput, match="NaN"):
        save_surfels(tmp_path / "nan.ply", broken)
