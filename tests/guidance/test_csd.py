import pytest
import torch

from maquette.guidance import Wording, csd, sds
from maquette.guidance.wording import conditional_eps, guided_eps


def push(prior, latents, cameras, t, noise, words=None, **options):
    words = words or Wording(prior.condition("y"), prior.condition("negative"))
    return csd(latents, prior, words, cameras(len(latents)), t, noise, **options)


def test_published_values_and_what_they_cost(standard, point, cameras, time):
    where = point(0.5), cameras, time(500), point(0.3)
    assert push(standard, *where).gradient.item() == pytest.approx(-0.3251901, abs=6e-8)
    assert standard.evaluations == 2
    against = push(standard, *where, negative=-1.0, blank=0.0).gradient.item()
    assert against == pytest.approx(-0.8167783, abs=6e-8)
    assert standard.evaluations == 4
    half = push(standard, *where, negative=-0.5, blank=-0.5).gradient.item()
    assert half == pytest.approx((-0.3251901 - 0.8167783) / 2, abs=2e-7)


def test_it_is_the_limit_of_score_distillation_for_a_large_scale(standard, point, cameras, time):
    words, where = Wording(standard.condition("y")), (cameras(2), time(300), point(0.3, -1.0))
    limit = sds(point(0.5, 0.1), standard, words, *where, scale=1e8).gradient / 1e8
    torch.testing.assert_close(csd(point(0.5, 0.1), standard, words, *where).gradient, limit, atol=1e-6, rtol=1e-6)


def test_laws_of_equal_width_push_alike_everywhere(laws, point, cameras, time):
    # G = (1 - ab) sqrt(ab (1 - ab)) (mu_blank - mu_y) / (ab s^2 + 1 - ab): no fixed point.
    prior = laws(y=([1.0], 0.3), blank=([0.0], 0.3))
    latents = point(-3.0, 0.0, 1.0, 50.0)
    got = push(prior, latents, cameras, time(500), point(0.3, 0.0, 1.0, 0.2), Wording(prior.condition("y"))).gradient
    alpha_bar = 0.2763327
    wanted = -(1 - alpha_bar) * (alpha_bar * (1 - alpha_bar)) ** 0.5 / (alpha_bar * 0.09 + 1 - alpha_bar)
    torch.testing.assert_close(got, torch.full_like(got, wanted), rtol=1e-6, atol=0)


def test_perp_neg_adds_its_term(laws, cameras, time):
    axes = {"y": [1.0, 0, 2, 0], "side": [1.0, 1, 0, 0], "blank": [0.0, 0, 0, 0]}
    prior = laws(**{name: (torch.tensor(row).double()[None, :, None, None], 0.3) for name, row in axes.items()})
    words = Wording(prior.condition("y"), None, (prior.condition("side"),), (-1.5,))
    z = torch.full((1, 4, 1, 1), 0.2, dtype=torch.float64)
    camera, t = cameras(), time(400)
    noise = torch.zeros_like(z)
    with_term, without = (
        push(prior, z, cameras, t, noise, w, weighting="uniform").gradient for w in (words, Wording(words.positive))
    )
    noisy = z * float(prior.alphas_cumprod[400]) ** 0.5
    once = guided_eps(prior, noisy, t, words, camera, 1.0) - conditional_eps(prior, noisy, t, words, camera)
    torch.testing.assert_close(with_term - without, 3 * once)
    assert once.norm() > 0.1
