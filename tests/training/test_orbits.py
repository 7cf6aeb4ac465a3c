import pytest
import torch

from maquette.core import BadInput, Streams
from maquette.training.orbits import Around, Widening


def angles(camera):
    position = camera.position.double()
    x, y, z = position.unbind(-1)
    return torch.atan2(x, z).rad2deg(), torch.atan2(y, torch.hypot(x, z)).rad2deg(), position.norm(dim=-1)


def drawn(orbits, step, times):
    many = [orbits.at(step, Streams(i).generator("cameras"), 64) for i in range(times)]
    parts = [angles(camera) for camera in many]
    return [torch.cat(column) for column in zip(*parts, strict=True)], torch.cat([c.focal_px[:, 0] for c in many])


def test_a_set_stands_evenly_around_at_one_height():
    for seed in range(20):
        camera = Around(views=4, elevation_deg=(5.0, 25.0)).at(seed, Streams(seed).generator("c"), 64)
        azimuth, elevation, radius = angles(camera)
        torch.testing.assert_close(azimuth.sort().values.diff(), torch.full((3,), 90.0).double(), atol=1e-3, rtol=0)
        assert elevation.std() < 1e-3 and 5 <= elevation[0] <= 25
        torch.testing.assert_close(radius, torch.full_like(radius, 2.2), atol=1e-4, rtol=0)
    (azimuth, elevation, _), _ = drawn(Around(views=1), 0, 100)
    assert azimuth.min() < -160 and azimuth.max() > 160
    assert elevation.min() < 3 and elevation.max() > 27


@pytest.mark.parametrize(
    ("step", "azimuth", "near", "far", "narrow"),
    [
        (0, 80, 4.22, 4.46, 18.3), (99, 80, 4.22, 4.46, 18.3), (100, 120, 4.009, 4.237, 13.725),
        (200, 180, 3.80855, 4.06, 10.29), (900, 180, 2.84, 4.06, 9.2),
    ],
)  # fmt: skip
def test_cameras_spread_and_come_closer_as_published(step, azimuth, near, far, narrow):
    still = Widening(views=30, eye_jitter=0.0, target_jitter=0.0)
    (az, elevation, radius), focal = drawn(still, step, 25)
    assert azimuth * 0.9 < az.abs().max() <= azimuth + 1e-3
    assert -1e-3 <= elevation.min() < 3 and 42 < elevation.max() <= 45 + 1e-3
    assert near - 1e-3 <= radius.min() < near + 0.03 and far - 0.03 < radius.max() <= far + 1e-3
    fov = 2 * torch.atan(32 / focal).rad2deg()
    assert narrow - 1e-2 <= fov.min() < narrow + 3 and 31 < fov.max() <= 34.41
    # Crowded around the front: the middle half of the deviations takes (1/2)^(1/1.5) of the draws and not a half.
    assert (az.abs() < azimuth / 2).double().mean().item() == pytest.approx(0.5 ** (1 / 1.5), abs=0.06)


def test_one_field_of_view_for_the_step_and_jitter_moves_a_little():
    camera = Widening().at(0, Streams(0).generator("c"), 64)
    assert torch.equal(camera.focal_px, camera.focal_px[:1].expand(4, -1))
    forward = camera.world_from_camera[:, :3, 2]
    miss = torch.linalg.cross(forward, -camera.position, dim=-1).norm(dim=-1)  # distance of the axis from the origin
    assert 0 < miss.max() < 0.25
    with pytest.raises(BadInput, match="widen"):
        Widening(every=0)
