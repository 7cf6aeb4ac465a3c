import pytest
import torch

from maquette.core import orbit
from maquette.diffusion import alpha_bar_at
from maquette.guidance import Wording, sds, student_loss, vsd
from maquette.priors import Condition

Y = Wording(Condition("y"))


def everywhere(count):
    return orbit(torch.zeros(count), 0.0, size=1)


def test_published_value_and_equality_with_sds_for_a_single_thing(standard, laws, point, cameras, time):
    where = (cameras(), time(500), point(0.3))
    student = laws(y=([0.5], 0.1), blank=([0.0], 1.0))
    push = vsd(point(0.5), standard, student, Y, Y, *where)
    assert push.gradient.item() == pytest.approx(-2.3362857, abs=6e-8)
    assert (standard.evaluations, student.evaluations) == (2, 1)
    collapsed = laws(y=([0.5], 0.0), blank=([0.0], 1.0))
    same = vsd(point(0.5), standard, collapsed, Y, Y, *where).gradient
    torch.testing.assert_close(same, sds(point(0.5), standard, Y, *where, scale=7.5).gradient)
    assert same.item() == pytest.approx(-2.3371116, abs=6e-8)
    # A share of it lies on the line between the two, and all of it is `sds`.
    for share in (0.25, 1.0):
        mixed = vsd(point(0.5), standard, student, Y, Y, *where, sds_share=share).gradient
        torch.testing.assert_close(mixed, torch.lerp(push.gradient, same, share))


def test_nothing_moves_once_the_particles_have_the_wanted_law(standard, point, time):
    particles, noise = torch.randn(2, 64, 1, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    push = vsd(1 + 0.3 * particles, standard, standard, Y, Y, everywhere(64), time(300), noise, scale=1.0)
    assert push.gradient_norm < 1e-12


def test_many_particles_take_the_law_where_sds_collapses(standard, laws):
    draw = torch.Generator().manual_seed(0)
    start = 0.6 * torch.randn(256, 1, 1, 1, generator=draw, dtype=torch.float64)
    camera, spread = everywhere(256), {}
    for method in ("vsd", "sds"):
        x = start
        for _ in range(400):
            t = (21 + int(torch.randint(960, (), generator=draw))) / 1000
            noise = torch.randn(x.shape, generator=draw, dtype=torch.float64)
            if method == "sds":
                push = sds(x, standard, Y, camera, t, noise, scale=1.0)
            else:
                student = laws(y=([x.mean().item()], x.std(correction=0).item()), blank=([0.0], 1.0))
                push = vsd(x, standard, student, Y, Y, camera, t, noise, scale=1.0)
            x = x - 0.3 * push.gradient
        spread[method] = (x.mean().item(), x.std().item())
    assert spread["vsd"] == pytest.approx((1.0, 0.3), abs=0.02)
    assert spread["sds"][0] == pytest.approx(1.0, abs=0.02) and spread["sds"][1] < 0.06


class Learner:
    """A student of one Gaussian: the exact denoiser of N(mean, exp(log_std)^2), both learnt."""

    def __init__(self, like):
        self.latent_shape, self.image_size, self.device = like.latent_shape, like.image_size, like.device
        self.alphas_cumprod, self.evaluations = like.alphas_cumprod, 0
        self.condition, self.encode, self.decode = like.condition, like.encode, like.decode
        self.mean = torch.zeros((), dtype=torch.float64, requires_grad=True)
        self.log_std = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def denoise(self, latents, t, condition, camera, *, guidance, rescale):
        self.evaluations += 1
        alpha_bar, variance = alpha_bar_at(self.alphas_cumprod, t), (2 * self.log_std).exp()
        gain = alpha_bar**0.5 * variance / (alpha_bar * variance + 1 - alpha_bar)
        return self.mean + gain * (latents - alpha_bar**0.5 * self.mean)


def test_the_student_learns_what_the_particles_are(standard):
    draw = torch.Generator().manual_seed(0)
    particles = 0.7 + 0.2 * torch.randn(128, 1, 1, 1, generator=draw, dtype=torch.float64)
    student = Learner(standard)
    adam = torch.optim.Adam([student.mean, student.log_std], 5e-2)
    for _ in range(150):
        t = (1 + int(torch.randint(600, (), generator=draw))) / 1000
        noise = torch.randn(particles.shape, generator=draw, dtype=torch.float64)
        adam.zero_grad()
        student_loss(particles, student, Y, everywhere(128), t, noise).backward()
        adam.step()
    assert student.mean.item() == pytest.approx(particles.mean().item(), abs=0.05)
    assert student.log_std.exp().item() == pytest.approx(particles.std().item(), abs=0.05)


def test_gradients_stay_on_their_own_side(standard, point, time):
    student, latents = Learner(standard), point(0.5, 0.8).requires_grad_()
    where = (everywhere(2), time(300), point(0.3, -0.4))
    vsd(latents, standard, student, Y, Y, *where).loss.backward()
    assert latents.grad is not None and student.mean.grad is None and student.log_std.grad is None
    latents.grad = None
    student_loss(latents, student, Y, *where).backward()
    assert latents.grad is None and student.mean.grad is not None


def test_the_loss_is_that_of_the_noise_or_of_the_velocity(laws, point, time):
    # A student that is sure of 0.9 while the particle is 0.5: errors of eps and v in closed form.
    student = laws(y=([0.9], 0.0), blank=([0.0], 1.0))
    alpha_bar = alpha_bar_at(student.alphas_cumprod, time(500))
    where = (everywhere(1), time(500), point(0.3))
    by_eps = student_loss(point(0.5), student, Y, *where).item()
    by_v = student_loss(point(0.5), student, Y, *where, predicts="v").item()
    assert by_eps == pytest.approx(0.16 * alpha_bar / (1 - alpha_bar))
    assert by_v == pytest.approx(0.16 / (1 - alpha_bar))
    each = student_loss(point(0.5, 0.5), student, [Y, Y], everywhere(2), time(500), point(0.3, 0.3)).item()
    assert each == pytest.approx(by_eps)
