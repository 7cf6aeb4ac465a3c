import numpy as np

from maquette.core.color import PALETTE
from maquette.data.augment import color_names, compose, recolor
from maquette.data.captions import article, with_view_word, word_list, words
from maquette.data.procedural import procedural_mesh


def test_rules_name_the_palette_itself():
    colors = (np.array(list(PALETTE.values())) * 255).astype(np.uint8)
    named = dict(zip(PALETTE, color_names(colors).tolist(), strict=True))
    assert sum(name == given for given, name in named.items()) >= 11, named


def test_recolor_changes_the_word_and_the_paint_together():
    draw = np.random.default_rng(0)
    for number in range(12):
        mesh = procedural_mesh(number)
        changed = recolor(mesh, draw)
        old, new = mesh.color_shares[0][0], changed.color_shares[0][0]
        assert new != color_names(mesh.colors)[0]
        assert all(new in caption.split() and mesh.noun in caption for caption in changed.captions)
        assert new == old or all(old not in words(caption) for caption in changed.captions)
        target = np.asarray(PALETTE[new]) * 255
        assert np.abs(changed.colors.mean(0) - target).max() < 45
        assert (changed.vertices == mesh.vertices).all()


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


def test_view_words_follow_the_azimuth():
    draw = np.random.default_rng(2)
    assert "front" in with_view_word("a box", 22.5, draw)
    assert "back" in with_view_word("a box", 180.0, draw)
    assert "side" in with_view_word("a box", -90.0, draw)
    assert "side" in with_view_word("a box", 270.0, draw)


def test_words_and_articles():
    assert words("A Low-poly 3D  chair!") == ["a", "low", "poly", "d", "chair"]
    assert article("orange cat") == "an orange cat" and article("cat") == "a cat"
    assert {"red", "box", "back"} <= set(word_list(["a box"]))
