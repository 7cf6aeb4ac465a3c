"""A whole evaluation with balls that are made in no time and a judge that knows colors."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.core.color import PALETTE
from maquette.core.errors import BadInput
from maquette.core.event import Notice, Preview, Progress, Result
from maquette.evaluation.run import evaluate_prompts
from maquette.representations.gaussians import from_points


class ColorJudge:
    """An `Encoder`: the mean color of what is far from white, and the first color word of a sentence (else gray)."""

    def embed_image(self, images):
        weight = (images < 0.4).any(dim=-1, keepdim=True).float()  # the soft rim is whitish
        mean = (images * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp(min=1)
        return torch.nn.functional.normalize(mean - 0.5, dim=-1)

    def embed_text(self, texts):
        colors = [next((PALETTE[word] for word in text.split() if word in PALETTE), PALETTE["gray"]) for text in texts]
        return torch.nn.functional.normalize(torch.tensor(colors) - 0.5, dim=-1)

    def features(self, images):
        return [images.movedim(-1, 1)]


class Balls:
    """Makes an opaque ball of the color named by the prompt, or of `always`; counts what it made."""

    def __init__(self, always: str | None = None):
        self.made, self.always = [], always

    def __call__(self, prompt, folder):
        if "soup" in prompt:
            raise BadInput("soup has no shape", "ask for a ball")
        self.made.append(prompt)
        yield Progress("fit", 0, 1)
        name = self.always or next(word for word in prompt.split() if word in PALETTE)
        color = torch.tensor(PALETTE[name])
        yield Preview(0, color.expand(5, 32, 32, 3))
        points = torch.nn.functional.normalize(torch.randn(150, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
        (folder / "asset.ply").write_bytes(b"ball")
        cloud = from_points(0.3 * points, color.expand(150, 3), opacity=0.9)
        yield Result(cloud, {"evaluations": 80, "peak_memory_mib": 100.0 + len(self.made)})


PROMPTS = [
    {"prompt": "a red ball", "category": "ball", "color": "red", "kind": "seen"},
    {"prompt": "a green ball", "category": "ball", "color": "green", "kind": "unseen"},
    "a blue soup",
    "a yellow ball",
]


def evaluate(out, make, **options):
    events = list(evaluate_prompts(PROMPTS, out, make=make, judge=ColorJudge(), identity={"version": "1"}, **options))
    return events, events[-1].report


def test_report_and_files(tmp_path):
    events, report = evaluate(tmp_path, Balls())
    assert [event.step for event in events if isinstance(event, Progress)] == [0, 1, 2, 3, 4]
    assert [event.text for event in events if isinstance(event, Notice)] == [
        "a blue soup: soup has no shape; ask for a ball"
    ]
    assert report["failed"] == {"a blue soup": "soup has no shape; ask for a ball"}
    assert report["judge"]["r_precision"] == {"view": 0.75, "object": 0.75}, "three of four, the failure is a miss"
    assert report["judge"]["by_kind"] == {"seen": {"view": 1.0, "object": 1.0}, "unseen": {"view": 1.0, "object": 1.0}}
    assert report["judge_on_drawn_views"]["r_precision"] == 1.0
    assert report["judge"]["image_similarity"]["mean"] > 0.97, "the renders look like what was drawn first"
    assert report["evaluations"] == {"median": 80.0, "most": 80.0}
    assert report["peak_memory_mib"] == 103.0
    assert report["guide"] is None
    assert report["upper_bound"] is None
    assert [row.get("rank") for row in report["items"]] == [0, 0, None, 0]
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert written["judge"]["r_precision"]["object"] == 0.75
    sheet = torch.from_numpy(np.asarray(Image.open(tmp_path / "sheet-1.png")) / 255).float()
    red = (sheet - torch.tensor(PALETTE["red"])).abs().amax(dim=-1) < 0.1
    assert int(red[:68, :516].sum()) > 1000, "the first row shows the red ball"
    assert int(red[:68, 520:].sum()) == 0
    assert (tmp_path / report["items"][0]["folder"] / "asset.ply").read_bytes() == b"ball"


def test_a_wrong_color_is_a_miss(tmp_path):
    _, report = evaluate(tmp_path, Balls(always="green"), guide=ColorJudge())
    assert report["judge"]["r_precision"]["object"] == 0.25
    assert report["items"][0]["best"] == "a green ball"
    assert report["guide"]["r_precision"]["object"] == 0.25


def test_finished_assets_are_not_made_again(tmp_path):
    first, second = Balls(), Balls()
    _, report = evaluate(tmp_path, first, limit=2)
    assert first.made == ["a red ball", "a green ball"]
    assert report["prompts"] == 2
    _, longer = evaluate(tmp_path, second)
    assert second.made == ["a yellow ball"]
    _, again = evaluate(tmp_path, second)
    assert second.made == ["a yellow ball"]
    assert again == longer, "the same report, to the last digit, from the files alone"


def test_what_an_asset_depends_on_makes_it_anew(tmp_path):
    make = Balls()
    for seed, version in ((0, "1"), (1, "1"), (1, "2"), (1, "2")):
        list(
            evaluate_prompts(
                ["a red ball"], tmp_path, make=make, judge=ColorJudge(), seed=seed, identity={"version": version}
            )
        )
    assert len(make.made) == 3


def test_an_interrupted_asset_is_made_again(tmp_path):
    class Stopped(Balls):
        def __call__(self, prompt, folder):
            yield from super().__call__(prompt, folder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path, Stopped())
    make = Balls()
    evaluate(tmp_path, make)
    assert "a red ball" in make.made


def test_upper_bound_by_real_objects(tmp_path):
    """A data set of one red and one green box, the latter labelled so that only the former fits a prompt."""
    corners = np.stack(np.meshgrid(*[[-32767, 32767]] * 3, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.int16)
    faces = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
                      [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]], np.uint16)  # fmt: skip
    colors = [np.tile(np.array([value], np.uint8), (12, 1)) for value in ([220, 40, 40], [40, 180, 60])]
    data = tmp_path / "data"
    data.mkdir()
    np.savez(
        data / "boxes.npz", verts=np.tile(corners, (2, 1)), faces=np.tile(faces, (2, 1)), colors=np.concatenate(colors),
        vert_offset=np.array([0, 8, 16]), face_offset=np.array([0, 12, 24]), ids=np.array(["a", "b"]),
    )  # fmt: skip
    row = {"shard": "boxes.npz", "split": "train", "untextured": False, "captions": ["a box"]}
    rows = [
        {**row, "id": "a", "index": 0, "noun": "ball", "category": "box", "colors": [["red", 0.9]]},
        {**row, "id": "b", "index": 1, "noun": "crate", "category": "box", "colors": [["green", 0.9]]},
    ]
    (data / "assets.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    _, report = evaluate(tmp_path / "out", Balls(), data=data)
    assert report["upper_bound"]["objects"] == 1
    assert report["upper_bound"]["r_precision"] == 1.0
