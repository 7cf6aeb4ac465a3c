"""The report of two made-up methods on two prompts, one of which arrives in time."""

import json

import pytest
import torch

from maquette.evaluation.comparison import LOOKS, Drawn, Run, summary, table, write_comparison
from maquette.io.image import load_image
from maquette.representations.gaussians import from_points

CLOUD = from_points(torch.zeros(1, 3), torch.zeros(1, 3))


def made(last: float, *, every: int, gray: float = 0.5) -> Run:
    """Similarity on a straight line from 0 to `last` over 120 evaluations, looked at so often."""
    spent = list(range(0, 121, every))
    curve = [
        {"evaluations": x, "seconds": x / 60, "similarity": last * x / 120, "saturation": 0.5, "sharpness": 0.1,
         "janus": 0.25, "difference": None, "shared": None}
        for x in spent
    ]  # fmt: skip
    fronts = torch.stack([torch.full((16, 16, 3), gray * i / (len(spent) - 1)) for i in range(len(spent))])
    return Run(CLOUD, curve, fronts, torch.full((8, 16, 16, 3), gray), steps=120 // every)


def drawn() -> Drawn:
    row = {"similarity": 0.9, "saturation": 0.6, "sharpness": 0.2, "janus": 0.25}
    return Drawn(torch.ones(4, 16, 16, 3), torch.ones(8, 16, 16, 3), row)


RUNS = {
    "a cat": {"fast": made(0.8, every=10), "slow": made(0.4, every=30)},
    "a dog": {"fast": made(0.4, every=10), "slow": made(0.38, every=40)},
}
DRAWN = {"a cat": drawn(), "a dog": drawn()}


def test_who_arrives_and_when():
    report = summary(RUNS, DRAWN, evaluations=120)
    cat, dog = (report["prompts"][prompt]["methods"] for prompt in RUNS)
    assert cat["fast"]["evaluations_to_90"] == dog["fast"]["evaluations_to_90"] == pytest.approx(108)
    assert cat["slow"]["evaluations_to_90"] is None, "half of the best is not 90 % of it"
    assert dog["slow"]["evaluations_to_90"] == pytest.approx(120 * 0.36 / 0.38)
    assert report["methods"]["slow"]["arrived"] == 1 and report["methods"]["fast"]["arrived"] == 2
    assert report["methods"]["fast"]["similarity"] == pytest.approx(0.6)
    assert [row["evaluations"] for row in report["methods"]["slow"]["curve"]] == [10.0 * k for k in range(LOOKS + 1)]
    assert report["methods"]["slow"]["curve"][6]["similarity"] == pytest.approx(0.195)


def test_the_table_has_a_row_for_each_and_one_for_the_prior():
    lines = table(summary(RUNS, DRAWN, evaluations=120)).splitlines()
    assert len(lines) == 2 + 2 + 1
    assert len({line.count("|") for line in lines}) == 1
    assert lines[3].startswith("| slow | 4 | 0.390 |") and "| 1 of 2 | 2 |" in lines[3]
    assert lines[4].startswith("| (drawn, no 3D) |  | 0.900 |")


def test_files(tmp_path):
    report = write_comparison(tmp_path, RUNS, DRAWN, evaluations=120, told={"seed": 3})
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.json", "report.md", "curves.png", "sheet-1.png", "way-1.png"
    }  # fmt: skip
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert written["seed"] == 3 and written["methods"].keys() == report["methods"].keys()
    way = load_image(tmp_path / "way-1.png")
    middle = way[4 + 32, 4 + 32 :: 64][: LOOKS + 1, 0]
    assert (middle[1:] >= middle[:-1]).all() and middle[0] == 0.0 and middle[-1] == pytest.approx(0.5, abs=0.01)
