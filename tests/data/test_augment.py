from dataclasses import replace

import numpy as np

from maquette.core.color import PALETTE
from maquette.data.augment import ABOVE, WHOLE, color_names, dressed, recolor
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


def test_a_material_takes_the_place_of_colors_in_paint_and_words():
    draw, seen = np.random.default_rng(3), set()
    for number in range(60):
        mesh = procedural_mesh(number)
        mesh = replace(mesh, noun=f"red {mesh.noun}")
        changed = dressed(mesh, draw)
        material = changed.captions[1].split()[0]
        assert "red" not in words(" ".join(changed.captions)) and changed.noun in changed.captions[0]
        up = normals(mesh)[:, 1] > 0.9
        if material in WHOLE:
            assert np.abs(changed.colors.mean(0) / 255 - WHOLE[material][0]).max() < 0.15
        else:
            assert not up.any() or np.abs(changed.colors[up].mean(0) / 255 - ABOVE[material]).max() < 0.06
            assert (np.abs(changed.colors[~up].astype(int) - mesh.colors[~up])[normals(mesh)[~up, 1] < 0] <= 1).all()
        seen.add(material)
    assert seen == {*WHOLE, *ABOVE}


def normals(mesh) -> np.ndarray:
    corners = mesh.vertices[mesh.faces]
    found = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-9)


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
