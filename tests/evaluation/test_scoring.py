"""Scores with an encoder that reads its vector off the pixels, so that every number can be worked out by hand."""

import pytest
import torch

from maquette.evaluation.scoring import Item, score


class Pixels:
    """An `Encoder` for pictures of one row: their numbers are the vector. Words are looked up."""

    def __init__(self, words: dict[str, list[float]]):
        self.words = words

    def embed_image(self, images):
        return torch.nn.functional.normalize(images.flatten(1), dim=-1)

    def embed_text(self, texts):
        return torch.nn.functional.normalize(torch.tensor([self.words[text] for text in texts]), dim=-1)

    def features(self, images):
        return [images.movedim(-1, 1)]


def pictures(*vectors: list[float]) -> torch.Tensor:
    return torch.tensor(vectors)[:, None, None, :]


ENCODER = Pixels({
    "a red cup": [1.0, 0.0, 0.2], "a blue cup": [0.0, 1.0, 0.2], "a red hat": [1.0, 0.0, 1.2],
    "a cup": [0.5, 0.5, 0.0], "a hat": [0.5, 0.5, 1.0],
})  # fmt: skip
ITEMS = [
    Item("a red cup", "cup", "red", "seen"),
    Item("a blue cup", "cup", "blue", "unseen"),
    Item("a red hat", "hat", "red", "seen"),
]


def test_views_and_objects_by_hand():
    red, blue, hat = [1.0, 0.0, 0.2], [0.0, 1.0, 0.2], [1.0, 0.0, 1.2]
    views = [pictures(red, red, red, blue), pictures(blue, blue, blue, blue), pictures(red, hat, hat, hat)]
    scores = score(ITEMS, views, ENCODER)
    assert scores.summary["r_precision"] == {"view": 10 / 12, "object": 1.0}
    assert scores.summary["r_precision_top5"] == {"view": 1.0, "object": 1.0}
    assert [row["views_hit"] for row in scores.items] == [3, 4, 3]
    assert [row["rank"] for row in scores.items] == [0, 0, 0]
    cosine = 0.2 * 0.2 / (1 + 0.2**2)  # of red and blue
    assert scores.items[0]["text_similarity"] == pytest.approx((3 + cosine) / 4)
    assert scores.summary["text_similarity"]["count"] == 3
    assert scores.summary["image_similarity"] is None


def test_what_was_not_made_is_a_miss():
    views = [pictures([1.0, 0.0, 0.2]), None, pictures([1.0, 0.0, 1.2])]
    scores = score(ITEMS, views, ENCODER)
    assert scores.summary["r_precision"] == {"view": pytest.approx(2 / 3), "object": pytest.approx(2 / 3)}
    assert scores.summary["made"] == 2
    assert scores.summary["by_kind"]["seen"]["object"] == 1.0
    assert scores.summary["by_kind"]["unseen"]["object"] == 0.0
    assert scores.summary["by_category"]["object"] == pytest.approx(2 / 3)
    assert scores.items[1] is None
    assert score(ITEMS, [None] * 3, ENCODER).summary == {"objects": 3, "made": 0}


def test_the_right_thing_in_the_wrong_color():
    """Every cup is blue and the hat is right: two of three prompts are hit, and all three categories."""
    views = [pictures([0.0, 1.0, 0.2]), pictures([0.0, 1.0, 0.2]), pictures([1.0, 0.0, 1.2])]
    scores = score(ITEMS, views, ENCODER)
    assert scores.summary["r_precision"]["object"] == pytest.approx(2 / 3)
    assert scores.summary["by_category"] == {"view": 1.0, "object": 1.0}
    assert scores.items[0]["best"] == "a blue cup"
    assert scores.items[0]["rank"] == 2, "the blue cup, and the hat for its height in the third number"
    bare = [Item(item.prompt) for item in ITEMS]
    assert score(bare, views, ENCODER).summary["by_category"] is None


def test_image_similarity_against_each_reference():
    views = [pictures([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]), pictures([0.0, 1.0, 0.0], [0.0, 1.0, 0.0]), None]
    references = [torch.tensor([[[1.0, 0.0, 0.0]]]), None, None]
    scores = score(ITEMS, views, ENCODER, references=references)
    assert scores.items[0]["image_similarity"] == pytest.approx(0.5)
    assert scores.items[1]["image_similarity"] is None
    assert scores.summary["image_similarity"] == {"mean": pytest.approx(0.5), "std": 0.0, "count": 1}


def test_the_same_prompt_twice():
    items = [ITEMS[0], ITEMS[0], ITEMS[1]]
    red = pictures([1.0, 0.0, 0.2])
    scores = score(items, [red, red, pictures([0.0, 1.0, 0.2])], ENCODER)
    assert scores.summary["r_precision"]["object"] == 1.0
