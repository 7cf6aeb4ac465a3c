import numpy as np
import torch

from maquette.core.camera import orbit, turntable
from maquette.data.procedural import SHAPES, box, procedural_mesh, shape
from maquette.data.shards import CaptionedMesh
from maquette.data.views import render_views


def _volume(vertices, faces):
    a, b, c = vertices[faces].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_shapes_are_closed_and_wound_outward():
    for name in SHAPES:
        vertices, faces = shape(name)
        assert _volume(vertices, faces) > 0.01, name
        assert np.abs(vertices).max() <= 0.5 + 1e-6
    assert np.isclose(_volume(*box((0, 0, 0), (1, 2, 3))), 6, rtol=1e-5)


def _two_faced_box():
    """Red toward +Z (front), blue toward +X, gray elsewhere."""
    vertices, faces = box((-0.3, -0.3, -0.3), (0.3, 0.3, 0.3))
    middle = vertices[faces].mean(1)
    colors = np.full((len(faces), 3), 128, np.uint8)
    colors[middle[:, 2] > 0.29] = (255, 0, 0)
    colors[middle[:, 0] > 0.29] = (0, 0, 255)
    return CaptionedMesh("box", vertices, faces, colors, ("a box",), "box", "box")


def test_azimuth_zero_sees_the_front_and_ninety_the_plus_x_side():
    views = render_views(_two_faced_box(), orbit(torch.tensor([0.0, 90.0, 180.0]), 0.0, size=64)).rgba
    front, right, back = views[:, 32, 32, :3].astype(int)
    assert front[0] > 150 and front[2] < 20
    assert right[2] > 100 and right[0] < 20
    assert abs(back[0] - back[2]) < 5


def test_background_is_white_and_coverage_is_the_silhouette_of_a_ball():
    mesh = procedural_mesh(1)
    camera = orbit(0.0, 0.0, size=128)
    view = render_views(mesh, camera).rgba[0]
    assert (view[0, 0] == (255, 255, 255, 0)).all()
    radius = np.sqrt((view[..., 3] / 255).sum() / np.pi)
    focal, distance = float(camera.focal_px[0, 0]), 2.2
    exact = focal * 0.5 / np.sqrt(distance**2 - 0.25)  # silhouette of a sphere in perspective
    assert abs(radius - exact) < 0.05 * exact  # a ball of 12 sides is a little smaller


def test_depth_and_normal_of_a_box_seen_from_the_front():
    views = render_views(_two_faced_box(), orbit(0.0, 0.0, size=64))
    assert np.isclose(views.depth[0, 32, 32], 2.2 - 0.3, atol=1e-4)
    assert np.allclose(views.normal[0, 32, 32], (0, 0, 1), atol=1e-5)
    assert views.depth[0, 0, 0] == 0 and (views.normal[0, 0, 0] == 0).all()


def test_light_stays_with_the_world_not_with_the_camera():
    views = render_views(procedural_mesh(0), turntable(16, 0.0, size=64)).rgba
    middle = views[:, 32, 32, :3].astype(int).sum(1)
    assert middle[14] > middle[2] + 20  # azimuth -45 looks at the lit side, +45 away from it


def test_an_open_sheet_shows_both_sides():
    vertices = np.array([[-0.4, -0.4, 0], [0.4, -0.4, 0], [0.4, 0.4, 0], [-0.4, 0.4, 0]], np.float32)
    sheet = CaptionedMesh(
        "sheet", vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32), np.full((2, 3), 90, np.uint8), ("a",), "a", "a"
    )
    views = render_views(sheet, orbit(torch.tensor([0.0, 180.0]), 0.0, size=32))
    assert (views.rgba[:, 16, 16, 3] == 255).all()
    assert np.allclose(views.normal[:, 16, 16], [[0, 0, 1], [0, 0, -1]], atol=1e-5)
