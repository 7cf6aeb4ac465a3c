import numpy as np
import pytest
import torch

from maquette.core.camera import turntable
from maquette.core.errors import BadInput
from maquette.data.posed import PosedSizes, draw_posed, seen_points
from maquette.data.procedural import box, procedural_mesh
from maquette.data.shards import CaptionedMesh

SIZES = PosedSizes(inputs=4, targets=2, pixels=32, points=40)


def test_points_lie_on_the_object_and_reach_all_of_it():
    """The box of the procedural shapes: every point has one coordinate on a face, and all six faces have points."""
    posed = draw_posed(procedural_mesh(0), np.random.default_rng(0), SIZES)
    half = torch.tensor([0.4, 0.5, 0.4])
    away = (posed.points.abs() - half).abs().amin(-1)
    assert away.max() < 1e-4 and (posed.points.abs() <= half + 1e-4).all()
    for axis in range(3):
        for side in (-1, 1):
            assert ((posed.points[:, axis] * side - half[axis]).abs() < 1e-4).any()


def test_surface_channels_and_normals_agree_with_the_object():
    posed = draw_posed(procedural_mesh(0), np.random.default_rng(1), SIZES)
    views = posed.views.movedim(1, -1)
    normal, points = views[..., 3:6], views[..., 12:]
    is_seen = (points != 0).any(-1)
    assert torch.equal(is_seen, normal.norm(dim=-1) > 0.5)
    # on a box that is no cube a normal along an axis belongs to a point whose coordinate there is the half side
    axis = normal[is_seen].abs().argmax(-1, keepdim=True)
    half = torch.tensor([0.4, 0.5, 0.4])[axis]
    torch.testing.assert_close(points[is_seen].gather(1, axis).abs(), half, atol=1e-4, rtol=0)


def test_one_draw_gives_one_object():
    one, other = (draw_posed(procedural_mesh(3), np.random.default_rng(5), SIZES) for _ in range(2))
    assert torch.equal(one.views, other.views) and torch.equal(one.points, other.points)
    assert one.rgba.shape == (2, 32, 32, 4) and len(one.camera) == 2
    third = draw_posed(procedural_mesh(3), np.random.default_rng(6), SIZES)
    assert not torch.equal(one.points, third.points)


def test_a_thin_thing_repeats_its_points():
    vertices, faces = box((-0.03, -0.5, -0.03), (0.03, 0.0, 0.03))
    rod = CaptionedMesh("rod", vertices, faces, np.zeros((len(faces), 3), np.uint8), ("a rod",), "rod", "rod")
    posed = draw_posed(rod, np.random.default_rng(0), PosedSizes(inputs=2, targets=1, pixels=32, points=60))
    assert posed.points.shape == (60, 3) and len(torch.unique(posed.points, dim=0)) < 60


def test_what_no_view_sees_has_no_points():
    with pytest.raises(BadInput, match="no view"):
        seen_points(torch.zeros(1, 8, 8), turntable(1, size=8), 4, np.random.default_rng(0))


def test_a_thread_that_no_pixel_sees_is_its_own_corners():
    vertices, faces = box((-1e-5, -0.5, -1e-5), (1e-5, 0.5, 1e-5))
    mesh = CaptionedMesh(
        "thread", vertices, faces, np.zeros((len(faces), 3), np.uint8), ("a thread",), "thread", "thread"
    )
    posed = draw_posed(mesh, np.random.default_rng(0), SIZES)
    assert not (posed.views[:, 12:] != 0).any()
    assert posed.points.shape == (40, 3) and set(posed.points[:, 1].abs().tolist()) == {0.5}
