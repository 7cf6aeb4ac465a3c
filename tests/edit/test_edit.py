"""Edits as values: what they do to rows and parts, what they refuse, and their JSON."""

import json
import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core import BadInput
from maquette.edit import (
    ALL,
    Drag,
    Duplicate,
    Edit,
    Forget,
    GuidedDrag,
    Latent,
    Masks,
    Mirror,
    Move,
    Paste,
    Refine,
    Regenerate,
    Remove,
    Repaint,
    Rotate,
    Scene,
    Select,
    SelectClick,
    Sources,
    Sphere,
    Stretch,
    apply,
    from_json,
    scene_hash,
    to_json,
)
from maquette.edit.edit import Worded
from maquette.edit.masks import View
from maquette.edit.pick import Shot
from maquette.edit.scene import pack, unpack
from maquette.representations import from_points, state_hash

HASH = "0123456789abcdef" * 2
NAMES = Select | SelectClick | Forget  # change no row
EXAMPLES = [
    Select("head", Sphere((0.0, 0.35, 0.0), 0.15), "union"),
    Select("face", Masks((View((1.0,) * 16, (2.0, 2.0), (1.0, 1.0), 2, 2, "eJw="),), "visible", 0.4)),
    Forget("head"),
    Remove("head"),
    Paste(HASH, "dragon", None, 1.4),
    Paste(HASH, "dragon", (0.0, -0.4, 0.0)),
    Move("head", (0.1, 0.0, 1e-7)),
    Rotate("head", (0.0, 1.0, 0.0), 30.0, (0.1, 0.1, 0.1)),
    Stretch(ALL, (1.0, 2.0, 1.0), "own"),
    Mirror("head", (1.0, 0.0, 0.0)),
    Duplicate("head", "twin", (0.5, 0.0, 0.0)),
    Drag((0.2, 0.1, 0.0), ((0.45, 0.3, 0.0), (0.5, 0.5, 0.0)), 0.3, "rigid"),
    Repaint("head", "a golden helmet", 40, "a knight with a golden helmet", (0.7, 0.3), 4.0),
    Regenerate("head", "a golden helmet", 40, "a knight with a golden helmet", (0.3, 0.7), 4.0),
    GuidedDrag((0.2, 0.1, 0.0), ((0.45, 0.3, 0.0), (0.5, 0.5, 0.0)), 0.3, "a dog", "rigid", "tail", rigid_weight=2.0),
    Refine("head", "a golden helmet", 12, times=(0.5,)),
    Latent("a knight", 3, 20, tuple(range(2, 18)), ((0.1, -0.5, 1e-7),) * 16, 4.0, None, "runs/model"),
    SelectClick(
        "head", Shot((1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, -2.0, 0, 0, 0, 1.0), (80.0, 80.0), (32.0, 32.0), 64, 64),
        ((32.5, 32.5),), ((10.5, 9.0),), "union",
    ),
]  # fmt: skip


_LATENT = {"kind": "latent", "prompt": "x", "look_seed": 0, "drawn": 20, "rows": [0] * 16, "points": [[0, 0, 0]] * 16}


@pytest.mark.parametrize("edit", EXAMPLES, ids=lambda edit: type(edit).__name__)
def test_edits_survive_json(edit):
    assert from_json(json.loads(json.dumps(to_json(edit), allow_nan=False))) == edit


