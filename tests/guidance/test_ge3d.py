import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maquette.core import BadInput
from maquette.diffusion import add_noise, alpha_bar_at
from maquette.guidance import Wording, ge3d, sds
from maquette.guidance.ge3d import balancing, reconstruct
from maquette.guidance.nodes import Nodes
from maquette.guidance.wording import blank_eps, guided_eps

NODES = tuple((level + 1) / 1000 for level in range(0, 421, 70))
ONES = (1.0,) * 6


def run(prior, latents, nodes=NODES, weights=ONES, **options):
    options.setdefault("strength", 1.0)
    words, camera = Wording(prior.condition("y")), orbit_of(len(latents))
    return ge3d(latents, prior, words, camera, nodes, weights, **options)


def orbit_of(count):
    from maquette.core import orbit

    return orbit(torch.zeros(count), 0.0, size=1)


# --- T1


def test_the_trajectories_to_the_printed_digits(standard, point):
    noising = [0.500000, 0.485784, 0.480969, 0.477026, 0.473434, 0.470093, 0.467015]
    for scale, denoising, residuals in [
        (1.0, [0.953655, 0.889448, 0.822875, 0.745984, 0.659550, 0.565604],
         [-0.453655, -0.403664, -0.341907, -0.268958, -0.186115, -0.095511]),
        (7.5, [1.073382, 1.159425, 1.250107, 1.384192, 1.456210, 1.226308],
         [-0.573382, -0.673641, -0.769139, -0.907165, -0.982776, -0.756216]),
    ]:  # fmt: skip
        push = run(standard, point(0.5), scale=scale)
        assert [r.item() for r in push.residuals] == pytest.approx(residuals, abs=6e-7)
        denoised = [z - r for z, r in zip(noising, residuals, strict=False)]
        assert denoised == pytest.approx(denoising, abs=2e-6)
        assert push.clean.item() == pytest.approx(denoising[0], abs=6e-7)
        assert push.nodes == NODES and push.t == NODES[-1]


@pytest.mark.parametrize(
    ("scale", "wanted"),
    [(1.0, (-0.184433, -0.296682, -0.395048)), (7.5, (-0.856181, -0.805866, -0.677740))],
)
def test_the_weighted_sum_to_the_printed_digits(standard, point, scale, wanted):
    for step, value in zip((0, 1500, 3000), wanted, strict=True):
        push = run(standard, point(0.5), weights=balancing(step, 3000), scale=scale)
        assert push.gradient.item() == pytest.approx(value, abs=1e-6)  # printed from weights in float32
        tenth = run(standard, point(0.5), weights=balancing(step, 3000), scale=scale, strength=0.1)
        torch.testing.assert_close(tenth.gradient, 0.1 * push.gradient)


# --- T2


def roots(prior, guesses, step, scale, reach):
    """Whether G changes sign from - to + within `reach` of each guess: descent converges there."""
    sides = torch.tensor([[guess - reach, guess + reach] for guess in guesses], dtype=torch.float64)
    gradient = run(prior, sides.reshape(-1, 1, 1, 1), weights=balancing(step, 3000), scale=scale).gradient
    below, above = gradient.reshape(-1, 2).T
    return bool((below < 0).all() and (above > 0).all())


@pytest.mark.parametrize(
    ("scale", "wanted"),
    [(1.0, (1.4519, 1.3167, 1.2068)), (3.0, (1.5774, 1.3944, 1.2330)), (7.5, (1.6081, 1.3830, 1.1950))],
)
def test_fixed_points_hardly_depend_on_the_scale(standard, scale, wanted):
    for step, root in zip((0, 1500, 3000), wanted, strict=True):
        assert roots(standard, [root], step, scale, reach=6e-5)


def test_fixed_points_of_a_delta_of_agreeing_means_and_of_a_narrow_blank(laws):
    delta = laws(y=([1.0], 0.0), blank=([0.0], 1.0))
    for scale, wanted in ((1.0, (1.3411, 1.2047, 1.0949)), (7.5, (1.4589, 1.2444, 1.0700))):
        for step, root in zip((0, 1500, 3000), wanted, strict=True):
            assert roots(delta, [root], step, scale, reach=6e-5)
    agreeing = laws(y=([1.0], 1e-4), blank=([1.0], 1.0))
    for scale in (1.0, 7.5):
        for step in (0, 1500, 3000):
            assert roots(agreeing, [0.9996], step, scale, reach=6e-5)
    narrow = laws(y=([1.0], 0.3), blank=([0.0], 0.3))  # not a stand-in for "all images": the root runs away
    for step, root, reach in ((0, 14.4, 0.06), (1500, 6.77, 6e-3), (3000, 3.37, 6e-3)):
        assert roots(narrow, [root], step, 1.0, reach)


def test_each_element_finds_its_own_fixed_point(laws):
    # 4 x 8 x 8 elements with means of their own: shifting both laws by m shifts what eps sees, up to the tiny noise of
    # the first node (0.04 % of the signal), so the root for mean m is m + 1.2068 at the end of the run.
    means = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    prior = laws(y=(means + 1, 0.3), blank=(means, 1.0))
    x = means + 0.5
    for _ in range(25):
        x = x - run(prior, x, weights=balancing(3000, 3000), scale=1.0).gradient
    torch.testing.assert_close(x - means, torch.full_like(x, 1.2068), atol=1e-2, rtol=0)


