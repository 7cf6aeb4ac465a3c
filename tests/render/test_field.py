"""Marching through fields against closed forms: absorption, compositing, skipping, stopping, gradients."""

import math

import pytest
import torch

from maquette.core.camera import orbit
from maquette.core.errors import NonFinite
from maquette.render.field import march, render_field
from maquette.representations.occupancy import OccupancyGrid

F64 = torch.float64
FULL = OccupancyGrid.full(16, 0.6)


def ball(radius, density, color=(0.2, 0.5, 0.9)):
    """A homogeneous ball around the origin."""

    def field(points, directions):
        inside = points.norm(dim=-1) < radius
        return torch.where(inside, points.new_tensor(density), 0.0), points.new_tensor(color).expand(len(points), 3)

    return field


def rays(*pairs):
    origins, towards = (torch.tensor(side, dtype=F64) for side in zip(*pairs, strict=True))
    return origins, torch.nn.functional.normalize(towards - origins, dim=-1)


def test_light_through_a_homogeneous_ball_falls_as_its_chord():
    density, radius = 3.0, 0.4
    heights = [0.0, 0.1, 0.25, 0.39, 0.45]
    origins, directions = rays(*(((0.0, h, 2.0), (0.0, h, 0.0)) for h in heights))
    seen = march(ball(radius, density), origins, directions, occupancy=FULL, samples=4096)
    chords = torch.tensor([2 * math.sqrt(max(radius**2 - h**2, 0.0)) for h in heights], dtype=F64)
    assert torch.allclose(seen.alpha, 1 - (-density * chords).exp(), atol=2 * 3.0 * 2.08 / 4096)
    # What is premultiplied by coverage has its full color, and nothing else mixed in.
    assert torch.allclose(seen.color, seen.alpha[:, None] * torch.tensor([0.2, 0.5, 0.9], dtype=F64))


def test_absorption_of_a_box_is_exact_with_any_number_of_steps():
    origins, directions = rays(((2.0, 1.0, 0.3), (0.0, 0.1, 0.0)), ((0.1, 0.2, 0.0), (1.0, 0.2, 0.0)))
    one, two = (-0.6 - origins) / directions, (0.6 - origins) / directions
    inside = torch.maximum(one, two).nan_to_num(9.0).amin(-1) - torch.minimum(one, two).nan_to_num(-9.0).amax(-1).clamp(
        min=0
    )  # the second ray starts within the box
    for samples in (1, 7, 64):
        seen = march(ball(9.0, 1.7), origins, directions, occupancy=FULL, samples=samples)
        assert torch.allclose(seen.alpha, 1 - (-1.7 * inside).exp(), rtol=1e-12)


def test_the_published_weights_of_four_steps():
    densities = torch.tensor([1.0, 5.0, 20.0, 3.0], dtype=F64)
    box = OccupancyGrid.full(4, 0.2)  # four steps of 0.1 along z

    def field(points, directions):
        slot = ((points[:, 2] + 0.2) / 0.1).long()
        return densities[slot], torch.nn.functional.one_hot(slot, 4)[:, :3].to(F64)

    origins, directions = rays(((0.0, 0.0, -1.0), (0.0, 0.0, 0.0)))
    # The diagonal of the cube in so many steps that one is 0.1 long.
    seen = march(field, origins, directions, occupancy=box, samples=round(2 * math.sqrt(3) * 0.2 / 0.1 * 1000))
    assert seen.alpha.item() == pytest.approx(0.94497678, abs=2e-3)
    assert seen.color[0].tolist() == pytest.approx([0.09516258, 0.35602578, 0.47453806], abs=2e-3)
    expected = (0.85 * 0.09516258 + 0.95 * 0.35602578 + 1.05 * 0.47453806 + 1.15 * 0.01925036) / 0.94497678
    assert seen.distance.item() == pytest.approx(expected, abs=2e-2)


