"""Clicks on scenes whose parts are known: what is selected, what is refused, and what a log makes of it."""

import json
import math
from dataclasses import replace

import pytest
import torch

from maquette.core import BadInput, Camera, Notice, look_at, orbit
from maquette.core.rotation import matrix_to_quat
from maquette.edit import (
    Scene,
    SelectClick,
    Session,
    apply,
    click,
    clicked_views,
    from_json,
    replay,
    shot,
    to_json,
    view,
)
from maquette.edit.edit import Sources, changing
from maquette.edit.grow import grow
from maquette.render import render_gaussians
from maquette.representations import GaussianCloud, from_points

CAMERA = orbit(0, 30, size=96)
DENSITY = 4000


def discs(points, normals, color, draw) -> GaussianCloud:
    """Flat Gaussians on a surface, as near to each other as their size asks for."""
    helper = torch.where((normals[:, 1].abs() < 0.9)[:, None], torch.tensor([0.0, 1, 0]), torch.tensor([1.0, 0, 0]))
    across = torch.nn.functional.normalize(torch.linalg.cross(helper, normals), dim=-1)
    frames = torch.stack([across, torch.linalg.cross(normals, across), normals], dim=-1)
    colors = torch.tensor(color) + 0.01 * torch.randn(len(points), 3, generator=draw)
    cloud = from_points(points, colors.clamp(0, 1), opacity=0.95)
    sizes = torch.tensor([0.8, 0.8, 0.1]).log() - 0.5 * math.log(DENSITY)
    return GaussianCloud(**cloud.tensors() | {"log_scales": sizes.expand(len(points), 3).clone(),
                                              "quats": matrix_to_quat(frames)})  # fmt: skip


def ball(center, radius, color, draw) -> GaussianCloud:
    count = int(4 * math.pi * radius**2 * DENSITY)
    normals = torch.nn.functional.normalize(torch.randn(count, 3, generator=draw), dim=-1)
    return discs(torch.tensor(center) + radius * normals, normals, color, draw)


def plate(height, half, color, draw) -> GaussianCloud:
    count = int(4 * half**2 * DENSITY)
    points = half * (2 * torch.rand(count, 3, generator=draw) - 1)
    points[:, 1] = height
    return discs(points, torch.tensor([0.0, 1, 0]).repeat(count, 1), color, draw)


def balls(colors) -> Scene:
    """A large ball at the left and a small one at the right on a plate."""
    draw = torch.Generator().manual_seed(0)
    clouds = [
        ball((-0.22, 0.0, 0.0), 0.2, colors[0], draw),
        ball((0.25, -0.06, 0.05), 0.14, colors[1], draw),
        plate(-0.2, 0.48, colors[2], draw),
    ]
    owner = torch.cat([torch.full((len(cloud),), index) for index, cloud in enumerate(clouds)])
    return Scene(GaussianCloud.cat(clouds), {name: owner == i for i, name in enumerate(("left", "right", "plate"))})


COLORED, GRAY = ((0.8, 0.2, 0.1), (0.1, 0.3, 0.8), (0.7, 0.6, 0.4)), ((0.6, 0.6, 0.6),) * 3


@pytest.fixture(scope="module")
def colored() -> Scene:
    return balls(COLORED)


def pixel_of(point, camera: Camera = CAMERA):
    return tuple(camera.project(torch.tensor([point]))[0][0, 0].tolist())


def overlap(one, other) -> float:
    return float((one & other).sum() / (one | other).sum())


ON_LEFT, ON_RIGHT, ON_PLATE = (-0.22, 0.08, 0.16), (0.25, 0.0, 0.17), (0.0, -0.2, 0.4)
LEFT, RIGHT = pixel_of(ON_LEFT), pixel_of(ON_RIGHT)


@pytest.mark.parametrize(("part", "point"), [("left", ON_LEFT), ("right", ON_RIGHT)])
@pytest.mark.parametrize(("colors", "size"), [(COLORED, 96), (GRAY, 192)], ids=["colored", "gray"])
def test_a_click_takes_the_part_and_its_back(colors, size, part, point):
    """By the creases alone, where all has one color; that takes a finer picture."""
    scene, camera = balls(colors), orbit(0, 30, size=size)
    true, pixel = scene.parts[part], pixel_of(point, camera)
    rows = click(scene.cloud, camera, (pixel,))
    assert overlap(rows, true) > 0.8
    from_one = click(scene.cloud, camera, (pixel,), views=1)
    assert (rows & true).sum() > (from_one & true).sum()  # the second view shows the back


def test_a_click_off_the_part_ends_it_where_a_picture_is_too_coarse_for_creases():
    scene = balls(GRAY)
    alone, other = (click(scene.cloud, CAMERA, (RIGHT,), off=off) for off in ((), (pixel_of(ON_PLATE),)))
    true = scene.parts["right"]
    assert overlap(alone, true) < 0.3 < 0.5 < overlap(other, true)
    assert (other & scene.parts["plate"]).sum() < 0.2 * (alone & scene.parts["plate"]).sum()


