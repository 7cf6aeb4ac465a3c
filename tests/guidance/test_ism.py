import pytest
import torch

from maquette.core import BadInput
from maquette.diffusion import add_noise, alpha_bar_at
from maquette.guidance import Wording, ism
from maquette.guidance.ism import inversion_levels
from maquette.guidance.wording import blank_eps, guided_eps


def sigma(prior, t):
    alpha_bar = alpha_bar_at(prior.alphas_cumprod, t)
    return ((1 - alpha_bar) / alpha_bar) ** 0.5


def test_published_values_at_one_point(standard, point, cameras, time):
    # Blank inversion 0 -> 200 -> 250, then -> 300.
    words = Wording(standard.condition("y"))
    push = ism(point(0.5), standard, words, cameras(), time(300), strength=1.0)
    assert push.nodes == (0.001, 0.201, 0.251, 0.301)
    assert standard.evaluations == 3 + 2
    assert push.gradient.item() == pytest.approx(-4.5820412, abs=1e-7)
    # ... and what it is made of
    difference = push.residuals[0].item()
    assert difference == pytest.approx(-5.2513230 - 0.2509603, abs=1e-7)
    assert push.gradient.item() == pytest.approx(sigma(standard, time(300)) * difference)
    z_s, z_t = point(0.4393980), point(0.4377554)
    assert blank_eps(standard, z_s, time(250), words, cameras()).item() == pytest.approx(0.2509603, abs=1e-7)
    assert guided_eps(standard, z_t, time(300), words, cameras(), 7.5).item() == pytest.approx(-5.2513230, abs=2e-5)
    assert ism(point(0.5), standard, words, cameras(), time(300)).gradient.item() == pytest.approx(-0.45820412)


def test_the_path_of_the_inversion():
    assert inversion_levels(0.301, 0.05, 0.2, 5, 1000) == [0, 200, 250, 300]
    assert inversion_levels(0.451, 0.05, 0.2, 5, 1000) == [0, 200, 400, 450]  # lands exactly: no step of nothing
    assert inversion_levels(0.980, 0.08, 0.1, 5, 1000) == [399, 499, 599, 699, 799, 899, 979]
    assert inversion_levels(0.021, 0.05, 0.2, 5, 1000) == [0, 20]
    for t, interval, stride in ((0.001, 0.05, 0.2), (0.5, 0.0, 0.2), (0.5, 0.05, 0.0)):
        with pytest.raises(BadInput, match="no step"):
            inversion_levels(t, interval, stride, 5, 1000)


def test_nothing_to_do_where_words_say_nothing_and_steps_are_small(laws, point, cameras, time):
    # With one law for both and no guidance, the difference is the error of one inversion step: it falls with interval.
    prior = laws(y=([0.4], 0.5), blank=([0.4], 0.5))

    def pull(interval):
        words = Wording(prior.condition("y"))
        return ism(point(0.9), prior, words, cameras(), time(300), interval=interval, scale=1.0).gradient_norm

    assert pull(0.01) < 0.55 * pull(0.02) < 0.3 * pull(0.05)
    # A delta is carried exactly by steps of any size.
    sharp = laws(y=([0.4], 0.0), blank=([0.4], 0.0))
    push = ism(point(0.9), sharp, Wording(sharp.condition("y")), cameras(), time(300), scale=1.0)
    assert push.gradient_norm < 1e-12


def test_the_first_noise_is_explicit_and_the_gradient_reaches_the_rendering(standard, point, cameras, time):
    words, noise = Wording(standard.condition("y")), point(0.7, -1.2)
    latents = point(0.5, 0.1).requires_grad_()
    push = ism(latents, standard, words, cameras(2), time(300), noise)
    push.loss.backward()
    torch.testing.assert_close(latents.grad, push.gradient, rtol=0, atol=0)
    noised = add_noise(latents.detach(), noise, alpha_bar_at(standard.alphas_cumprod, 0.001))
    again = ism(noised, standard, words, cameras(2), time(300))
    torch.testing.assert_close(again.gradient, push.gradient)


def test_half_precision_states_are_carried_in_float32(standard, point, cameras, time):
    push = ism(point(0.5).half(), standard, Wording(standard.condition("y")), cameras(), time(300), strength=1.0)
    assert push.gradient.dtype == torch.float32
    assert push.gradient.item() == pytest.approx(-4.5820412, rel=1e-5)
