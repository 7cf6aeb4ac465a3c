from dataclasses import replace

import numpy as np

from maquette.data.compositions import compose, related
from maquette.data.procedural import box, procedural_mesh


def test_compose_puts_the_first_on_or_beside_the_second_without_overlap():
    draw = np.random.default_rng(1)
    seen = set()
    for _ in range(20):
        first, second = procedural_mesh(3), procedural_mesh(5)
        scene = compose(first, second, draw)
        relation = scene.captions[0].removeprefix("a table ").removesuffix(" a box")
        seen.add(relation)
        a, b = scene.vertices[: len(first.vertices)], scene.vertices[len(first.vertices) :]
        if relation.startswith("on"):
            assert a[:, 1].min() > b[:, 1].max() - 0.05
        else:
            assert a[:, 0].max() < b[:, 0].min()
            assert abs(a[:, 1].min() - b[:, 1].min()) < 1e-3
        assert np.abs(scene.vertices).max() <= 0.5 + 1e-5
    assert seen == {"on", "on top of", "next to", "beside"}


def block(category, low, high, noun=None):
    vertices, faces = box(low, high)
    kind = {"category": category, "noun": noun or category, "captions": (f"a {category}",)}
    return replace(procedural_mesh(0), vertices=vertices, faces=faces, colors=np.zeros((12, 3), np.uint8), **kind)


PERSON = block("man", (-0.2, -0.5, -0.1), (0.2, 0.5, 0.1))


def taken_apart(scene):
    return scene.vertices[:8], scene.vertices[8:]


def test_a_rider_sits_in_the_middle_of_the_back_and_not_on_the_head():
    horse = block("horse", (-0.15, -0.4, -0.5), (0.15, 0.0, 0.3))
    head, _ = box((-0.1, 0.0, 0.3), (0.1, 0.4, 0.5))
    seat = np.array([[0.0, 0.0, 0.0]], np.float32)  # real backs have corners near the middle; a box has none
    horse = replace(horse, vertices=np.concatenate([horse.vertices, head, seat]))
    scene = compose(PERSON, horse, np.random.default_rng(0))
    assert scene.captions == ("a man on a horse",) and related(horse)
    rider, mount = taken_apart(scene)
    back, top = mount[-1, 1], mount[8:16, 1].max()
    assert rider[:, 1].min() < back < rider[:, 1].mean()  # legs hang down on both sides
    assert np.ptp(mount[:, 1]) > top - back > 0
    assert np.allclose((rider.max(0) + rider.min(0))[[0, 2]] / 2, mount[-1, [0, 2]], atol=1e-5)


def test_a_hat_covers_the_top_of_the_head_and_a_tool_is_in_the_hand():
    draw = np.random.default_rng(0)
    scene = compose(PERSON, block("item", (-0.5, -0.5, -0.5), (0.5, 0.5, 0.5), noun="helmet"), draw)
    person, hat = taken_apart(scene)
    assert scene.captions == ("a man with a helmet",)
    assert hat[:, 1].min() < person[:, 1].max() < hat[:, 1].max()
    assert np.allclose(np.ptp(hat[:, 0]), 1.2 * np.ptp(person[:, 0]), rtol=1e-4)
    scene = compose(PERSON, block("sword", (-0.05, -0.5, -0.02), (0.05, 0.5, 0.02)), draw)
    person, sword = taken_apart(scene)
    assert scene.captions == ("a man with a sword",)
    assert np.isclose((sword[:, 0].max() + sword[:, 0].min()) / 2, person[:, 0].max(), atol=1e-5)
    grip = sword[:, 1].min() + 0.25 * np.ptp(sword[:, 1])
    assert np.isclose(grip, (person[:, 1].max() + person[:, 1].min()) / 2, atol=1e-5)


def test_things_that_go_together_by_chance_only_stand_by_each_other():
    scene = compose(block("horse", (-0.1, -0.5, -0.5), (0.1, 0.5, 0.5)), PERSON, np.random.default_rng(1))
    assert scene.captions[0].split(" horse ")[1].split(" a ")[0] in ("on", "on top of", "next to", "beside")
