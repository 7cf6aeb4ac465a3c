import pytest
import torch
from torch import nn

from maquette.core import BadInput, NonFinite, Notice, Preview, Scalar, orbit
from maquette.core.schedule import Constant, Steps
from maquette.priors.analytic import RenderOracle, Solids
from maquette.training.module_descent import BETAS, EPS, Learner, Outcome, Pace, descend

PRIOR = RenderOracle(Solids.toy().look, image_size=8)


class Valley(nn.Module):
    """A point that should come to (1, 2), and a second parameter that nothing pulls."""

    def __init__(self):
        super().__init__()
        self.near, self.far = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.ones(3))
        self.register_buffer("visits", torch.zeros(()))


def started(valley, *, steps=20, broken_at=None, learner=None, **options):
    """A noisy slope, so that continuing needs the random streams; the learner follows the point."""

    def objective(moment):
        noise = 0.1 * torch.randn(2, generator=moment.generator)
        loss = (valley.near - torch.tensor([1.0, 2.0]) + noise).square().sum()

        def finish():
            valley.visits += 1
            if learner is not None:
                learner.optimizer.zero_grad()
                (learner.module.weight - valley.near.detach()).square().sum().backward()
                learner.optimizer.step()

        return Outcome(loss * (float("nan") if moment.step == broken_at else 1.0), {"loss": loss.item()}, finish)

    return descend(
        valley, [([valley.near], Constant(0.05)), ([valley.far], Steps((0.5, 0.0), (3,)))], PRIOR, objective,
        lambda step: orbit(0.0, 0.0, size=8), steps=steps, pace=Pace(5, 4), picture=lambda: torch.zeros(1, 8, 8, 3),
        seed=0, stage="fit", learners={} if learner is None else {"other": learner}, **options,
    )  # fmt: skip


def follower():
    module = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(module.weight)
    return Learner(module, torch.optim.AdamW(module.parameters(), lr=0.1))


def test_it_is_adam_with_a_rate_for_each_group():
    valley, twin = Valley(), Valley()
    events = list(started(valley))
    adam = torch.optim.Adam([twin.near], lr=0.05, betas=BETAS, eps=EPS)
    losses = [event.value for event in events if isinstance(event, Scalar) and event.name == "loss"]
    from maquette.core import Streams

    for step in range(20):
        noise = 0.1 * torch.randn(2, generator=Streams(0).generator(f"fit/{step}"))
        adam.zero_grad()
        loss = (twin.near - torch.tensor([1.0, 2.0]) + noise).square().sum()
        assert losses[step] == pytest.approx(loss.item(), rel=1e-6)
        loss.backward()
        adam.step()
    torch.testing.assert_close(valley.near, twin.near, rtol=0, atol=0)
    assert torch.equal(valley.far, torch.ones(3)) and valley.visits == 20
    assert [event.step for event in events if isinstance(event, Preview)] == [4, 9, 14, 19]


@pytest.mark.parametrize("stop", [3, 4, 11])
def test_whatever_learns_continues_to_the_same_bytes(tmp_path, stop):
    whole, pupil = Valley(), follower()
    list(started(whole, learner=pupil))
    file = tmp_path / "state.safetensors"
    for event in (broken := started(Valley(), learner=follower(), state_file=file)):
        if isinstance(event, Scalar) and event.name == "loss" and event.step == stop:
            broken.close()
    again, other = Valley(), follower()
    events = list(started(again, learner=other, state_file=file))
    assert isinstance(events[0], Notice) == (stop >= 4)
    assert torch.equal(again.near, whole.near) and again.visits == whole.visits == 20
    assert torch.equal(other.module.weight, pupil.module.weight)
    with pytest.raises(BadInput, match="another run"):
        list(started(Valley(), learner=follower(), state_file=file, steps=21))


def test_a_gradient_that_is_no_number_names_its_parameter_and_keeps_what_was_before(tmp_path):
    whole, valley, file = Valley(), Valley(), tmp_path / "state.safetensors"
    list(started(whole))
    with pytest.raises(NonFinite, match="gradient of near is not finite, at step 7 of fit"):
        list(started(valley, broken_at=7, state_file=file))
    assert torch.isfinite(valley.near).all() and valley.visits == 7
    again = Valley()
    notice, *_ = list(started(again, state_file=file))
    assert "step 7" in notice.text and torch.equal(again.near, whole.near)
