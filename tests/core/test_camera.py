import math

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core import BadInput, Camera, look_at, orbit, sample_orbit, turntable

SHAPES = st.sampled_from([(1, 7), (6, 2), (1, 1)])


def test_azimuth_0_sees_the_front_and_azimuth_90_stands_at_plus_x():
    cameras = orbit(torch.tensor([0.0, 90.0, 180.0, 270.0]), 0.0, radius=2.0)
    expected = torch.tensor([[0.0, 0, 2], [2, 0, 0], [0, 0, -2], [-2, 0, 0]])
    assert torch.allclose(cameras.position, expected, atol=1e-6)
    # Of two points in front of and behind the centre, the front camera is nearer to the one at +Z.
    _, depth = cameras[0].project(torch.tensor([[0.0, 0, 0.5], [0.0, 0, -0.5]]))
    assert depth.tolist() == [[pytest.approx(1.5), pytest.approx(2.5)]]


def test_seen_from_the_front_plus_x_is_right_and_plus_y_is_up():
    camera = orbit(0.0, 0.0, size=100)
    pixels, _ = camera.project(torch.tensor([[0.0, 0, 0], [0.3, 0, 0], [0.0, 0.3, 0]]))
    middle, right, above = pixels[0]
    assert middle.tolist() == pytest.approx([50, 50])
    assert right[0] > 55
    assert right[1] == pytest.approx(50, abs=1e-4)
    assert above[1] < 45  # rows count downwards
    assert above[0] == pytest.approx(50, abs=1e-4)


def test_orbit_follows_the_formula_of_the_conventions_page():
    azimuth, elevation = math.radians(33), math.radians(-21)
    x, y, z = orbit(33.0, -21.0, radius=1.7).position[0].tolist()
    assert x == pytest.approx(1.7 * math.sin(azimuth) * math.cos(elevation), abs=1e-6)
    assert y == pytest.approx(1.7 * math.sin(elevation), abs=1e-6)
    assert z == pytest.approx(1.7 * math.cos(azimuth) * math.cos(elevation), abs=1e-6)


def test_field_of_view_is_vertical_and_reaches_from_edge_to_edge():
    camera = orbit(0.0, 0.0, radius=2.0, fov_deg=40.0, size=128)
    half = 2.0 * math.tan(math.radians(20))
    pixels, _ = camera.project(torch.tensor([[0.0, half, 0], [0.0, -half, 0]]))
    assert pixels[0, :, 1].tolist() == pytest.approx([0, 128], abs=1e-3)


def test_orbit_and_look_at_agree_on_pose_and_picture_also_at_the_poles():
    azimuth = torch.tensor([0.0, 45.0, 200.0, 0.0, 0.0], dtype=torch.float64)
    elevation = torch.tensor([0.0, 30.0, -60.0, 90.0, -90.0], dtype=torch.float64)
    around = orbit(azimuth, elevation)
    aimed = look_at(around.position, torch.zeros(3, dtype=torch.float64))
    assert torch.allclose(around.world_from_camera, aimed.world_from_camera, atol=1e-9)
    assert torch.equal(around.focal_px, aimed.focal_px)
    exactly_above = look_at(torch.tensor([[0.0, 2, 0]]), torch.zeros(3)).world_from_camera[0, :3, :3]
    assert torch.equal(exactly_above, torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))


@settings(deadline=None, max_examples=30)
@given(st.floats(-720, 720), st.floats(-90, 90), st.floats(0.5, 50), st.floats(5, 150), SHAPES)
def test_rays_and_projection_are_inverse(azimuth, elevation, radius, fov, shape):
    height, width = shape
    angle = torch.tensor([azimuth], dtype=torch.float64)
    camera = orbit(angle, elevation, radius=radius, fov_deg=fov, size=8).resized(height, width)
    origins, directions = camera.rays()
    assert torch.allclose(directions.norm(dim=-1), torch.ones(1, height, width, dtype=torch.float64))
    pixels, depth = camera.project((origins + 1.7 * directions).reshape(-1, 3))
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    expected = torch.stack([columns, rows], dim=-1).reshape(1, -1, 2).double()
    assert torch.allclose(pixels, expected, atol=1e-7)
    assert (depth > 0).all()


