import pytest
import torch

from maquette.core import BadInput, orbit, turntable
from maquette.diffusion import add_noise, alpha_bar_at, dpm_solver_pp, eps_from_x0, times
from maquette.priors import Encoder, MultiviewPrior
from maquette.priors.analytic import MixturePrior, RandomPyramid, RenderOracle, Solids, mixture_x0

TOY = Solids.toy()


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_everything_here_satisfies_the_protocols():
    assert isinstance(RenderOracle(TOY.look, image_size=8), MultiviewPrior)
    assert isinstance(MixturePrior(torch.zeros(1, 3, 4, 4), 0.1, ("grey",)), MultiviewPrior)
    assert isinstance(RandomPyramid(), Encoder)


# --- mixtures


def test_the_posterior_mean_is_the_score_of_the_density():
    # Tweedie: x0 = (z + (1 - alpha_bar) grad log p(z)) / a, with the log density written out and differentiated.
    means, log_weights = noise(3, 5, dtype=torch.float64), torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log()
    std, alpha_bar = 0.4, 0.3
    z = noise(7, 5, seed=1, dtype=torch.float64).requires_grad_()
    variance = alpha_bar * std**2 + 1 - alpha_bar
    squared = (z[:, None] - alpha_bar**0.5 * means).square().sum(-1)
    log_density = torch.logsumexp(log_weights - squared / (2 * variance), dim=-1)
    (score,) = torch.autograd.grad(log_density.sum(), z)
    wanted = (z + (1 - alpha_bar) * score) / alpha_bar**0.5
    torch.testing.assert_close(mixture_x0(z, alpha_bar, means[None], std, log_weights), wanted)


def test_clean_samples_are_kept_by_gaussians_and_snapped_by_deltas():
    means, even = torch.tensor([[[0.0], [1.0]]]), torch.zeros(2)
    z = torch.tensor([[0.2], [0.7]])
    torch.testing.assert_close(mixture_x0(z, 1.0, means, 0.5, even), z)
    assert mixture_x0(z, 1.0, means, 0.0, even).tolist() == [[0.0], [1.0]]
    assert mixture_x0(z, 1.0, means, 0.0, torch.tensor([-torch.inf, 0.0])).tolist() == [[1.0], [1.0]]
    # With no signal left, only the weights count.
    torch.testing.assert_close(mixture_x0(z, 0.0, means, 0.5, torch.tensor([3.0, 1.0]).log()), torch.full((2, 1), 0.25))


def test_sampling_a_mixture_reproduces_its_weights_and_guidance_chooses():
    # 600 "views" of one pixel are 600 independent samples.
    prior = MixturePrior(torch.tensor([-1.0, 1.0])[:, None, None, None], 0.1, ("dark", "light"))
    camera = orbit(0.0, torch.zeros(600), size=1)

    def sample(prompt, guidance):
        words = prior.condition(prompt)
        start = noise(600, 1, 1, 1, dtype=torch.float64)
        return dpm_solver_pp(
            lambda z, t: prior.denoise(z, t, words, camera, guidance=guidance), start, times(40), prior.alphas_cumprod
        )

    whole = sample("", 1.0)
    assert (whole > 0).double().mean().item() == pytest.approx(0.5, abs=0.06)  # 3 standard errors of 600
    assert whole.abs().mean().item() == pytest.approx(1.0, abs=0.05)
    assert (sample("light", 1.0) > 0).all()
    assert sample("light", 3.0).mean() > sample("light", 1.0).mean()  # guidance overshoots, as it does
    assert prior.evaluations == 40 + 40 + 80 + 40
    with pytest.raises(BadInput, match="dark, light"):
        prior.condition("loud")


# --- the oracle


def test_a_delta_answers_with_its_scene_whatever_the_noise():
    oracle, camera = RenderOracle(TOY.look, image_size=16), turntable(4, size=16)
    truth = TOY.look(camera)[..., :3]
    for t in (0.001, 0.5, 1.0):
        x0 = oracle.denoise(noise(4, 3, 16, 16), t, oracle.condition("x"), camera, guidance=1.0)
        torch.testing.assert_close(oracle.decode(x0), truth, atol=1e-6, rtol=0)
    assert oracle.evaluations == 3
    oracle.denoise(noise(4, 3, 16, 16), 0.5, oracle.condition("x"), camera, guidance=5.0)
    oracle.denoise(noise(4, 3, 16, 16), 0.5, oracle.condition("x"), camera, guidance=0.0)
    assert oracle.evaluations == 6


def test_encode_and_decode_are_inverse_and_carry_coverage():
    oracle = RenderOracle(TOY.look, image_size=16, with_coverage=True)
    assert oracle.latent_shape == (4, 16, 16)
    pictures = TOY.look(turntable(2, size=16))
    torch.testing.assert_close(oracle.decode(oracle.encode(pictures)), pictures)


