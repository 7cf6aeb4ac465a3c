"""Words that guide shapes too: only the part learns, rows come and go in it, drags keep together what they should."""

from dataclasses import replace

import pytest
import torch

from maquette.core import BadInput, Preview, Progress, Streams
from maquette.edit import GuidedDrag, Regenerate, Scene, Session, Sources, apply, edit, replay, scene_hash
from maquette.edit.guided import Interactive, Learner
from maquette.edit.lineage import Lineage
from maquette.guidance import Wording
from maquette.priors.analytic import MixturePrior
from maquette.training.density import Rows

GREEN, BLUE = (0.1, 0.8, 0.2), (0.1, 0.2, 0.9)
GROW = Regenerate("left", "a green ball", steps=40, times=(0.3, 0.6), guidance=1.0)
PULL = GuidedDrag((-0.3, 0.1, 0), ((-0.3, 0.25, 0),), 0.08, "a green ball", part="left", steps=10, heal=2, guidance=1.0)


class Watched(MixturePrior):
    """Notes the times and words that it is asked for."""

    def denoise(self, latents, t, condition, camera, *, guidance, rescale):
        self.asked = [*getattr(self, "asked", []), (t, condition.prompt)]
        return super().denoise(latents, t, condition, camera, guidance=guidance, rescale=rescale)


@pytest.fixture
def prior() -> Watched:
    """Two pictures of 32 px: a green and a blue disc on white, with coverage."""
    x = (torch.arange(32) + 0.5) / 16 - 1
    disc = (x[:, None] ** 2 + x**2 < 0.9**2).float()
    pictures = [torch.stack([disc * c + 1 - disc for c in color] + [disc]) for color in (GREEN, BLUE)]
    return Watched(torch.stack(pictures), 0.05, ("a green ball", "a blue ball"))


def same_outside(before: Scene, after: Scene, part: str) -> bool:
    """Whether the rows that are not of the part keep every bit."""
    ones = (before.cloud.select(~before.parts[part]), after.cloud.select(~after.parts[part]))
    return all(torch.equal(a, b) for a, b in zip(*(x.tensors().values() for x in ones), strict=True))


@pytest.mark.parametrize("wish", [GROW, PULL], ids=["regenerate", "drag"])
def test_the_part_learns_and_all_else_keeps_every_bit(scene, prior, wish):
    now, report = apply(wish, scene, Sources(prior=prior))
    assert report.outside_changed == 0 and report.changed > 0 and same_outside(scene, now, "left")
    assert now.parts["left"].sum() + now.parts["right"].sum() == len(now.cloud) == report.rows
    assert report.evaluations == len(prior.asked) and {said for _, said in prior.asked} == {"a green ball"}


def test_a_regenerated_part_grows_towards_the_words_in_the_range_of_times(scene, prior):
    now, report = apply(GROW, scene, Sources(prior=prior))
    green = torch.tensor(GREEN)
    before, after = ((s.cloud.rgb[s.parts["left"]] - green).norm(dim=-1).mean() for s in (scene, now))
    assert after < 0.8 * before and report.added > 0
    times = [t for t, _ in prior.asked]
    assert 0.3 <= min(times) < 0.4 and 0.5 < max(times) <= 0.6
    assert not torch.equal(now.cloud.means[: report.changed], scene.cloud.means[: report.changed])


def test_the_whole_has_words_of_its_own_every_fourth_step(scene, prior):
    apply(Regenerate("left", "a green ball", 8, "a blue ball", guidance=1.0), scene, Sources(prior=prior))
    said = [words for _, words in prior.asked]
    assert said.count("a blue ball") * 3 == said.count("a green ball") > 0


def test_a_drag_looks_at_the_whole_unless_the_part_has_words(scene, prior):
    apply(PULL, scene, Sources(prior=prior))
    assert {said for _, said in prior.asked} == {"a green ball"}
    prior.asked = []
    apply(replace(PULL, local="a blue ball"), scene, Sources(prior=prior))
    said = [words for _, words in prior.asked]
    assert said.count("a blue ball") == 3 * said.count("a green ball") > 0


