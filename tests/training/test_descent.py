from dataclasses import replace

import pytest
import torch

from maquette.core import BadInput, NonFinite, Notice, Preview, Progress, Scalar, Streams, orbit
from maquette.guidance import Wording, ism, sds
from maquette.io.checkpoint import load_state
from maquette.priors.analytic import RenderOracle, Solids
from maquette.render import render_gaussians
from maquette.representations.gaussians import state_hash
from maquette.training import density, optim
from maquette.training.descent import Loop, Moment, Outcome, descend, distill, grey_ball, said
from maquette.training.variation import Regularisers, Variation

TOY, SIZE = Solids.toy(), 16
BALL = grey_ball(60, 0.3, Streams(0).generator("points"))
LOOP = Loop(
    control=density.AdaptiveDensity(every=2, begin=0, end=9, quantile=0.9, reset_every=3, most=90),
    variation=Variation(background=0.5, scale_noise=0.1, flip=0.5), regularisers=Regularisers(1.0, 1.0, 1.0),
    preview_every=4, checkpoint_every=2,
)  # fmt: skip


def cameras(step):
    return orbit(torch.tensor([0.0, 90.0]) + 37.0 * step, 15.0, size=SIZE)


def oracle():
    return RenderOracle(TOY.look, image_size=SIZE, with_coverage=True)


def score(prior):
    """Plain SDS at a random time: two evaluations each step."""
    words = Wording(prior.condition("a toy"))

    def guide(latents, moment):
        t = 0.1 + 0.4 * torch.rand((), generator=moment.generator).item()
        return sds(latents, prior, words, moment.camera, t, moment.noise(latents), scale=2.0)

    return guide


def read(run):
    """The events of a generator, and what it returns."""
    events = []
    while True:
        try:
            events.append(next(run))
        except StopIteration as end:
            return events, end.value


def go(prior, guide, loop=LOOP, **options):
    return read(distill(loop, BALL, prior, guide, cameras, **{"seed": 3} | options))


# --- budgets


def test_steps_and_evaluations_are_counted():
    prior = oracle()
    prior.evaluations = 1000  # earlier runs do not count
    events, done = go(prior, score(prior), steps=5)
    assert (done.steps, done.evaluations) == (5, 10)
    assert [e.value for e in events if isinstance(e, Scalar) and e.name == "evaluations"] == [2, 4, 6, 8, 10]
    assert [(e.step, e.total) for e in events if isinstance(e, Progress)] == [(i, 5) for i in range(1, 6)]
    # A budget that steps of two do not hit ends within one step beyond it, and progress is that of the budget.
    told = []
    guide = score(prior)
    events, done = go(
        prior, lambda latents, moment: (told.append(moment.progress), guide(latents, moment))[1], evaluations=7
    )
    assert (done.steps, done.evaluations) == (4, 8)
    assert told == [0, 2 / 7, 4 / 7, 6 / 7]
    assert [(e.step, e.total) for e in events if isinstance(e, Progress)][-1] == (7, 7)


def test_methods_of_different_cost_get_the_same_cameras_step_by_step():
    prior, seen = oracle(), {}
    words = Wording(prior.condition("a toy"))

    def listening(name, guide):
        def listen(latents, moment):
            seen.setdefault(name, []).append(moment.camera.position)
            return guide(latents, moment)

        return listen

    cheap = listening("sds", score(prior))
    dear = listening("ism", lambda z, moment: ism(z, prior, words, moment.camera, 0.4, scale=2.0))
    counts = [go(prior, guide, evaluations=12)[1] for guide in (cheap, dear)]
    assert counts[0].evaluations == 12 and counts[0].steps > counts[1].steps
    for a, b in zip(seen["sds"], seen["ism"], strict=False):
        assert torch.equal(a, b)


@pytest.mark.parametrize("budget", [{}, {"steps": 2, "evaluations": 2}, {"steps": 0}, {"evaluations": 0}])
def test_one_budget_is_wanted(budget):
    prior = oracle()
    with pytest.raises(BadInput, match="one of the two"):
        go(prior, score(prior), **budget)


# --- what is descended


def test_a_step_goes_down_the_gradient_of_the_guide():
    prior = oracle()
    cloud = replace(BALL, logit_opacities=torch.full_like(BALL.logit_opacities, 3.0))
    redder = torch.zeros(prior.latent_shape)
    redder[0] = -1.0  # against the gradient: more red

    def guide(latents, moment):
        push = sds(latents, prior, Wording(prior.condition("")), moment.camera, 0.5, moment.noise(latents))
        return replace(push, loss=(redder * latents).sum(), gradient=redder.expand_as(latents))

    _, done = read(distill(Loop(), cloud, prior, guide, cameras, steps=3))
    assert (done.cloud.rgb[:, 0] > cloud.rgb[:, 0]).float().mean() > 0.9
    torch.testing.assert_close(done.cloud.sh[:, 0, 1:], cloud.sh[:, 0, 1:])


def test_density_notices_a_gradient_for_each_view_alone():
    """The loss is a sum over views, so seeing a view twice must not look like twice the gradient."""
    prior = oracle()
    once, twice = orbit(20.0, 15.0, size=SIZE), orbit(torch.tensor([20.0, 20.0]), 15.0, size=SIZE)
    loop = Loop(control=density.AdaptiveDensity(begin=100))

    def objective(cloud, moment):
        seen = render_gaussians(cloud, moment.camera, background=torch.ones(3), probe=True)
        return Outcome(seen.color.square().sum(), seen, {})

    a, b = (read(descend(loop, BALL, prior, objective, lambda step, c=c: c, steps=1))[1].noticed for c in (once, twice))
    assert a.gradient_sum.max() > 0
    torch.testing.assert_close(a.gradient_sum / a.seen.clamp(min=1), b.gradient_sum / b.seen.clamp(min=1))


