import pytest
import torch

from maquette.core import NonFinite
from maquette.diffusion import alpha_bar_at
from maquette.guidance import Wording, sds

DRAW = torch.Generator


def near(value, digits=7):
    return pytest.approx(value, abs=0.6 * 10**-digits)


def test_published_values_at_one_point(standard, point, cameras, time):
    def gradient(scale, weighting="variance", negative=None):
        words = Wording(standard.condition("y"), negative)
        return sds(
            point(0.5), standard, words, cameras(), time(500), point(0.3), scale=scale, weighting=weighting
        ).gradient.item()

    assert gradient(1.0) == near(-0.2233760)
    assert gradient(7.5) == near(-2.3371116)
    assert gradient(100.0) == near(-32.4171948)
    assert gradient(7.5, "uniform") + 0.3 == near(-2.9295387)  # eps_hat itself
    assert gradient(8.5, "uniform") + 0.3 == near(-3.3789027)  # the convention "text + 7.5" of threestudio
    assert gradient(1.0, "fantasia3d") / gradient(1.0, "uniform") == near(0.3804128)
    # A negative text takes the place of nothing: n + 7.5 (y - n)
    assert gradient(7.5, "uniform", standard.condition("negative")) + 0.3 == near(
        1.1199932 + 7.5 * (-0.0086722 - 1.1199932), digits=6
    )


def test_the_pull_is_the_x0_form_times_the_noise_to_signal_ratio(standard, point, cameras, time):
    # The bridge, and GE3D's reading of SDS as an edit: x0 - x0_hat = sigma_bar (eps_hat - eps), exactly.
    push = sds(
        point(0.5), standard, Wording(standard.condition("y")), cameras(), time(500), point(0.3),
        scale=1.0, weighting="uniform",
    )  # fmt: skip
    alpha_bar = alpha_bar_at(standard.alphas_cumprod, time(500))
    assert push.clean.item() == near(0.9995177)
    torch.testing.assert_close(0.5 - push.clean, ((1 - alpha_bar) / alpha_bar) ** 0.5 * push.gradient)


def test_the_expectation_over_noise_is_the_pull_of_a_gaussian_well(standard, point, cameras, time):
    # E[G] = sqrt(ab (1 - ab)) (x0 - mu) / (ab s^2 + 1 - ab); the noise that is left has std ab s^2 / (same).
    noise = torch.randn(40000, 1, 1, 1, generator=DRAW().manual_seed(0), dtype=torch.float64)
    noise = (noise - noise.mean()) / noise.std()
    words, camera = Wording(standard.condition("y")), cameras(1)[[0] * len(noise)]
    push = sds(
        point(0.5).expand_as(noise), standard, words, camera, time(500), noise, scale=1.0, weighting="uniform"
    ).gradient
    assert push.mean().item() == near(-0.298705, 6)
    assert push.std().item() == near(0.033225, 6)


@pytest.mark.parametrize(
    ("level", "scale", "root"),
    [(100, 1, 1), (100, 7.5, 1.1925), (100, 100, 1.2261), (300, 7.5, 1.6693), (300, 100, 1.8451),
     (500, 7.5, 2.8468), (500, 100, 3.8618), (700, 7.5, 5.0399), (700, 100, 11.856)],
)  # fmt: skip
def test_guidance_over_saturates_to_the_known_fixed_points(standard, point, cameras, time, level, scale, root):
    # The law is Gaussian, so eps = 0 gives the expectation over the noise.
    words = Wording(standard.condition("y"))

    def pull(x):
        return sds(point(x), standard, words, cameras(), time(level), point(0.0), scale=scale).gradient.item()

    low, high = pull(0.0), pull(1.0)  # affine in x
    assert -low / (high - low) == pytest.approx(root, rel=6e-5)


def test_the_gradient_of_the_loss_is_the_stated_one_through_a_linear_renderer(standard, point, cameras, time):
    draw = DRAW().manual_seed(1)
    jacobian = torch.randn(4, 6, generator=draw, dtype=torch.float64)
    parameters = torch.randn(6, generator=draw, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(4, 1, 1, 1, generator=draw, dtype=torch.float64)
    rendering = (jacobian @ parameters)[:, None, None, None]
    push = sds(rendering, standard, Wording(standard.condition("y")), cameras(4), time(300), noise)
    push.loss.backward()
    torch.testing.assert_close(parameters.grad, jacobian.T @ push.gradient.flatten())
    assert not push.gradient.requires_grad and not push.clean.requires_grad
    assert push.gradient_norm == pytest.approx(push.gradient.square().sum().sqrt().item())


def test_a_view_counts_alike_in_every_batch_and_words_may_differ_by_view(standard, point, cameras, time):
    latents, noise = point(0.5, -0.2, 0.9), point(0.3, 0.1, -1.0)
    y, negative = Wording(standard.condition("y")), Wording(standard.condition("negative"))

    def push(words, i=slice(None)):
        return sds(latents[i], standard, words, cameras(3)[i], time(500), noise[i]).gradient

    together = push(y)
    torch.testing.assert_close(together, push([y, y, y]))
    mixed = push([y, negative, y])
    torch.testing.assert_close(mixed[1:2], push(negative, slice(1, 2)))
    torch.testing.assert_close(mixed[::2], together[::2])
    with pytest.raises(ValueError, match="2 wordings for 3"):
        push([y, y])


def test_what_is_no_number_stops_the_run(standard, point, cameras, time):
    with pytest.raises(NonFinite, match=r"t = 0\.501"):
        sds(point(float("nan")), standard, Wording(standard.condition("y")), cameras(), time(500), point(0.3))