def test_color_is_laid_over_the_background_and_depth_is_along_the_axis():
    camera = orbit(torch.tensor([0.0, 120.0]), torch.tensor([10.0, -60.0]), size=24)
    backgrounds = torch.tensor([[1.0, 1.0, 1.0], [0.3, 0.0, 0.6]])
    black = render_field(ball(0.4, 400.0), camera, occupancy=FULL, samples=256)
    drawn = render_field(ball(0.4, 400.0), camera, occupancy=FULL, samples=256, background=backgrounds)
    expected = black.color + (1 - black.alpha)[..., None] * backgrounds[:, None, None]
    assert torch.allclose(drawn.color, expected)
    assert torch.allclose(drawn.color[:, 0, 0], backgrounds)  # a corner sees none of the ball
    assert drawn.color[0, 12, 12].tolist() == pytest.approx([0.2, 0.5, 0.9], abs=1e-3)
    assert drawn.depth[:, 0, 0].tolist() == [0.0, 0.0]
    origins, directions = camera.rays()
    along = -(origins * directions).sum(-1)
    offset = origins.square().sum(-1) - along.square()
    distance = along - (0.4**2 - offset).clamp(min=0).sqrt()
    axis = (directions * camera.world_from_camera[:, None, None, :3, 2]).sum(-1)
    well_inside = offset < 0.3**2
    assert torch.allclose(drawn.depth[well_inside], (distance * axis)[well_inside], atol=2.08 / 256 + 3 / 400)


def test_normals_of_a_soft_ball_point_outward():
    def soft(points, directions):
        return 200 * torch.sigmoid((0.35 - points.norm(dim=-1)) / 0.02), points * 0

    camera = orbit(30.0, 20.0, size=16)
    seen = render_field(soft, camera, occupancy=FULL, samples=256, normals=True)
    origins, directions = (side[0, 8, 8] for side in camera.rays())
    distance = seen.depth[0, 8, 8] / (directions @ camera.world_from_camera[0, :3, 2])
    outward = torch.nn.functional.normalize(origins + distance * directions, dim=0)
    assert (seen.normal[0, 8, 8] @ outward).item() == pytest.approx(seen.alpha[0, 8, 8].item(), abs=5e-3)
    assert (seen.normal.norm(dim=-1) <= seen.alpha + 1e-5).all()


def test_skipping_empty_cells_changes_nothing_and_asks_less():
    field = ball(0.3, 20.0)
    camera = orbit(40.0, 25.0, size=20)
    origins, directions = (side.reshape(-1, 3) for side in camera.rays())
    centers = (torch.stack(torch.meshgrid(*[torch.arange(16)] * 3, indexing="ij"), -1) + 0.5) / 16 * 1.2 - 0.6
    reach = 0.6 / 16 * math.sqrt(3)
    skipping = OccupancyGrid(FULL.thickness, 0.6, centers.norm(dim=-1) < 0.3 + reach)
    everything = march(field, origins, directions, occupancy=FULL, samples=100)
    less = march(field, origins, directions, occupancy=skipping, samples=100)
    assert less.asked < 0.6 * everything.asked
    for name in ("color", "alpha", "distance"):
        # Waves group the sums in another way, and only that; some rays end early, at the same step.
        assert torch.allclose(getattr(less, name), getattr(everything, name), atol=2e-6), name
    nothing = OccupancyGrid(FULL.thickness, 0.6, torch.zeros_like(FULL.mask))
    dark = march(field, origins, directions, occupancy=nothing)
    assert dark.asked == 0 and not dark.alpha.any() and not dark.distance.any()


def test_a_ray_stops_when_nothing_comes_through_any_more():
    seen_up_to = []

    def field(points, directions):
        seen_up_to.append(points[:, 2].min())
        return torch.full((len(points),), 100.0, dtype=F64), torch.ones_like(points)

    origins, directions = rays(((0.0, 0.0, 2.0), (0.0, 0.0, 0.0)))
    seen = march(field, origins, directions, occupancy=FULL, samples=512)
    assert 1 - 1e-4 < seen.alpha.item() < 1
    assert min(seen_up_to) > 0.6 - 3 * -math.log(1e-4) / 100 and seen.asked < 100
    assert seen.color[0].tolist() == pytest.approx([seen.alpha.item()] * 3)