def test_poses_are_proper_rotations_and_their_inverse_is_exact():
    cameras = orbit(torch.linspace(-180, 180, 9), torch.linspace(-90, 90, 9))
    rotation = cameras.world_from_camera[:, :3, :3]
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(9), atol=1e-6)
    product = cameras.camera_from_world @ cameras.world_from_camera
    assert torch.allclose(product, torch.eye(4).expand(9, 4, 4), atol=1e-6)


def test_turntable_goes_round_once_and_starts_at_the_front():
    cameras = turntable(8, 15.0)
    x, _, z = cameras.position.unbind(-1)
    angles = torch.rad2deg(torch.atan2(x, z)) % 360
    assert torch.allclose(angles, torch.arange(8) * 45.0, atol=1e-4)
    assert torch.allclose(cameras.position.norm(dim=-1), torch.full((8,), 2.2))


def test_resizing_keeps_the_view():
    camera = orbit(20.0, 10.0, size=64)
    bigger = camera.resized(256, 256)
    points = torch.tensor([[0.1, 0.2, 0.3]])
    assert torch.allclose(bigger.project(points)[0], camera.project(points)[0] * 4, atol=1e-3)
    assert torch.allclose(bigger.focal_px, orbit(20.0, 10.0, size=256).focal_px)
    wider = camera.resized(64, 128).project(points)[0]
    assert torch.allclose(wider, camera.project(points)[0] * torch.tensor([2.0, 1.0]), atol=1e-3)


def test_indexing_keeps_the_batch_axis_and_iteration_ends():
    cameras = turntable(4)
    assert [len(camera) for camera in cameras] == [1, 1, 1, 1]
    assert torch.equal(cameras[-1].position, cameras[3].position)
    assert torch.equal(cameras[[2, 0]].position, cameras.position[[2, 0]])
    assert len(cameras[1:]) == 3
    with pytest.raises(IndexError):
        cameras[4]


def test_moving_to_another_dtype_moves_everything():
    camera = turntable(2).to(torch.float64)
    assert camera.world_from_camera.dtype == camera.focal_px.dtype == camera.center_px.dtype == torch.float64
    assert camera.rays()[1].dtype == torch.float64


def test_sampled_azimuths_are_stratified_and_reproducible():
    seed = torch.Generator().manual_seed
    cameras = sample_orbit(seed(3), 6, azimuth_deg=(0.0, 360.0), elevation_deg=(0.0, 30.0))
    again = sample_orbit(seed(3), 6, azimuth_deg=(0.0, 360.0), elevation_deg=(0.0, 30.0))
    x, y, z = cameras.position.unbind(-1)
    sector = (torch.rad2deg(torch.atan2(x, z)) % 360 // 60).int().tolist()
    assert sector == [0, 1, 2, 3, 4, 5]
    assert (y >= 0).all()
    assert (y <= 2.2 * math.sin(math.radians(30)) + 1e-6).all()
    assert torch.equal(cameras.world_from_camera, again.world_from_camera)


@pytest.mark.parametrize(
    "make",
    [
        lambda: orbit(float("nan"), 0.0),
        lambda: orbit(0.0, 0.0, radius=0.0),
        lambda: orbit(0.0, 0.0, radius=float("inf")),
        lambda: orbit(0.0, 0.0, fov_deg=180.0),
        lambda: orbit(0.0, 0.0, size=0),
        lambda: look_at(torch.zeros(1, 3), torch.zeros(3)),
        lambda: look_at(torch.full((1, 3), math.nan), torch.zeros(3)),
    ],
)
def test_impossible_cameras_are_refused(make):
    with pytest.raises(BadInput):
        make()


def test_tensors_that_do_not_fit_together_are_refused_in_normal_use_too():
    jaxtyping.config.update("jaxtyping_disable", True)  # tests check shapes at run time, users do not
    try:
        with pytest.raises(BadInput, match=r"\(cameras, 4, 4\)"):
            Camera(torch.eye(4)[None], torch.ones(2, 2), torch.ones(1, 2), 4, 4)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