def test_descending_over_the_run_ends_at_the_published_numbers(standard, point):
    # 3001 steps of 0.01 end at 1.2174 and 1.2041 (they do). A thirtieth of the steps, each thirty times as long, is the
    # same flow with a little less lag behind the falling fixed point.
    for scale, end in ((1.0, 1.2174), (7.5, 1.2041)):
        x = point(0.5)
        for step in range(0, 3001, 30):
            x = x - 0.3 * run(standard, x, weights=balancing(step, 3000), scale=scale).gradient
        assert x.item() == pytest.approx(end, abs=3e-3)


# --- T3 to T6


def test_one_predictor_both_ways_returns_at_first_order(laws, point):
    prior = laws(y=([1.0], 0.3), blank=([1.0], 0.3))
    for jump, wanted in ((70, 0.2074), (35, 0.1279), (14, 0.0608), (7, 0.0327)):
        nodes = tuple((level + 1) / 1000 for level in range(0, 421, jump))
        push = run(prior, point(0.5), nodes, (1.0,) * 60, scale=1.0)
        assert max(r.abs().item() for r in push.residuals) == pytest.approx(wanted, abs=6e-5)


def test_one_pair_is_interval_score_matching(standard, point, time):
    nodes = (time(200), time(280))
    push = run(standard, point(0.5), nodes, (1.0,))
    assert push.gradient.item() == pytest.approx(-0.951494, abs=6e-7)
    # sqrt(ab_s) (sigma_t - sigma_s) (eps_hat(z_t) - eps_blank(z_s)), each from its own call
    words, camera = Wording(standard.condition("y")), orbit_of(1)
    a_s, a_t = (alpha_bar_at(standard.alphas_cumprod, t) ** 0.5 for t in nodes)
    sigma_s, sigma_t = ((1 / a**2 - 1) ** 0.5 for a in (a_s, a_t))
    before = blank_eps(standard, point(0.5), nodes[0], words, camera)
    z = a_t * (point(0.5) / a_s + (sigma_t - sigma_s) * before)
    after = guided_eps(standard, z, nodes[1], words, camera, 7.5)
    torch.testing.assert_close(push.gradient, a_s * (sigma_t - sigma_s) * (after - before))