def test_a_reset_cuts_opacities_and_forgets_how_they_moved():
    prior = oracle()
    done = go(prior, score(prior), steps=3)[1]  # the reset is due after the third step
    assert done.noticed.resets == 1 and done.cloud.opacities.max() < 0.0101
    assert not done.adam.exp_avg["logit_opacities"].any() and done.adam.exp_avg["sh"].any()


def test_previews_are_of_the_cameras_that_are_asked_for():
    prior, shown = oracle(), orbit(torch.tensor([0.0, 120.0, 240.0]), 30.0, size=24)
    events, done = go(prior, score(prior), loop=replace(LOOP, preview_every=3), steps=3, shown=shown)
    (preview,) = [e for e in events if isinstance(e, Preview)]
    wanted = render_gaussians(done.cloud, shown, background=torch.ones(3)).color.clamp(0, 1)
    torch.testing.assert_close(preview.images, wanted)


def test_a_cloud_that_loses_its_last_row_is_an_error():
    prior = oracle()
    loop = Loop(control=density.AdaptiveDensity(every=1, begin=0, end=9, prune_opacity=0.9, reset_every=None))
    with pytest.raises(BadInput, match="at step 0"):
        go(prior, score(prior), loop=loop, steps=5)


def test_words_are_for_each_view_or_for_the_set():
    prior = oracle()
    words = said(prior, "a toy", negative="ugly", by_view=True)(cameras(0))
    assert [w.positive.prompt for w in words] == ["a toy, front view", "a toy, side view"]
    assert words[0].negative.prompt == "ugly" and words[1].against
    plain = said(prior, "a toy", negative=None, by_view=False)(cameras(0))
    assert isinstance(plain, Wording) and plain.negative is None and plain.positive.prompt == "a toy"


# --- interruption


def test_a_run_continues_to_the_same_bytes_from_wherever_it_stopped(tmp_path):
    prior = oracle()
    whole = go(prior, score(prior), steps=10)[1]
    for stop in (3, 6):
        file = tmp_path / f"{stop}.safetensors"
        run = distill(LOOP, BALL, prior, score(prior), cameras, steps=10, seed=3, state_file=file)
        for event in run:
            if isinstance(event, Progress) and event.step == stop:
                run.close()
        events, done = go(prior, score(prior), steps=10, state_file=file)
        assert isinstance(events[0], Notice) and f"step {stop // 2 * 2}" in events[0].text
        assert state_hash(done.cloud) == state_hash(whole.cloud)
        assert done.evaluations == whole.evaluations == 20
    # A finished run has nothing left to do, and its state is nobody else's.
    events, done = go(prior, score(prior), steps=10, state_file=file)
    assert [type(e) for e in events] == [Notice]
    assert state_hash(done.cloud) == state_hash(whole.cloud)
    for other in ({"seed": 4}, {"identity": {"prompt": "another"}}, {"loop": replace(LOOP, preview_every=5)}):
        with pytest.raises(BadInput, match="another run"):
            go(prior, score(prior), **{"steps": 10, "state_file": file} | other)


def test_a_gradient_that_is_no_number_stops_the_run_and_keeps_the_last_good_state(tmp_path):
    prior, file = oracle(), tmp_path / "state.safetensors"
    whole, before = (go(prior, score(prior), steps=n)[1] for n in (6, 3))
    guide = score(prior)

    def poisoned(latents, moment):
        push = guide(latents, moment)
        return replace(push, loss=push.loss * (float("nan") if moment.step == 3 else 1.0))

    with pytest.raises(NonFinite, match=r"gradient of means .* step 3 of distill"):
        go(prior, poisoned, steps=6, state_file=file)
    tensors, values = load_state(file)
    assert values["steps"] == 3
    assert torch.equal(tensors["cloud.means"], before.cloud.means)
    assert torch.equal(tensors["exp_avg_sq.sh"], before.adam.exp_avg_sq["sh"])
    # With the fault mended it goes on as if nothing had happened.
    done = go(prior, guide, steps=6, state_file=file)[1]
    assert state_hash(done.cloud) == state_hash(whole.cloud)


def test_the_guilty_parameter_is_named_and_so_is_the_step_where_a_guide_gives_up():
    prior = oracle()

    def objective(cloud, moment):
        seen = render_gaussians(cloud, moment.camera, background=torch.ones(3), probe=True)
        fault = float("inf") if moment.step == 1 else 1.0
        return Outcome(seen.color.sum() + fault * cloud.quats.square().sum(), seen, {})

    with pytest.raises(NonFinite, match=r"gradient of quats .* step 1 of fit"):
        read(descend(Loop(), BALL, prior, objective, cameras, steps=3))

    def broken(latents, moment):
        return sds(
            latents * float("nan"), prior, Wording(prior.condition("")), moment.camera, 0.5, moment.noise(latents)
        )

    with pytest.raises(NonFinite, match=r"distillation gradient .* step 0 of distill"):
        go(prior, broken, steps=3)


def test_rates_follow_the_steps_of_adam():
    assert isinstance(Loop().rates, optim.Rates)
    assert Moment(0, 0.0, cameras(0), torch.Generator().manual_seed(1)).noise(torch.zeros(2, 3)).std() > 0
