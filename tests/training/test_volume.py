import math

import pytest
import torch

from maquette.core import Streams, orbit
from maquette.core.schedule import Constant
from maquette.kernels.hashgrid import GridShape
from maquette.render.shading import Shading
from maquette.representations.field import FieldShape
from maquette.training.anywhere import Anywhere
from maquette.training.descent import Moment
from maquette.training.field_descent import Light
from maquette.training.volume import Penalties, Rates, Seen, Volume, look, penalty

SHAPE = FieldShape(
    GridShape(levels=2, base=4, finest=8, log2_entries=9), hidden=8, features=3, sees_direction=False,
    activation="softplus", blob=40.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def ball():
    """A ball of matter, known to its occupancy."""
    volume = Volume(SHAPE, learned_background=False, generator=Streams(0).generator("field"))
    volume.watch(64, Streams(0).generator("watch"), every_cell=True)
    return volume


def moment(step, camera, name="draw"):
    return Moment(step, 0.5, camera, Streams(1).generator(f"{name}/{step}"))


# --- light


def test_steps_are_lit_as_often_as_the_paper_says():
    camera, light = orbit(torch.tensor([0.0, 120.0]), 20.0), Light()
    assert all(light.at(moment(step, camera)) is None for step in range(light.unlit_steps - 20, light.unlit_steps))
    kinds = [light.at(moment(step, camera)).kind for step in range(2000, 3500)]
    # Three standard deviations of the binomials.
    assert kinds.count("albedo") / 1500 == pytest.approx(0.25, abs=0.034)
    assert kinds.count("textureless") / 1500 == pytest.approx(0.375, abs=0.038)
    assert kinds.count("lambertian") / 1500 == pytest.approx(0.375, abs=0.038)
    soft = [Light(unlit_steps=0, is_soft=True, around="axis").at(moment(step, camera)) for step in range(300)]
    assert 0.4 < sum(shading.diffuse for shading in soft) / 300 < 0.6


def test_a_ball_is_bright_towards_its_lamp_and_shows_its_albedo_without_one(ball):
    camera = orbit(torch.tensor([0.0, 90.0]), 0.0, size=32)
    lamps = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 2.0]])
    with torch.no_grad():
        plain = look(ball, camera, samples=64)
        lit = look(ball, camera, samples=64, shading=Shading("lambertian", lamps))
        dark = look(ball, camera, samples=64, shading=Shading("lambertian", lamps, ambient=1.0, diffuse=0.0))
    assert plain.normal is None
    torch.testing.assert_close(dark.images, plain.images)

    def own(seen, *at):
        """The color of matter, white taken out."""
        color, alpha = seen.images[at][:3], seen.images[at][3]
        assert alpha > 0.5
        return (color - (1 - alpha)) / alpha

    # Its front, seen squarely, is lit in full; from the side, half of the ball is dark. +Z is left of +X.
    torch.testing.assert_close(own(lit, 0, 16, 16), own(plain, 0, 16, 16), atol=0.06, rtol=0)
    left, right = (own(lit, 1, 16, column) / own(plain, 1, 16, column) for column in (12, 19))
    assert (left > 0.7).all() and (right < 0.2).all()
    # Unit normals that point to the camera where it looks squarely.
    assert lit.normal[0, 16, 16] @ torch.tensor([0.0, 0.0, 1.0]) > 0.9
    assert lit.turned_away.max() < 0.05


# --- what is asked besides likeness


def test_penalties_in_numbers():
    alpha = torch.tensor([[[0.0, 0.5], [1.0, 0.5]]])
    images = torch.cat([torch.zeros(1, 2, 2, 3), alpha[..., None]], dim=-1)
    away = torch.tensor([[[0.0, 0.3], [0.0, 0.6]]])
    seen = Seen(images, None, None)
    only = {"orientation": Constant(0.0), "opacity": Constant(0.0), "entropy": Constant(0.0)}
    opacity = (0.1 + math.sqrt(1.01) + 2 * math.sqrt(0.26)) / 4
    assert penalty(Penalties(**only | {"opacity": Constant(2.0)}), seen, 0).item() == pytest.approx(2 * opacity)
    low = -(1e-3 * math.log(1e-3) + 0.999 * math.log(0.999))
    assert penalty(Penalties(**only | {"entropy": Constant(1.0)}), seen, 0).item() == pytest.approx(
        (2 * low + 2 * math.log(2)) / 4, rel=1e-5
    )
    emptied = penalty(Penalties(**only | {"emptiness": Constant(3.0)}), seen, 0).item()
    assert emptied == pytest.approx(3 * (2 * math.log(6) + math.log(11)) / 4)
    weighted = Penalties(**only | {"orientation": Constant(10.0)})
    assert penalty(weighted, seen, 0).item() == 0
    assert penalty(weighted, seen._replace(turned_away=away), 0).item() == pytest.approx(10 * 0.9 / 3)
    schedule = Penalties().orientation
    assert (schedule(0), schedule(2500), schedule(5000), schedule(9000)) == (10, 505, 1000, 1000)


def test_what_is_behind_is_white_or_learned():
    volume = Volume(SHAPE, learned_background=True, generator=Streams(0).generator("field"))
    camera = orbit(0.0, 0.0, size=8, fov_deg=60.0)
    seen = look(volume, camera, samples=16)
    seen.images[0, 0, 0, :3].sum().backward()
    assert seen.images[0, 0, 0, 3] == 0 and seen.images[0, 0, 0, :3].max() < 1
    assert all(parameter.grad.abs().sum() > 0 for parameter in volume.surroundings.parameters())
    assert volume.field.table.grad is None or volume.field.table.grad.abs().sum() == 0
    rates = Rates()
    assert [rate for _, rate in volume.groups(rates)] == [rates.table, rates.networks, rates.surroundings]
    assert sum(len(parameters) for parameters, _ in volume.groups(rates)) == len(list(volume.parameters()))


def test_occupancy_is_part_of_the_state(ball):
    other = Volume(SHAPE, learned_background=False, generator=Streams(9).generator("field"))
    assert other.mask.all() and not ball.mask.all()
    other.load_state_dict(ball.state_dict())
    assert torch.equal(other.occupancy.mask, ball.occupancy.mask)
    assert torch.equal(other.occupancy.thickness, ball.occupancy.thickness)


# --- cameras


def test_cameras_anywhere_stay_in_their_ranges_and_look_about_the_origin():
    cameras = [Anywhere(views=3).at(step, Streams(2).generator(f"{step}"), 64) for step in range(200)]
    distance = torch.stack([camera.position.norm(dim=-1) for camera in cameras])
    assert distance.min() > 0.75 - 0.09 and distance.max() < 1.0 + 0.09
    fov = torch.stack([2 * torch.rad2deg(torch.atan(32 / camera.focal_px[0, 0])) for camera in cameras])
    assert 40 <= fov.min() < 41 and 69 < fov.max() <= 70
    assert all(len(set(camera.focal_px.flatten().tolist())) == 1 for camera in cameras)
    azimuth = torch.cat([torch.rad2deg(torch.atan2(c.position[:, 0], c.position[:, 2])) for c in cameras])
    assert torch.histc(azimuth, 3, -180, 180).min() > 150
    still = Anywhere(eye_jitter=0.0, target_jitter=0.0).at(0, Streams(2).generator("0"), 64)
    forward = still.world_from_camera[0, :3, 2]
    torch.testing.assert_close(forward, -still.position[0] / still.position[0].norm(), atol=1e-5, rtol=0)