def test_a_first_sample_is_inconsistent_and_a_regenerated_one_stays_near_the_truth():
    oracle = RenderOracle(TOY.look, image_size=24, candidates=6, turn_deg=6.0, tint=0.2, with_coverage=True)
    camera = turntable(8, size=24)
    truth = TOY.look(camera)

    def sample(z, t):
        words = oracle.condition("x")
        path = times(10, start=t)
        z = dpm_solver_pp(lambda z, t: oracle.denoise(z, t, words, camera), z, path, oracle.alphas_cumprod)
        return oracle.decode(z)

    first = sample(noise(8, 4, 24, 24), 1.0)
    distance = (first[:, None] - oracle.pictures(camera)).abs().amax((2, 3, 4))
    assert (distance.amin(1) < 1e-4).all()  # every view is one of the candidates ...
    assert len(set(distance.argmin(1).tolist())) > 2  # ... and not the same one in every view
    again = sample(
        add_noise(oracle.encode(truth), noise(8, 4, 24, 24, seed=1), alpha_bar_at(oracle.alphas_cumprod, 0.15)), 0.15
    )
    distance = (again[:, None] - oracle.pictures(camera)).square().sum((2, 3, 4))
    assert (distance.argmin(1) == 0).sum() >= 7  # a candidate turned by half a degree is hard to tell from the truth
    assert (again - truth).square().mean() < 0.1 * (first - truth).square().mean()


def test_a_turned_candidate_is_the_scene_seen_from_the_next_azimuth():
    oracle = RenderOracle(TOY.look, image_size=16, candidates=2, turn_deg=10.0, seed=3)
    seen = oracle.pictures(turntable(1, size=16))[0, 1]
    losses = [(TOY.look(orbit(float(a), 15.0, size=16))[0] - seen).abs().mean() for a in range(-40, 41)]
    best = min(losses)
    assert best < 0.01  # some azimuth explains it, and not the untouched one
    assert losses[40] > 2 * best


def test_spread_lets_the_input_through():
    # One Gaussian: eps from the prediction must be the exact conditional mean of eps too.
    oracle, camera = RenderOracle(TOY.look, image_size=8, std=0.5), turntable(1, size=8)
    z = noise(1, 3, 8, 8, dtype=torch.float64)
    ab = alpha_bar_at(oracle.alphas_cumprod, 0.4)
    x0 = oracle.denoise(z, 0.4, oracle.condition("x"), camera)
    mean = oracle.encode(TOY.look(camera)[..., :3]).double()
    wanted = (1 - ab) ** 0.5 / (ab * 0.25 + 1 - ab) * (z - ab**0.5 * mean)
    torch.testing.assert_close(eps_from_x0(z, x0, ab), wanted, atol=1e-6, rtol=0)


# --- the toy scene


def test_the_scene_is_where_it_says_and_lit_from_one_side():
    front = TOY.look(orbit(0.0, 0.0, size=65))[0]
    right = TOY.look(orbit(90.0, 0.0, size=65))[0]
    red, green, blue = front[..., 0], front[..., 1], front[..., 2]
    # The yellow nose points at the camera; the blue post is at +X, right of it; the slab is below.
    nose = front[29:35, 25:31].mean((0, 1))
    assert nose[0] > 0.5
    assert nose[1] > 0.4
    assert nose[2] < 0.2
    columns = torch.arange(65.0)
    is_blue, is_green = (blue > 0.5) & (red < 0.3), (green > 0.4) & (red < 0.3)
    assert (columns * is_blue.sum(0)).sum() / is_blue.sum() > 40
    assert (columns * is_green.sum(1)).sum() / is_green.sum() > 40
    post = right[25:40, 32:36]  # from +X the post stands in front of everything (z = -0.05 is right of the middle)
    assert (post[..., 2] > post[..., 0]).all()
    assert front[0, 0].tolist() == [1.0, 1.0, 1.0, 0.0]


def test_coverage_of_a_ball_is_the_area_of_its_outline():
    nothing = torch.zeros(0, 3)
    ball = Solids(torch.zeros(1, 3), torch.tensor([0.4]), torch.tensor([[0.5, 0.5, 0.5]]), nothing, nothing, nothing)
    camera = turntable(1, 0.0, size=64)
    tangent = 0.4 / (2.2**2 - 0.4**2) ** 0.5  # of the half angle under which the ball is seen
    wanted = torch.pi * (tangent * camera.focal_px[0, 0]) ** 2
    assert ball.look(camera)[..., 3].sum().item() == pytest.approx(wanted.item(), rel=0.005)


# --- the pyramid


def test_the_pyramid_is_the_same_every_time_and_differentiable():
    images = torch.rand(2, 32, 32, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    first, second = RandomPyramid().features(images), RandomPyramid().features(images)
    assert [tuple(x.shape) for x in first] == [(2, 16, 16, 16), (2, 32, 8, 8), (2, 64, 4, 4), (2, 64, 2, 2)]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    sum(x.sum() for x in first).backward()
    assert (images.grad != 0).any(-1).all()  # every pixel counts
    encoder = RandomPyramid()
    vectors = torch.cat([encoder.embed_image(images.detach()), encoder.embed_text(["a", "b"])])
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(4))