def test_one_pair_with_random_noise_is_score_distillation(standard, point, time):
    t, noise = time(500), point(0.3)
    words, camera = Wording(standard.condition("y")), orbit_of(1)
    push = sds(point(0.5), standard, words, camera, t, noise, scale=7.5, weighting="uniform")
    alpha_bar = alpha_bar_at(standard.alphas_cumprod, t)
    z = add_noise(point(0.5), noise, alpha_bar)
    eps = guided_eps(standard, z, t, words, camera, 7.5)
    back = (z - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5
    torch.testing.assert_close(0.5 - back, ((1 - alpha_bar) / alpha_bar) ** 0.5 * push.gradient)


def test_the_gradient_of_the_image_is_the_weighted_sum_bit_for_bit(standard, point):
    theta, weights = point(0.5, -0.3).requires_grad_(), balancing(700, 3000)
    push = run(standard, theta, weights=weights, strength=0.1)
    push.loss.backward()
    total = torch.zeros_like(theta)
    for weight, residual in zip(weights, push.residuals, strict=True):
        total += weight * residual
    assert torch.equal(theta.grad, 0.1 * total)
    assert not any(r.requires_grad for r in push.residuals)
    assert standard.evaluations == 6 + 2 * 6  # up with nothing said, down with both


def test_the_exact_jacobian_is_the_derivative_of_the_squared_residuals(standard, point):
    # With constant predictions, z(t_i) = sqrt(ab_i / ab_0) z(t_0) + const, and the other trajectory is a target.
    push = run(standard, point(0.5), jacobian="sqrt_alpha")
    a = [alpha_bar_at(standard.alphas_cumprod, t) ** 0.5 for t in NODES]
    theta = point(0.5).requires_grad_()
    moved = [r + a_i / a[0] * (theta - theta.detach()) for r, a_i in zip(push.residuals, a, strict=False)]
    (wanted,) = torch.autograd.grad(sum(r.square().sum() for r in moved), theta)
    torch.testing.assert_close(push.gradient, wanted)


def test_the_negative_text_may_lead_the_way_up(standard, point):
    words = Wording(standard.condition("y"), standard.condition("negative"))
    push = {
        way: ge3d(point(0.5), standard, words, orbit_of(1), NODES, ONES, inversion=way) for way in ("blank", "negative")
    }
    assert push["blank"].residuals[5].item() != pytest.approx(push["negative"].residuals[5].item(), abs=1e-2)
    swapped = Wording(standard.condition("y"))
    standard.laws["blank"] = standard.laws["negative"]
    again = ge3d(point(0.5), standard, swapped, orbit_of(1), NODES, ONES)
    torch.testing.assert_close(push["negative"].gradient, again.gradient)


def test_pairs_that_were_not_reached_are_dropped_and_reconstruction_is_the_end(standard, point):
    weights = balancing(0, 3000)
    short = run(standard, point(0.5), NODES[:4], weights)
    total = sum(w * r for w, r in zip(weights[:3], short.residuals, strict=True))
    torch.testing.assert_close(short.gradient, total)
    truth = reconstruct(point(0.5), standard, Wording(standard.condition("y")), orbit_of(1), NODES[:4])
    assert torch.equal(truth, short.clean)
    with pytest.raises(BadInput, match="2 weights for 6 pairs"):
        run(standard, point(0.5), weights=weights[:2])


# --- T7


def test_it_ends_at_the_mode_on_the_side_where_it_began(laws, point):
    prior = laws(y=([-1.0, 1.0], 0.2), blank=([0.0], 1.2))
    starts = point(0.05, 0.3, 0.8, -0.05, -0.3, -0.8)
    for scale, end in ((1.0, 1.0592), (7.5, 1.0833)):
        x = starts
        for step in range(0, 3001, 60):
            x = x - 0.6 * run(prior, x, weights=balancing(step, 3000), scale=scale).gradient
        torch.testing.assert_close(x, end * starts.sign(), atol=3e-3, rtol=0)


def test_score_distillation_forgets_the_start_instead(laws, point):
    prior, draw = laws(y=([-1.0, 1.0], 0.2), blank=([0.0], 1.2)), torch.Generator().manual_seed(0)
    words, x = Wording(prior.condition("y")), point(0.05, 0.3, 0.8, -0.05, -0.3, -0.8)
    for _ in range(400):
        t = (21 + int(torch.randint(960, (), generator=draw))) / 1000
        noise = torch.randn(1, 1, 1, 1, generator=draw, dtype=torch.float64).expand_as(x)
        x = x - 0.02 * sds(x, prior, words, orbit_of(6), t, noise, scale=100.0).gradient
    assert (x.sign() == x[0].sign()).all() and x.std() < 1e-2


# --- T8 and the coefficients


@given(
    progress=st.floats(0, 1),
    seed=st.integers(0, 2**31),
    nodes=st.sampled_from(
        [Nodes(), Nodes(8, (50, 40), (60, 50), (450, 350)), Nodes(6, (100, 70), (110, 80), (700, 400))]
    ),
)
def test_nodes_rise_within_their_bounds(progress, seed, nodes):
    def between(ends):
        return ends[0] - int((ends[0] - ends[1]) * progress)

    times = nodes.sample(progress, torch.Generator().manual_seed(seed))
    levels = [round(t * 1000) - 1 for t in times]
    gaps = [after - before for before, after in zip(levels[:-1], levels[1:], strict=True)]
    assert levels[0] == 0 and levels[-1] < between(nodes.farthest) and len(levels) <= nodes.count + 1
    assert all(between(nodes.jump_min) <= gap < between(nodes.jump_max) for gap in gaps)
    assert len(levels) == 7 or nodes != Nodes()  # the default always takes its six jumps


def test_nodes_average_as_simulated_and_refuse_what_cannot_be():
    draw = torch.Generator().manual_seed(0)
    for progress, farthest in ((0.0, 417), (0.5, 327), (1.0, 237)):
        ends = [1000 * Nodes().sample(progress, draw)[-1] - 1 for _ in range(1500)]
        assert sum(ends) / len(ends) == pytest.approx(farthest, abs=2)
    with pytest.raises(BadInput, match="no jump"):
        Nodes(farthest=(50, 50)).sample(0.0, draw)


def test_coefficients_to_the_printed_digits():
    table = {
        0: (0.0043, 0.0217, 0.0764, 0.1881, 0.3229, 0.3866),
        750: (0.0223, 0.0720, 0.1619, 0.2539, 0.2779, 0.2121),
        1500: (0.0833, 0.1712, 0.2455, 0.2455, 0.1712, 0.0833),
        3000: (0.3866, 0.3229, 0.1881, 0.0764, 0.0217, 0.0043),
    }
    for step, wanted in table.items():
        assert balancing(step, 3000) == pytest.approx(wanted, abs=6e-5)
    longer = {
        0: (0, 0, 0.0008, 0.0075, 0.0446, 0.1598, 0.3437, 0.4436),
        2500: (0.0126, 0.0580, 0.1611, 0.2683, 0.2683, 0.1611, 0.0580, 0.0126),
    }
    for step, wanted in longer.items():
        assert balancing(step, 5000, pairs=8) == pytest.approx(wanted, abs=6e-5)
    assert balancing(10, 100, pairs=1) == (1.0,)
    assert balancing(1000, 3000, width=1.0) == pytest.approx((0, 0, 0, 1, 0, 0))  # one pair after the other


@given(step=st.integers(0, 400), pairs=st.integers(2, 9))
def test_coefficients_sum_to_one_and_mirror(step, pairs):
    weights = balancing(step, 400, pairs=pairs, width=133)
    assert sum(weights) == pytest.approx(1)
    assert balancing(400 - step, 400, pairs=pairs, width=133) == pytest.approx(weights[::-1])
