"""The report of two made-up methods on two prompts, one of which arrives in time."""

import json

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.evaluation.comparison import table, write_comparison
from maquette.evaluation.runs import (
    Drawn,
    Run,
    begin,
    folder_of,
    load_drawn,
    load_run,
    save_drawn,
    save_run,
)
from maquette.evaluation.standing import LOOKS, mean_error, paired, sentences, standing, summary, told
from maquette.io.image import load_image


def made(last: float, *, every: int, gray: float = 0.5, saturation: float = 0.5) -> Run:
    """Similarity on a straight line from 0 to `last` over 120 evaluations, looked at so often."""
    spent = list(range(0, 121, every))
    curve = [
        {"evaluations": x, "seconds": x / 60, "similarity": last * x / 120, "saturation": saturation * x / 120,
         "sharpness": 0.1, "janus": 0.25, "difference": None, "shared": None}
        for x in spent
    ]  # fmt: skip
    fronts = torch.stack([torch.full((16, 16, 3), gray * i / (len(spent) - 1)) for i in range(len(spent))])
    return Run(curve, fronts, torch.full((8, 16, 16, 3), gray), steps=120 // every)


def drawn() -> Drawn:
    row = {"similarity": 0.9, "saturation": 0.6, "sharpness": 0.2, "janus": 0.25}
    return Drawn(torch.ones(4, 16, 16, 3), torch.ones(8, 16, 16, 3), row)


RUNS = {
    "a cat": {"fast": made(0.8, every=10, saturation=0.7), "slow": made(0.4, every=30)},
    "a dog": {"fast": made(0.4, every=10, saturation=0.9), "slow": made(0.38, every=40)},
}
DRAWN = {"a cat": drawn(), "a dog": drawn()}


def test_who_arrives_and_when():
    report = summary(RUNS, DRAWN, evaluations=120)
    cat, dog = (report["prompts"][prompt]["methods"] for prompt in RUNS)
    assert cat["fast"]["to_90"] == dog["fast"]["to_90"] == pytest.approx(108)
    assert cat["slow"]["to_90"] is None, "half of the best is not 90 % of it"
    assert dog["slow"]["to_90"] == pytest.approx(120 * 0.36 / 0.38)
    assert cat["slow"]["to_own_90"] == pytest.approx(108), "but it comes to 90 % of its own best"
    fast, slow = report["methods"]["fast"], report["methods"]["slow"]
    assert slow["to_90"]["count"] == 1 and fast["to_90"]["count"] == 2
    assert slow["to_90"]["error"] is None
    assert fast["similarity"]["mean"] == pytest.approx(0.6)
    assert fast["similarity"]["error"] == pytest.approx(0.2), "the deviation of two, 0.4 / sqrt 2, over sqrt 2"
    assert fast["later"]["similarity"]["mean"] == pytest.approx(0.3)
    assert [row["evaluations"] for row in slow["curve"]] == [10.0 * k for k in range(LOOKS + 1)]
    assert slow["curve"][6]["similarity"] == pytest.approx(0.195)
    assert slow["curve_error"][6]["similarity"] == pytest.approx(0.005)


def test_the_table_has_a_row_for_each_and_one_for_the_prior():
    lines = table(summary(RUNS, DRAWN, evaluations=120)).splitlines()
    assert len(lines) == 2 + 2 + 1
    assert len({line.count("|") for line in lines}) == 1
    assert lines[3].startswith("| slow | 4 ± 0 | 0.390 ± 0.010 |") and "| 1 of 2 | 108 ± 0 | 2 ± 0 |" in lines[3]
    assert lines[4].startswith("| (drawn, no 3D) |  | 0.900 ± 0.000 |")
    alone = {"a cat": RUNS["a cat"]}
    assert "| fast | 12 | 0.800 |" in table(summary(alone, DRAWN, evaluations=120)), "one prompt has no error"


def test_pairs_are_compared_prompt_by_prompt():
    report = summary(RUNS, DRAWN, evaluations=120)
    gap = paired(report, "fast", "slow", "similarity")
    assert gap["mean"] == pytest.approx(0.21) and gap["more"] == 2 and gap["count"] == 2
    assert gap["error"] == pytest.approx(0.19)
    back = paired(report, "slow", "fast", "to_90")
    assert back["count"] == 1 and back["more"] == 1 and back["mean"] == pytest.approx(120 * 0.36 / 0.38 - 108)
    assert standing(report)["pairs"]["fast"]["slow"]["similarity"] == gap


def test_the_words_say_what_the_numbers_say():
    report = summary(RUNS, DRAWN, evaluations=120)
    first, arrived, own, more, less, later = sentences(report)
    assert first == (
        "After 120 evaluations, on average over 2 prompts, the similarity is 0.600 ± 0.200 (fast), "
        "0.390 ± 0.010 (slow)."
    )
    assert "fast on 2 of 2 after 108 ± 0, slow on 1 of 2 after 114 evaluations" in arrived
    assert "slow after 108 ± 0" in own
    assert more == "More saturated than what the prior draws (0.600): fast (0.800 ± 0.100)."
    assert less == "Less saturated than what the prior draws (0.600): slow (0.500 ± 0.000)."
    assert "fast +0.300 and +0.400" in later
    assert told(mean_error([None])) == "-"


def test_files(tmp_path):
    report = write_comparison(tmp_path, RUNS, DRAWN, evaluations=120, settings={"seed": 3})
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.json", "summary.json", "report.md", "curves.png", "overview-1.png", "sheet-1.png", "sheet-2.png",
        "way-1.png", "way-2.png",
    }  # fmt: skip
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert written["seed"] == 3 and written["methods"].keys() == report["methods"].keys()
    short = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert short["sentences"] == sentences(report) and "curve" not in short["methods"]["fast"]
    assert all(sentence in (tmp_path / "report.md").read_text(encoding="utf-8") for sentence in short["sentences"])
    way = load_image(tmp_path / "way-1.png")
    middle = way[4 + 32, 4 + 32 :: 64][: LOOKS + 1, 0]
    assert (middle[1:] >= middle[:-1]).all() and middle[0] == 0.0 and middle[-1] == pytest.approx(0.5, abs=0.01)
    assert load_image(tmp_path / "sheet-2.png").shape[0] < 400, "a sheet for each prompt"