def test_clicks_join_and_part(colored):
    picture = render_gaussians(colored.cloud, CAMERA)
    one, other, both = (grow(picture, CAMERA, on) for on in ((LEFT,), (RIGHT,), (LEFT, RIGHT)))
    assert not (one & other).any() and not ((one | other) & ~both).any()


def test_a_click_on_an_edge_means_what_lies_beside_it(colored):
    picture = render_gaussians(colored.cloud, CAMERA)
    whole = grow(picture, CAMERA, (LEFT,))
    row = int(LEFT[1])
    edge = int(whole[row].nonzero()[-1])  # the last pixel of the ball in its row
    beside = grow(picture, CAMERA, ((edge + 0.5, row + 0.5),))
    assert beside.sum() > 0.5 * whole.sum()  # the ball or the plate behind it, and not the line between them


@pytest.mark.parametrize(
    ("pixel", "words"),
    [((1.5, 1.5), "on the background; click on the object"), ((96.0, 3.0), "outside the picture of 96 x 96"),
     ((-1.0, 3.0), "outside"), ((3.0, 400.0), "outside")],
)  # fmt: skip
def test_clicks_that_meet_nothing_are_refused(colored, pixel, words):
    for clicks in ({"on": (pixel,)}, {"on": (LEFT,), "off": (pixel,)}):
        with pytest.raises(BadInput, match=words):
            apply(SelectClick("thing", shot(CAMERA), **clicks), colored)
    with pytest.raises(BadInput, match="at least one"):
        SelectClick("thing", shot(CAMERA), ())


def test_shots_and_views_are_their_cameras_as_values():
    camera = CAMERA.resized(40, 64)
    for held in (shot(camera), view(camera, torch.ones(40, 64, dtype=torch.bool))):
        again = held.camera
        assert (again.height, again.width) == (40, 64)
        for name in ("world_from_camera", "focal_px", "center_px"):
            assert torch.equal(getattr(again, name), getattr(camera, name)), name
        with pytest.raises(BadInput, match=f"a {type(held).__name__.lower()} has no 4 x 4 pose"):
            replace(held, world_from_camera=held.world_from_camera[:15])


def test_the_second_view_looks_from_elsewhere_at_what_was_clicked(colored):
    first, second = clicked_views(colored.cloud, CAMERA, (LEFT,))
    assert torch.equal(first.camera.world_from_camera, CAMERA.world_from_camera)
    ahead = [one.camera.world_from_camera[0, :3, 2] for one in (first, second)]
    assert 44 < math.degrees(math.acos(float(ahead[0] @ ahead[1]))) < 121


def test_what_only_one_view_shows_is_selected_by_it_with_a_notice():
    """A ball at the bottom of a deep shaft, seen from straight above."""
    draw = torch.Generator().manual_seed(0)
    hidden = ball((0.0, -0.4, 0.0), 0.07, (0.8, 0.2, 0.1), draw)
    angle = 2 * math.pi * torch.rand(6000, generator=draw)
    inwards = -torch.stack([angle.sin(), torch.zeros(6000), angle.cos()], dim=-1)
    wall = -0.12 * inwards
    wall[:, 1] = torch.rand(6000, generator=draw) - 0.5
    scene = Scene(GaussianCloud.cat([hidden, discs(wall, inwards, (0.4, 0.5, 0.6), draw)]))
    camera = look_at(torch.tensor([[0.0, 2.2, 0.0]]), torch.zeros(3), size=96)
    edit = SelectClick("ball", shot(camera), (pixel_of((0.0, -0.33, 0.0), camera),))
    events, stream = [], changing(edit, scene, Sources())
    try:
        while True:
            events.append(next(stream))
    except StopIteration as end:
        change, _ = end.value
    assert [type(event) for event in events] == [Notice] and "one view" in events[0].text
    truth = torch.arange(len(scene.cloud)) < len(hidden)
    assert (change.selected & truth).sum() > 0.5 * truth.sum()


def test_undo_redo_replay_and_masks_that_others_drew(colored, tmp_path):
    with Session.create(tmp_path / "one.mq", colored.cloud) as session:
        session.select_click("ball", shot(CAMERA), (LEFT,))
        after = session.hash
        session.undo()
        assert not session.scene.parts
        session.redo()
        assert session.hash == after
        session.select_click("ball", shot(CAMERA), (RIGHT,), how="union")
        views = clicked_views(colored.cloud, CAMERA, (LEFT,), segment=lambda *_: torch.ones(96, 96, dtype=torch.bool))
        report = session.do(SelectClick("drawn", shot(CAMERA), (LEFT,), masks=views))
        assert report.selected > 0.5 * len(colored.cloud) and report.changed == report.outside_changed == 0
    assert replay(tmp_path / "one.mq", tmp_path / "two.mq") == []
    texts = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one.mq", "two.mq")]
    logs = [[json.loads(line) for line in lines] for lines in texts]
    assert [line["after"] for line in logs[0]] == [line["after"] for line in logs[1]]
    edit = from_json(logs[0][-1]["edit"])
    assert edit.masks == views and from_json(json.loads(json.dumps(to_json(edit)))) == edit