def test_a_random_place_in_each_step_has_the_right_mean():
    generator = torch.Generator().manual_seed(0)
    origins, directions = rays(*[((0.0, 0.07, 2.0), (0.0, 0.07, 0.0))] * 4000)

    def ramp(points, directions):  # linear in z, so that the integral has a closed form: 0.6 * (0.6 + 0.6) = 0.72
        return points[:, 2] + 0.6, points * 0

    seen = march(ramp, origins, directions, occupancy=FULL, samples=10, generator=generator)
    depth = -torch.log1p(-seen.alpha)
    assert depth.std() > 0.01
    assert depth.mean().item() == pytest.approx(0.72, abs=4 * depth.std().item() / math.sqrt(4000))


def test_gradients_of_parameters_agree_with_finite_differences():
    origins, directions = rays(((0.1, 0.2, 2.0), (0.0, 0.0, 0.0)), ((1.5, -1.0, 0.4), (0.1, 0.0, 0.1)))

    def everything(center, density, color):
        def field(points, directions):
            solid = density * (-(points - center).square().sum(-1) / 0.05).exp()
            return solid, (color + 0.1 * directions * points).sigmoid()

        seen = march(field, origins, directions, occupancy=FULL, samples=40, normals=True)
        return seen.color, seen.alpha, seen.distance, seen.normal

    parameters = [torch.tensor(value, dtype=F64, requires_grad=True) for value in ([0.1, -0.1, 0.0], 4.0, [0.3, -1, 1])]
    assert torch.autograd.gradcheck(everything, parameters)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_a_field_that_answers_nonsense_is_refused(value):
    with pytest.raises(NonFinite, match="field"):
        render_field(ball(0.4, value), orbit(0.0, 0.0, size=4), occupancy=FULL)


def test_light_reaches_every_point_before_the_colors_are_added_up():
    origins, directions = rays(((0.0, 0.1, 2.0), (0.0, 0.1, 0.0)), ((2.0, 0.0, 0.1), (0.0, 0.0, 0.1)))
    asked = []

    def halved(color, normals, points, ray):
        asked.append((points, normals, ray))
        return 0.5 * color * (ray[:, None] + 1)

    plain = march(ball(0.4, 9.0), origins, directions, occupancy=FULL, samples=256)
    lit = march(ball(0.4, 9.0), origins, directions, occupancy=FULL, samples=256, shade=halved)
    assert torch.equal(lit.alpha, plain.alpha) and plain.turned_away is None
    assert torch.allclose(lit.color, plain.color * torch.tensor([[0.5], [1.0]], dtype=F64))
    points, _, ray = (torch.cat(column) for column in zip(*asked, strict=True))
    assert len(points) == lit.asked and set(ray.tolist()) == {0, 1}
    assert torch.allclose(torch.linalg.cross(points - origins[ray], directions[ray]), torch.zeros_like(points))


@pytest.mark.parametrize("slope", [(0.0, 0.0, -1.0), (0.0, 0.0, 1.0), (0.0, 0.6, 0.8), (1.0, 0.0, 0.0)])
def test_matter_that_faces_away_is_weighed_by_how_much_one_sees_of_it(slope):
    origins, directions = rays(((0.0, 0.1, 2.0), (0.0, 0.1, 0.0)))  # towards -z
    slope = torch.tensor(slope, dtype=F64)

    def field(points, directions):
        return 2.0 + points @ slope, points.new_ones(len(points), 3)

    seen = march(field, origins, directions, occupancy=FULL, samples=64, normals=True)
    facing = max(0.0, float((-slope * directions[0]).sum()))  # the normal is against the slope
    assert torch.allclose(seen.turned_away, facing**2 * seen.alpha)
    cheaper = march(
        field,
        origins,
        directions,
        occupancy=FULL,
        samples=64,
        normals=True,
        density=lambda points: 2.0 + points @ slope,
    )
    assert torch.equal(cheaper.turned_away, seen.turned_away) and torch.equal(cheaper.normal, seen.normal)