def test_what_is_kept_comes_back(tmp_path):
    run, other = RUNS["a cat"]["fast"], drawn()
    save_run(tmp_path / "run", run)
    save_drawn(tmp_path / "drawn", other)
    again, other_again = load_run(tmp_path / "run"), load_drawn(tmp_path / "drawn")
    assert (again.curve, again.steps, other_again.row) == (run.curve, run.steps, other.row)
    torch.testing.assert_close(again.fronts, run.fronts, atol=0.5 / 255 + 1e-6, rtol=0)
    torch.testing.assert_close(again.views, run.views, atol=0.5 / 255 + 1e-6, rtol=0)
    assert torch.equal(other_again.reference, other.reference)
    assert load_run(tmp_path / "nothing") is None and load_drawn(tmp_path / "nothing") is None


def test_a_folder_is_begun_once(tmp_path):
    settings = {"seed": 0, "evaluations": 100, "with": {"guidance": 4.0}}
    begin(tmp_path, settings)
    begin(tmp_path, settings)
    with pytest.raises(BadInput, match=r"seed 0 \(now 1\)"):
        begin(tmp_path, settings | {"seed": 1})
    with pytest.raises(BadInput, match=r"more None \(now 2\)"):
        begin(tmp_path, settings | {"more": 2})
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(BadInput, match="does not tell"):
        begin(tmp_path, settings)
    assert folder_of(tmp_path, "a red apple") != folder_of(tmp_path, "a red, apple")
    assert folder_of(tmp_path, "../Ä").parent == tmp_path
