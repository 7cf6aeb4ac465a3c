"""Words change the colors of one part and nothing else; a prior of two known pictures says what the words mean."""

import pytest
import torch

from maquette.core import BadInput, Notice, Preview, Progress
from maquette.edit import Repaint, Scene, Session, Sources, apply, edit, replay, scene_hash
from maquette.priors.analytic import MixturePrior
from maquette.representations import GaussianCloud

GREEN, BLUE = (0.1, 0.8, 0.2), (0.1, 0.2, 0.9)
QUICK = {"steps": 24, "times": (0.9, 0.5), "guidance": 1.0}


@pytest.fixture
def prior() -> MixturePrior:
    """Two pictures of 32 px: a green and a blue disc on white, with coverage."""
    x = (torch.arange(32) + 0.5) / 16 - 1
    disc = (x[:, None] ** 2 + x**2 < 0.9**2).float()
    pictures = [torch.stack([disc * c + 1 - disc for c in color] + [disc]) for color in (GREEN, BLUE)]
    return MixturePrior(torch.stack(pictures), 0.05, ("a green ball", "a blue ball"))


@pytest.fixture
def session(tmp_path, scene, prior):
    with Session.create(tmp_path / "s.mq", scene.cloud, scene.parts, seed=3) as opened:
        opened.prior = prior
        yield opened


def far(scene, part: str, color: tuple) -> float:
    """Mean distance of a part's colors from one."""
    rows = scene.parts[part]
    return float((scene.cloud.rgb[rows] - torch.tensor(color)).norm(dim=-1).mean())


def test_the_part_takes_the_color_and_all_else_keeps_every_bit(scene, prior):
    now, report = apply(Repaint("left", "a green ball", **QUICK), scene, Sources(prior=prior))
    assert far(now, "left", GREEN) < 0.5 * far(scene, "left", GREEN)
    assert report.outside_changed == 0 and report.changed > 25 and report.evaluations == 2 * 6
    for name, tensor in scene.cloud.tensors().items():
        seen = getattr(now.cloud, name)
        assert torch.equal(seen[30:], tensor[30:])
        assert name == "sh" or torch.equal(seen, tensor)  # the shape stays
    assert now.parts.keys() == scene.parts.keys()


def test_colors_far_below_black_come_back(scene, prior):
    """A channel below 0 is drawn as 0 and has no gradient: pure magenta could never turn green."""
    sh = scene.cloud.sh.clone()
    sh[:30] = 0
    sh[:30, 0] = torch.tensor([1.5, -6.0, 1.5])
    magenta = Scene(GaussianCloud(**scene.cloud.tensors() | {"sh": sh}), scene.parts)
    now, _ = apply(Repaint("left", "a green ball", 60, times=(0.9, 0.5), guidance=1.0), magenta, Sources(prior=prior))
    assert far(now, "left", GREEN) < 0.3


def test_words_decide_and_the_whole_has_words_of_its_own(scene, prior):
    sources = Sources(prior=prior)
    blue, _ = apply(Repaint("left", "a blue ball", **QUICK), scene, sources)
    assert far(blue, "left", BLUE) < far(blue, "left", GREEN)
    both, report = apply(Repaint("left", "a blue ball", whole="a green ball", **QUICK), scene, sources)
    assert report.evaluations == 4 * 6
    assert far(blue, "left", BLUE) < far(both, "left", BLUE) < far(both, "left", GREEN)


def test_the_same_seed_paints_the_same_bits(scene, prior):
    wish = Repaint("left", "a green ball", **QUICK)
    hashes = [scene_hash(apply(wish, scene, Sources(prior=prior, seed=seed))[0]) for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_undo_redo_and_replay_to_the_bit(tmp_path, session, prior):
    start = session.hash
    session.repaint("left", "a green ball", **QUICK)
    painted = session.hash
    session.undo()
    assert scene_hash(session.scene) == start
    session.redo()
    assert scene_hash(session.scene) == painted
    assert replay(session.folder, tmp_path / "again.mq", prior) == []
    for name in ("log.jsonl", "deltas/000001.safetensors"):
        assert (tmp_path / "again.mq" / name).read_bytes() == (session.folder / name).read_bytes()


def test_it_can_be_watched_and_given_up(session):
    wish = Repaint("left", "a green ball", **QUICK)
    stream, start = session.doing(wish), session.hash
    events = [next(stream) for _ in range(5)]
    assert isinstance(events[0], Preview) and events[1] == Progress("repaint", 1, 24)
    for forbidden in (lambda: session.move("left", (0, 0.1, 0)), session.undo, lambda: next(session.doing(wish))):
        with pytest.raises(BadInput, match=r"an edit \(repaint\) is running"):
            forbidden()
    stream.close()
    assert (session.hash, session.done) == (start, 0)
    session.move("left", (0, 0.1, 0))
    session.close()
    with Session.open(session.folder) as again:
        assert (again.done, again.notices) == (1, [])


def test_words_that_the_pocket_prior_lacks_are_told_before_it_is_loaded(scene, monkeypatch):
    monkeypatch.setattr(edit, "_pocket", lambda: pytest.fail("loaded"))
    with pytest.raises(BadInput, match="nothing to make"):
        apply(Repaint("left", "green"), scene)
    stream = edit.changing(Repaint("left", "an ornate golden helmet"), scene, Sources())
    assert next(stream) == Notice("understood as: a golden helmet (left out: ornate)")


def test_a_prior_without_numbers_is_said(scene, prior):
    prior.means[:] = torch.nan
    with pytest.raises(Exception, match="loss of a repaint is nan"):
        apply(Repaint("left", "a green ball", **QUICK), scene, Sources(prior=prior))