def test_the_same_seed_gives_the_same_bits_and_replays(tmp_path, scene, prior):
    with Session.create(tmp_path / "s.mq", scene.cloud, scene.parts, seed=3) as session:
        session.prior = prior
        start = session.hash
        session.do(PULL)
        session.do(GROW)
        done = session.hash
        session.undo(2)
        assert session.hash == start == scene_hash(session.scene)
        session.redo(2)
        assert session.hash == done == scene_hash(session.scene)
    assert replay(tmp_path / "s.mq", tmp_path / "again.mq", prior) == []
    log = [(tmp_path / name / "log.jsonl").read_bytes() for name in ("s.mq", "again.mq")]
    assert log[0] == log[1]


def test_followers_arrive_and_a_rigid_loss_keeps_them_together(scene, prior):
    """Eq. 6 is the distance to the source; under words that pull the part apart it stays smaller with the loss."""
    changes = []
    for weight in (0.0, 10.0):
        wish = GuidedDrag(
            (-0.3, 0, 0), ((-0.3, 0.3, 0),), 0.15, "a green ball", "rigid", "left", 30, 0, "a green ball",
            times=(0.5, 0.9), guidance=1.0, motion_weight=0.0, rigid_weight=weight,
        )  # fmt: skip
        now, report = apply(wish, scene, Sources(prior=prior))
        followers = now.cloud.means[:30]
        assert report.removed == 0 and (followers[:, 1].mean() - scene.cloud.means[:30, 1].mean()) > 0.2
        away = followers - torch.tensor([-0.3, 0.3, 0])
        home = scene.cloud.means[:30] - torch.tensor([-0.3, 0, 0])
        changes.append(float((away.norm(dim=-1) - home.norm(dim=-1)).abs().mean()))
    assert changes[1] < 0.5 * changes[0]


def test_rows_far_from_the_path_are_constants(scene, prior):
    now, _ = apply(PULL, scene, Sources(prior=prior))
    far = (scene.cloud.means[:, 1] < -0.05) & scene.parts["left"]
    assert far.any()
    for name, tensor in scene.cloud.tensors().items():
        assert torch.equal(getattr(now.cloud, name)[: len(far)][far], tensor[far])


def test_a_part_comes_back_in_the_order_of_its_scene(scene):
    """Odd rows are the part: two vanish, one splits, and the scene keeps its order and its parts."""
    odd = torch.arange(60) % 2 == 1
    parent = torch.tensor([*range(2, 30), 4, 4])
    rows = Rows(parent, torch.arange(30) >= 28)
    part = scene.cloud.select(odd).select(parent)
    change = Lineage.of(odd).after(rows).change(Scene(scene.cloud, {"odd": odd}), odd, part)
    assert change.kept.tolist() == [i for i in range(60) if i not in (1, 3)]
    assert torch.equal(change.scene.cloud.means[:58], scene.cloud.means[change.kept])
    assert torch.equal(change.scene.cloud.means[58:], scene.cloud.means[[9, 9]])
    assert change.scene.parts["odd"].tolist() == [bool(i % 2) for i in change.kept.tolist()] + [True, True]


def test_the_gradient_reaches_learners_alone(scene, prior):
    left = scene.parts["left"]
    learner = Learner.of(scene.cloud, left)
    loss = Interactive(prior, Wording(prior.condition("a green ball")), scene.cloud.select(~left), scene.cloud)
    pushed = loss.push(learner.cloud, 0, Streams(0), "x")
    pushed.loss.backward()
    assert pushed.before == 30 and pushed.seen.screen_probe.grad[:, 30:].any()
    assert all(tensor.grad is not None for tensor in learner.cloud.tensors().values())
    assert not any(tensor.requires_grad for tensor in scene.cloud.tensors().values())


def test_they_can_be_watched_and_refused(scene, prior):
    events = list(edit.changing(PULL, scene, Sources(prior=prior)))
    assert Progress("drag", 12, 12) in events and any(isinstance(event, Preview) for event in events)
    with pytest.raises(BadInput, match="nothing lies within"):
        apply(GuidedDrag((0, 0, 0), ((0, 0.5, 0),), 0.01, "a green ball"), scene, Sources(prior=prior))
    for wrong in ({"times": (0.5, 0.1)}, {"times": (0.0, 0.5)}, {"steps": 0}, {"guidance": -1.0}, {"prompt": ""}):
        with pytest.raises(BadInput):
            Regenerate(**{"part": "left", "prompt": "a green ball"} | wrong)
    prior.means[:] = torch.nan
    with pytest.raises(Exception, match="not finite"):
        apply(GROW, scene, Sources(prior=prior))
