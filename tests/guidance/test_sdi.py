import pytest
import torch

from maquette.diffusion import alpha_bar_at
from maquette.guidance import Wording, sdi, sds
from maquette.guidance.sdi import posterior_std


def sigma(prior, t):
    alpha_bar = alpha_bar_at(prior.alphas_cumprod, t)
    return ((1 - alpha_bar) / alpha_bar) ** 0.5


def test_the_ideal_noise_of_a_gaussian_leaves_no_pull_and_is_reached_by_iteration(laws, point, cameras, time):
    # kappa solves eps = eps_hat(sqrt(ab) x0 + sqrt(1 - ab) eps); for N(mu, s^2) it is sigma (x0 - mu) / s^2, and each
    # iteration shrinks the error by (1 - ab) / (ab s^2 + 1 - ab).
    for std, rate in ((1.0, 0.7237), (0.3, 0.9668)):
        prior = laws(y=([0.0], std), blank=([0.0], 1.0))
        words, kappa = Wording(prior.condition("y")), sigma(prior, time(500)) * 0.5 / std**2

        def pull(noise, prior=prior, words=words):
            return sds(point(0.5), prior, words, cameras(), time(500), noise, scale=1.0, weighting="uniform").gradient

        assert pull(point(kappa)).abs().item() < 1e-12
        noise = point(kappa + 1.0)
        assert (noise + pull(noise) - kappa).item() == pytest.approx(rate, abs=6e-5)
        if std == 1.0:
            assert kappa == pytest.approx(0.8091394, abs=6e-8)


def test_fine_inversion_and_one_way_back_have_a_closed_form(laws, point, cameras, time):
    # Along the probability flow of N(mu, s^2), x / sqrt(ab) - mu grows as sqrt(s^2 + sigma^2), and the clean prediction
    # is mu + (that) s^2 / (s^2 + sigma^2). The coarse path comes near it at first order.
    prior, x0 = laws(y=([0.4], 0.5), blank=([0.0], 1.0)), 1.3
    words = Wording(prior.condition("y"))
    first, last = (0.25 + sigma(prior, time(level)) ** 2 for level in (0, 500))
    start = x0 / alpha_bar_at(prior.alphas_cumprod, time(0)) ** 0.5 - 0.4
    wanted = x0 - 0.4 - start * 0.25 / (first * last) ** 0.5
    coarse, fine = (
        sdi(
            point(x0), prior, words, cameras(), time(500), None, scale=1.0, inversion_scale=1.0, inversion_steps=steps
        ).gradient.item()
        for steps in (50, 200)
    )
    assert fine == pytest.approx(wanted, rel=1e-2)
    assert abs(fine - wanted) < 0.3 * abs(coarse - wanted)


def test_a_delta_is_seen_exactly_by_any_inversion(laws, point, cameras, time):
    prior = laws(y=([0.4], 0.0), blank=([0.4], 0.0))
    push = sdi(point(1.3), prior, Wording(prior.condition("y")), cameras(), time(730), None)
    assert push.gradient.item() == pytest.approx(0.9) and push.clean.item() == pytest.approx(0.4)
    assert [round(1000 * t) - 1 for t in push.nodes] == [0, 100, 200, 300, 400, 500, 600, 700, 730]


def test_the_inversion_listens_to_the_words_and_the_randomness_is_explicit(standard, point, cameras, time):
    words, latents = Wording(standard.condition("y")), point(0.5, 0.5)

    def push(seed, **options):
        draw = None if seed is None else torch.Generator().manual_seed(seed)
        return sdi(latents, standard, words, cameras(2), time(430), draw, **options)

    assert standard.evaluations == 0
    plain = push(None)
    assert standard.evaluations == 2 * 5 + 2
    assert (plain.gradient - push(None, inversion_scale=7.5).gradient).abs().min() > 0.1
    first, again, other = push(1), push(1), push(2)
    assert torch.equal(first.gradient, again.gradient) and not torch.equal(first.gradient, other.gradient)
    assert (first.gradient[0] != first.gradient[1]).all()  # noise of their own for views that were equal
    assert 430 <= round(1000 * first.nodes[-1]) - 1 < 530
    calm = push(1, entropy=0.0)
    assert torch.equal(calm.gradient[0], calm.gradient[1])
    ending = sdi(latents, standard, words, cameras(2), 1.0, torch.Generator().manual_seed(0))
    assert ending.nodes[-1] == 1.0


def test_the_posterior_is_that_of_two_gaussians():
    # z_less = a x0 + s eps and z_more = (a'/a) z_less + fresh noise: the variance of z_less given x0 and z_more.
    less, more = 0.8, 0.3
    precision = 1 / (1 - less) + (more / less) / (1 - more / less)
    assert posterior_std(less, more) == pytest.approx(precision**-0.5)
    assert posterior_std(less, less) == 0
