"""Regions against counting by hand, and the two rules for masks against what can be seen."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core import BadInput, orbit, quat_to_matrix
from maquette.edit import (
    ALL,
    Box,
    ColorNear,
    Component,
    Everything,
    Grow,
    HalfSpace,
    Inverse,
    Masks,
    Named,
    Scene,
    Select,
    Shrink,
    Sphere,
    apply,
    view,
)
from maquette.edit.masks import visible_weight
from maquette.edit.select import rows_in
from maquette.render import render_gaussians
from maquette.representations import GaussianCloud, from_points, state_hash


def test_solids_by_hand():
    points = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0, 0.25, 0], [0, -0.3, 0.1]])
    scene = Scene(from_points(points, torch.zeros(4, 3)))

    def rows(region) -> list[int]:
        return rows_in(region, scene).nonzero()[:, 0].tolist()

    assert rows(Sphere((0, 0, 0), 0.1 + 1e-7)) == [0, 1]
    assert rows(Box((0, 0, 0), (0.05, 0.3, 0.05))) == [0, 2]
    assert rows(Box((0, 0, 0), (0.05, 0.3, 0.05), (1, 0, 0, 1))) == [0, 1]  # a quarter turn about z
    assert rows(HalfSpace((0, 0, 0), (0, 5, 0))) == [0, 1, 2]
    assert rows(Everything()) == [0, 1, 2, 3]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 0.4))
def test_a_component_is_what_steps_can_reach(seed, gap):
    points = torch.rand(60, 3, generator=torch.Generator().manual_seed(seed)) - 0.5
    scene = Scene(from_points(points, torch.zeros(60, 3)))
    near = torch.cdist(points.double(), points.double()) <= gap
    reached = torch.arange(60) == (points.norm(dim=-1)).argmin()
    while (wider := near[reached].any(dim=0)).sum() > reached.sum():
        reached = wider
    assert torch.equal(rows_in(Component((0, 0, 0), gap), scene), reached)


def test_components_of_the_two_balls(scene):
    left = rows_in(Component((-0.3, 0, 0), 0.15), scene)
    assert torch.equal(left, scene.parts["left"])
    assert rows_in(Component((-0.3, 0, 0), 0.5), scene).all()


def test_colors(scene):
    rgb = scene.cloud.rgb
    rows = rows_in(ColorNear(tuple(rgb[7].tolist()), 0.3), scene)
    assert torch.equal(rows, (rgb - rgb[7]).norm(dim=-1) <= 0.3)
    assert rows[7]


def test_growing_and_shrinking_along_a_line():
    points = torch.zeros(9, 3)
    points[:, 0] = torch.arange(9) * 0.1 + 0.001 * torch.arange(9) ** 2
    line = Scene(from_points(points, torch.zeros(9, 3)), {"mid": torch.arange(9) == 4, "most": torch.arange(9) >= 3})

    def rows(region) -> list[int]:
        return rows_in(region, line).nonzero()[:, 0].tolist()

    assert rows(Grow("mid", neighbors=2)) == [3, 4, 5]
    assert rows(Grow("mid", neighbors=2, rings=2)) == [2, 3, 4, 5, 6]
    assert rows(Shrink("most", neighbors=2)) == [4, 5, 6, 7, 8]
    assert rows(Shrink("most", neighbors=2, rings=2)) == [5, 6, 7, 8]
    assert rows(Grow("mid", neighbors=100)) == list(range(9))


def test_set_operations_and_names(scene):
    def parts(*edits: Select) -> dict[str, torch.Tensor]:
        now = scene
        for edit in edits:
            now, report = apply(edit, now)
            assert state_hash(now.cloud) == state_hash(scene.cloud)
            assert report.changed == report.added == report.removed == report.outside_changed == 0
        return now.parts

    left = scene.parts["left"]
    assert torch.equal(parts(Select("x", Inverse("left")))["x"], ~left)
    assert parts(Select("left", Named("right"), "union"))["left"].all()
    half = rows_in(HalfSpace((0, 0, 0), (0, 1, 0)), scene)
    assert torch.equal(parts(Select("left", HalfSpace((0, 0, 0), (0, 1, 0)), "intersect"))["left"], left & half)
    assert torch.equal(parts(Select("left", HalfSpace((0, 0, 0), (0, 1, 0)), "subtract"))["left"], left & ~half)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda: Select("x", Sphere((9, 9, 9), 0.1)), "empty"),
        (lambda: Select("x", Named("nobody")), "there is no part 'nobody' .parts: left, right"),
        (lambda: Select("x", Everything(), "union"), "no part 'x' to union"),
        (lambda: Select("left", Named("left"), "subtract"), "empty"),
        (lambda: Select(ALL, Everything()), "already means"),
        (lambda: Select("../x", Everything()), "name of a part"),
        (lambda: Select("x" * 65, Everything()), "name of a part"),
        (lambda: Sphere((0, 0, 0), 0.0), "above zero"),
        (lambda: Sphere((0, 0, 0), float("nan")), "above zero"),
        (lambda: Box((0, 0, 0), (1, 1, -1)), "above zero"),
        (lambda: HalfSpace((0, 0, 0), (0, 0, 0)), "normal"),
        (lambda: Grow("left", neighbors=0), "above zero"),
        (lambda: Masks(()), "no views"),
    ],
)
def test_what_cannot_be_selected_is_refused(scene, edit, message):
    with pytest.raises(BadInput, match=message):
        apply(edit(), scene)


def silhouette(center: tuple[float, float, float], radius: float, camera) -> torch.Tensor:
    """The mask of a ball, ray by ray."""
    origin, direction = camera.rays()
    away = torch.tensor(center) - origin[0]
    closest = away - (away * direction[0]).sum(-1, keepdim=True) * direction[0]
    return closest.norm(dim=-1) <= radius


def test_two_views_tell_two_balls_apart_and_one_does_not(scene):
    cameras = orbit(torch.tensor([90.0, 0.0]), 0.0, size=64)  # the first looks along the line that joins the balls
    views = tuple(view(cameras[k], silhouette((-0.3, 0, 0), 0.15, cameras[k])) for k in range(2))
    assert torch.equal(rows_in(Masks(views), scene), scene.parts["left"])
    assert rows_in(Masks(views[:1]), scene).all()


def test_what_lies_outside_the_picture_or_behind_the_camera_is_not_selected(scene):
    camera = orbit(90.0, 0.0, radius=0.3001, size=64)  # stands in the right ball and sees the left one
    everything = view(camera, torch.ones(64, 64, dtype=torch.bool))
    rows = rows_in(Masks((everything,)), scene)
    assert not rows[scene.parts["right"] & (scene.cloud.means[:, 0] > 0.31)].any()
    assert rows[scene.parts["left"]].all()


def shell_and_core() -> tuple[Scene, torch.Tensor]:
    """An opaque shell of 4000 red rows around a core of 50: no camera sees the core, nor the far side of the shell."""
    points = torch.randn(4050, 3, generator=torch.Generator().manual_seed(3))
    points = torch.nn.functional.normalize(points, dim=-1) * torch.where(torch.arange(4050) < 4000, 0.4, 0.1)[:, None]
    cloud = from_points(points, torch.full((4050, 3), 0.5), opacity=0.98)
    cloud = GaussianCloud(**cloud.tensors() | {"log_scales": torch.full((4050, 3), 0.025).log()})
    return Scene(cloud), torch.arange(4050) >= 4000


def test_the_rule_of_visibility_leaves_out_what_the_masks_only_hide():
    scene, core = shell_and_core()
    cameras = orbit(torch.tensor([0.0, 10.0]), 0.0, size=64)
    patch = [silhouette((0, 0, 0.4), 0.16, cameras[k]) for k in range(2)]
    views = tuple(view(cameras[k], patch[k]) for k in range(2))
    paper, visible = rows_in(Masks(views), scene), rows_in(Masks(views, rule="visible"), scene)
    faces = scene.cloud.means[:, 2] > 0.25
    assert (paper & core).any() and (paper & ~core & ~faces).any()  # the leak through to the back
    assert not (visible & ~faces).any()
    assert visible.sum() > 20


def test_weights_are_the_shares_of_the_picture():
    scene, core = shell_and_core()
    camera = orbit(0.0, 0.0, size=48)
    weight = visible_weight((view(camera, silhouette((0, 0, 0.4), 0.2, camera)),), scene)
    alpha = render_gaussians(scene.cloud, camera).alpha
    assert weight[:, 1].sum().item() == pytest.approx(alpha.sum().item(), rel=1e-4)
    assert (weight[:, 0] <= weight[:, 1] + 1e-6).all()
    assert weight[core, :2].sum() < 1e-3 * weight[:, :2].sum()
    assert (weight[:, 1] <= 1.05 * weight[:, 2] + 0.1).all()  # never more than alone, but for the low cut at 1/255


def test_masks_survive_json_and_damage_is_named():
    draw = torch.Generator().manual_seed(0)
    camera, mask = orbit(33.0, 12.0, size=17), torch.rand(17, 17, generator=draw) > 0.5
    one = view(camera, mask)
    assert torch.equal(one.mask, mask)
    assert torch.equal(one.camera.world_from_camera, camera.world_from_camera)
    for pixels in ("no base64!", "AAAA", one.pixels[:12]):
        with pytest.raises(BadInput, match="mask"):
            _ = type(one)(**vars(one) | {"pixels": pixels}).mask
    with pytest.raises(BadInput, match="size"):
        view(camera, mask[:5])


def test_a_box_turns_with_its_quaternion(scene):
    quat = (0.8, 0.2, -0.4, 0.4)
    means = scene.cloud.means.double() @ quat_to_matrix(torch.tensor(quat).double())
    rows = rows_in(Box((0.0, 0.0, 0.0), (0.2, 0.15, 0.3), quat), scene)
    assert torch.equal(rows, (means.abs() <= torch.tensor([0.2, 0.15, 0.3]).double()).all(dim=-1))