def test_every_edit_has_an_example():
    assert {type(edit) for edit in EXAMPLES} == set(get_args(Edit))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "expected an object"),
        ({}, "expected an object"),
        ({"kind": "dance"}, "one of select"),
        ({"kind": "move", "part": "x"}, "lacks 'by'"),
        ({"kind": "move", "part": "x", "by": [0, 0, 0], "speed": 3}, "no field 'speed'"),
        ({"kind": "move", "part": "x", "by": [0, 0]}, "list of 3"),
        ({"kind": "move", "part": "x", "by": [0, 0, "1"]}, "finite number"),
        ({"kind": "move", "part": "x", "by": [0, 0, math.nan]}, "finite number"),
        ({"kind": "move", "part": "x", "by": [0, 0, True]}, "finite number"),
        ({"kind": "move", "part": 3, "by": [0, 0, 0]}, "text"),
        ({"kind": "move", "part": "x", "by": [0, 0, 1e9]}, "at most 10000"),
        ({"kind": "select", "part": "x", "region": {"kind": "cone"}}, "select.region"),
        ({"kind": "select", "part": "x", "region": {"kind": "everything"}, "how": "xor"}, "one of replace"),
        ({"kind": "drag", "source": [0, 0, 0], "path": [[1, 0, 0]], "radius": 0.1, "steps": 1.5}, "whole number"),
        ({"kind": "drag", "source": [0, 0, 0], "path": [[1, 0, 0]], "radius": 0.1, "fill": 1}, "true or false"),
        ({"kind": "repaint", "part": "x", "prompt": "y", "times": []}, "at least one"),
        ({"kind": "repaint", "part": "x", "prompt": "y", "times": [0.5, 0]}, "expected at least one, all in"),
        ({"kind": "repaint", "part": "x", "prompt": "y", "steps": 2}, "2 steps for 3 times"),
        ({"kind": "repaint", "part": "x", "prompt": " "}, "prompt is empty"),
        ({"kind": "repaint", "part": "x", "prompt": "y", "guidance": -1}, "guidance"),
        ({"kind": "paste", "cloud": "../../etc/passwd", "name": "x"}, "not the hash"),
        (_LATENT | {"rows": [0] * 15}, "16 points with 15 rows"),
        (_LATENT | {"rows": [20] * 16}, "not among the 20 drawn"),
        (_LATENT | {"points": [[0, 0, 0.6]] * 16}, "outside of the box"),
        (_LATENT | {"points": [], "rows": []}, "expected at least 16"),
        (_LATENT | {"look_seed": -1}, "seed is -1"),
    ],
)
def test_wrong_json_is_named(value, message):
    with pytest.raises(BadInput, match=message):
        from_json(value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stretch("left", (0.0, 1, 1)), "factors"),
        (lambda: Stretch("left", (1, -1, 1)), "factors"),
        (lambda: Paste(HASH, "x", scale=0.0), "above zero"),
        (lambda: Paste(HASH, "x", scale=-1.0), "above zero"),
        (lambda: Paste(HASH, "x"), "there is no cloud"),
        (lambda: Rotate("left", (0, 0, 0), 30), "axis"),
        (lambda: Mirror("left", (0, 0, 0)), "normal"),
        (lambda: Move("left", (1e6, 0, 0)), "at most"),
        (lambda: Drag((0, 0, 0), ((0, 0, 0),), 0.1), "goes nowhere"),
        (lambda: Drag((0, 0, 0), (), 0.1), "goes nowhere"),
        (lambda: Drag((0, 0, 0), ((1, 0, 0), (0, 0, 0)), 0.1, "rigid"), "goes nowhere"),
        (lambda: Drag((0, 0, 0), ((1e6, 0, 0),), 0.1), "at most"),
        (lambda: Drag((0, 0, 0), ((0.1, 0, 0),), 0.0), "above zero"),
        (lambda: Drag((0, 0, 0), ((0.1, 0, 0),), 0.05), "nothing lies within 0.05"),
        (lambda: Drag((0, 0, 0), ((0.1, 0, 0),), 1.0, steps=0), "steps"),
        (lambda: Remove(ALL), "leave nothing"),
        (lambda: Remove("nobody"), "there is no part"),
        (lambda: Repaint("nobody", "a red apple"), "there is no part"),
        (lambda: Repaint("left", "green"), "nothing to make"),
        (lambda: Repaint("left", "a green apple", whole="xyzzy"), "nothing to make|unknown|does not know"),
        (lambda: Forget("nobody"), "there is no part"),
        (lambda: Forget(ALL), "already means"),
        (lambda: Duplicate("left", "right", (1, 0, 0)), "already a part"),
        (lambda: Duplicate("left", ALL, (1, 0, 0)), "already means"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_changes(scene, make, message):
    before = scene_hash(scene)
    with pytest.raises(BadInput, match=message):
        apply(make(), scene)
    assert scene_hash(scene) == before


def test_a_part_whose_rows_were_removed_says_so(scene):
    now, report = apply(Remove("left"), scene)
    assert (report.removed, report.rows, report.outside_changed) == (30, 30, 0)
    assert now.parts["left"].sum() == 0 and now.parts["right"].all()
    with pytest.raises(BadInput, match="'left' has no rows left"):
        apply(Move("left", (0.1, 0, 0)), now)
    back, _ = apply(Select("left", Sphere((0.3, 0, 0), 0.2), "union"), now)
    assert back.parts["left"].sum() == 30
    assert "left" not in apply(Forget("left"), now)[0].parts


def test_parts_follow_their_rows(scene):
    scene, _ = apply(Select("few", Sphere((0.3, 0.1, 0), 0.1)), scene)
    before = scene.cloud.means[scene.parts["few"]]
    now, _ = apply(Remove("left"), scene)
    now, _ = apply(Duplicate("few", "twin", (0, 0.5, 0)), now)
    now, _ = apply(Paste(state_hash(scene.cloud), "guest"), now, Sources({state_hash(scene.cloud): scene.cloud}))
    assert torch.equal(now.cloud.means[now.parts["few"]], before)
    torch.testing.assert_close(now.cloud.means[now.parts["twin"]], before + torch.tensor([0, 0.5, 0]))
    assert now.parts["guest"].sum() == 60
    assert not (now.parts["few"] & now.parts["twin"]).any()


def test_add_then_remove_is_no_change(scene):
    guest = scene.cloud.select(scene.parts["left"])
    now, report = apply(Paste(state_hash(guest), "guest", (0, 0.4, 0), 2.0), scene, Sources({state_hash(guest): guest}))
    assert (report.added, report.changed, report.outside_changed) == (30, 0, 0)
    now, _ = apply(Remove("guest"), now)
    assert scene_hash(apply(Forget("guest"), now)[0]) == scene_hash(scene)


def test_paste_reconciles_degrees_and_places_the_middle_of_the_box(scene, make_cloud):
    guest = make_cloud(20, degree=3, seed=8)
    key = state_hash(guest)
    now, report = apply(Paste(key, "guest", (0.1, 0.2, 0.3), 0.5, (0, 0, 1), 90.0), scene, Sources({key: guest}))
    assert now.cloud.sh_degree == 3
    assert report.outside_changed == report.changed == 0
    assert torch.equal(now.cloud.sh[:60, :4], scene.cloud.sh) and (now.cloud.sh[:60, 4:] == 0).all()
    pasted = now.cloud.means[now.parts["guest"]]
    torch.testing.assert_close((pasted.amin(0) + pasted.amax(0)) / 2, torch.tensor([0.1, 0.2, 0.3]))
    size = guest.means.amax(0) - guest.means.amin(0)
    torch.testing.assert_close(pasted.amax(0) - pasted.amin(0), 0.5 * size[[1, 0, 2]])
    whole, _ = apply(Paste(key, "guest"), scene, Sources({key: guest}))
    assert state_hash(whole.cloud.select(whole.parts["guest"])) == key


def test_transforms_turn_about_the_middle_of_the_box(scene):
    def box(now: Scene) -> tuple[torch.Tensor, torch.Tensor]:
        means = now.cloud.means[now.parts["left"]]
        return (means.amin(0) + means.amax(0)) / 2, means.amax(0) - means.amin(0)

    middle, size = box(scene)
    turned = box(apply(Rotate("left", (0, 2, 0), 90.0), scene)[0])
    torch.testing.assert_close(turned[0], middle)
    torch.testing.assert_close(turned[1], size[[2, 1, 0]])
    stretched = box(apply(Stretch("left", (2, 1, 0.5)), scene)[0])
    torch.testing.assert_close(stretched[0], middle)
    torch.testing.assert_close(stretched[1], size * torch.tensor([2, 1, 0.5]))
    mirrored = apply(Mirror("left", (3, 0, 0)), scene)[0]
    old, new = scene.cloud.means[:30], mirrored.cloud.means[:30]
    torch.testing.assert_close(new, torch.stack([2 * middle[0] - old[:, 0], old[:, 1], old[:, 2]], dim=-1))


def test_right_handed_turns_about_a_pivot():
    scene = Scene(from_points(torch.tensor([[1.0, 0, 0], [0, 0, 0]]), torch.zeros(2, 3)))
    turned = apply(Rotate(ALL, (0, 1, 0), 90.0, (0, 0, 0)), scene)[0].cloud.means
    torch.testing.assert_close(turned[0], torch.tensor([0.0, 0, -1]), atol=1e-6, rtol=0)


def test_own_axes_are_those_of_the_part():
    direction = torch.tensor([1.0, 1, 0]) / 2**0.5
    points = torch.linspace(-1, 1, 21)[:, None] * direction + 0.01 * torch.randn(
        21, 3, generator=torch.Generator().manual_seed(0)
    )
    scene = Scene(from_points(points, torch.zeros(21, 3)))
    longer = apply(Stretch(ALL, (2.0, 1, 1), "own"), scene)[0].cloud.means
    assert (longer[-1] - longer[0]).norm().item() == pytest.approx(2 * (points[-1] - points[0]).norm().item(), rel=1e-3)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([e for e in EXAMPLES if hasattr(e, "part") and not isinstance(e, NAMES | Worded)]))
def test_rows_outside_keep_every_bit(edit):
    draw = torch.Generator().manual_seed(1)
    cloud = from_points(torch.rand(80, 3, generator=draw) - 0.5, torch.rand(80, 3, generator=draw))
    scene = Scene(cloud, {"head": cloud.means[:, 0] > 0})
    now, report = apply(edit, scene)
    assert report.outside_changed == 0
    if isinstance(edit, Remove | Duplicate):
        return
    outside = ~(scene.parts["head"] if edit.part == "head" else (now.cloud.means[:80] != cloud.means).any(dim=-1))
    for name, tensor in cloud.tensors().items():
        assert torch.equal(getattr(now.cloud, name)[:80][outside], tensor[outside])


@given(st.lists(st.booleans(), max_size=40))
def test_masks_pack_into_bits(bits):
    mask = torch.tensor(bits, dtype=torch.bool)
    packed = pack(mask)
    assert len(packed) == (len(bits) + 7) // 8
    assert torch.equal(unpack(packed, len(bits)), mask)
