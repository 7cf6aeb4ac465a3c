import pytest
import torch

from maquette.core import Notice, Progress, turntable
from maquette.priors.analytic import RandomPyramid
from maquette.priors.encoders import load_encoder
from maquette.priors.multiview import load_multiview
from maquette.priors.sampling import ViewSampler

STEPS, NOISES = 2, 3


@pytest.fixture(scope="module")
def prior():
    return load_multiview()


@pytest.fixture(scope="module")
def encoder():
    return load_encoder()


def drained(generator):
    events = []
    while True:
        try:
            events.append(next(generator))
        except StopIteration as stop:
            return stop.value, events


def noises(prior):
    draw = torch.Generator().manual_seed(5)
    return [torch.randn(4, *prior.latent_shape, generator=draw) for _ in range(NOISES)]


@pytest.mark.parametrize("with_picture", [False, True])
def test_the_sample_that_the_encoder_likes_best_is_taken(prior, encoder, with_picture):
    camera = turntable(4, 15.0)
    options = {"guidance": 3.0, "rescale": 0.5}
    picture = torch.tensor([0.8, 0.1, 0.1, 1.0]).expand(1, 64, 64, 4) if with_picture else None
    sampler = ViewSampler(prior, prior.condition("a red apple"), camera, 64, options, picture)
    singles = [drained(sampler.best(encoder, [noise], STEPS, {}))[0] for noise in noises(prior)]
    wanted = encoder.embed_image(picture[..., :3]) if with_picture else encoder.embed_text(["a red apple"])
    likeness = [(encoder.embed_image(rgba[..., :3]) @ wanted[0]).mean().item() for rgba in singles]
    assert max(likeness) - min(likeness) > 1e-3  # else the choice is no choice

    sampler.evaluations, seconds = 0, {}
    best, events = drained(sampler.best(encoder, noises(prior), STEPS, seconds))
    assert torch.equal(best, singles[likeness.index(max(likeness))])
    assert sampler.evaluations == NOISES * STEPS * 2  # guidance doubles every step
    steps = [(event.step, event.total) for event in events if isinstance(event, Progress)]
    assert steps == [(i + 1, NOISES * STEPS) for i in range(NOISES * STEPS)]
    assert isinstance(events[-1], Notice)
    assert f"{max(likeness):.2f}" in events[-1].text
    assert set(seconds) == {"views"}


def test_one_sample_is_not_compared(prior):
    sampler = ViewSampler(prior, prior.condition("a red apple"), turntable(4), 64, {"guidance": 1.0, "rescale": 0.0})
    rgba, events = drained(sampler.best(RandomPyramid(), noises(prior)[:1], STEPS, {}))
    assert rgba.shape == (4, 64, 64, 4)
    assert {type(event) for event in events} == {Progress}
