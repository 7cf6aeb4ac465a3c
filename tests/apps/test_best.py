"""The best of several seeds: what is kept, what is listed, what is made again."""

import json

import numpy as np
import pytest
from PIL import Image

from maquette import io
from maquette.apps.best import best
from maquette.apps.cli import run
from maquette.core import BadInput, Notice, Progress, Result
from maquette.representations.gaussians import state_hash

ASKED = {
    "image": None, "pipeline": "lucid", "prior": "pocket", "device": "cpu",
    "overrides": {"quality": "tiny", "iterations": 1},
}  # fmt: skip


def notices(events) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def test_the_seed_with_the_highest_score_is_kept_and_all_are_listed(tmp_path):
    events = list(best("a red apple", count=2, seed=4, out=tmp_path, **ASKED))
    result = events[-1]
    assert isinstance(result, Result)
    told = result.report["best_of"]
    assert list(told["scores"]) == ["4", "5"] and len(set(told["scores"].values())) == 2
    assert told["scores"][str(told["kept"])] == max(told["scores"].values())
    assert result.report["seed"] == told["kept"]
    assert json.loads((tmp_path / "run.json").read_text())["best_of"] == told
    kept = tmp_path / "candidates" / f"seed-{told['kept']}"
    for name in ("asset.ply", "asset.glb", "turntable.mp4", "preview.png"):
        assert (tmp_path / name).read_bytes() == (kept / name).read_bytes()
    assert "2 times the time and the evaluations" in notices(events)[0], "said before the first is made"
    assert notices(events)[-1].startswith(f"kept seed {told['kept']}: similarity")
    assert [event.step for event in events if isinstance(event, Progress) and event.stage == "best of"] == [1, 2]

    again = list(best("a red apple", count=3, seed=4, out=tmp_path, **ASKED))
    assert sum("finished already" in text for text in notices(again)) == 2
    scores = again[-1].report["best_of"]["scores"]
    assert {seed: scores[seed] for seed in told["scores"]} == told["scores"], "reading changes nothing"
    assert state_hash(io.load_ply(tmp_path / "asset.ply")) == state_hash(again[-1].asset.cloud)

    other = best("a red apple", count=2, seed=4, out=tmp_path, **{**ASKED, "overrides": {"quality": "tiny"}})
    next(other)
    assert isinstance(next(other), Progress), "another asset is wanted: it is made"
    other.close()


def test_one_is_no_choice_and_none_is_a_mistake(tmp_path):
    alone = best("a red apple", count=1, seed=0, out=tmp_path, **ASKED)
    assert isinstance(next(alone), Progress) and not (tmp_path / "candidates").exists()
    alone.close()
    with pytest.raises(BadInput, match="at least 1"):
        next(best("a red apple", count=0, seed=0, out=None, **ASKED))


def test_words_that_the_guide_cannot_read_are_refused_before_anything_is_made(tmp_path):
    with pytest.raises(BadInput, match="xyzzy"):
        list(best("xyzzy", count=2, seed=0, out=tmp_path, **ASKED))
    assert not any(tmp_path.iterdir())


def test_the_command_line_makes_a_session_of_the_one_that_is_kept(tmp_path):
    line = ["generate", "a red apple", "--pipeline", "lucid", "--quality", "tiny", "--set", "iterations=1"]
    assert run([*line, "--best-of", "2", "--out", str(tmp_path / "out"), "--session", str(tmp_path / "s")]) == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["best_of"]["kept"] in (0, 1)


def test_a_picture_is_what_the_candidates_of_a_picture_are_held_against(tmp_path):
    pixels = np.full((96, 128, 3), 250, np.uint8)
    pixels[30:70, 40:90] = (200, 30, 30)
    Image.fromarray(pixels).save(tmp_path / "box.png")
    asked = {**ASKED, "image": tmp_path / "box.png", "pipeline": "im3d", "overrides": {"quality": "tiny"}}
    out = tmp_path / "out"
    told = list(best(None, count=2, seed=0, out=out, **asked))[-1].report["best_of"]
    assert "to the picture" in told["by"] and (out / "reference.png").is_file()
    pixels[30:70, 40:90] = (30, 30, 200)
    Image.fromarray(pixels).save(tmp_path / "box.png")
    again = best(None, count=2, seed=0, out=out, **asked)
    next(again)
    assert isinstance(next(again), Progress), "another picture has the same name: it is made"
    again.close()
