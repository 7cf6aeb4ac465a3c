"""Row counts, closed forms and pictures before and after density control."""

import math
from dataclasses import replace

import pytest
import torch

from maquette.core.camera import orbit
from maquette.core.rotation import quat_to_matrix
from maquette.render.gaussians import render_gaussians
from maquette.representations.gaussians import GaussianCloud, state_hash
from maquette.training import density
from maquette.training.density import AdaptiveDensity, MarkovDensity

SHORT = AdaptiveDensity(reset_every=None, prune_scale=None)


def cloud_of(n: int, *, scale: float = 0.05, opacity: float = 0.4, seed: int = 0) -> GaussianCloud:
    draw = torch.Generator().manual_seed(seed)
    return GaussianCloud(
        means=0.2 * torch.randn(n, 3, generator=draw),
        log_scales=torch.full((n, 3), math.log(scale)) + 0.3 * torch.randn(n, 3, generator=draw),
        quats=torch.randn(n, 4, generator=draw),
        logit_opacities=torch.full((n,), opacity).logit(),
        sh=torch.randn(n, 1, 3, generator=draw),
    )


def seen_with(cloud: GaussianCloud, gradient: torch.Tensor) -> density.DensityState:
    """The state after one view of 2 x 2 px, where pixels are the unit of gradients."""
    screen = torch.stack([gradient, torch.zeros_like(gradient)], dim=-1)[None]
    return density.observe(density.start(cloud), screen, torch.ones(1, len(cloud)), (2, 2))


def test_statistics_average_over_the_views_that_saw_a_row():
    cloud = cloud_of(2)
    screen = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[6.0, 8.0], [1.0, 0.0]]])
    radii = torch.tensor([[2.0, 0.0], [7.0, 4.0]])
    state = density.observe(density.start(cloud), screen, radii, (20, 20))
    # Half a side is 10 px, and a loss averaged over two cameras halves the gradient of each.
    assert torch.equal(state.gradient_sum, 20 * torch.tensor([5.0 + 10.0, 1.0]))
    assert torch.equal(state.seen, torch.tensor([2.0, 1.0]))
    assert torch.allclose(state.radius_max, torch.tensor([7 / 20, 4 / 20]))
    wide = density.observe(density.start(cloud), screen, radii, (20, 40))
    assert torch.allclose(wide.gradient_sum[1], torch.tensor(1.0 * 20 * 2))  # x counts in half-widths


def test_a_view_counts_the_same_alone_and_in_a_batch():
    """The probe of a mean over two equal views has half the gradient of one view each."""
    cloud, camera = cloud_of(20), orbit(torch.tensor([0.0, 0.0]), 10.0, size=24)
    states = []
    for chosen in (camera, camera[0]):
        seen = render_gaussians(cloud, chosen, probe=True, backend="reference")
        seen.color.square().mean().backward()
        states.append(
            density.observe(density.start(cloud), seen.screen_probe.grad, seen.radii_px, (camera.height, camera.width))
        )
    both, one = states
    assert float(one.gradient_sum.max()) > 0
    assert torch.allclose(both.gradient_sum, 2 * one.gradient_sum, rtol=1e-4)
    assert torch.equal(both.seen, 2 * one.seen)


def test_row_counts_order_and_parents():
    """4 rows: one below the threshold, one cloned, one split, one pruned. The survivors come first."""
    cloud = replace(
        cloud_of(4),
        log_scales=torch.tensor([0.02, 0.002, 0.02, 0.02]).log()[:, None].repeat(1, 3),
        logit_opacities=torch.tensor([0.5, 0.5, 0.5, 0.004]).logit(),
    )
    state = seen_with(cloud, torch.tensor([1e-4, 3e-4, 3e-4, 1e-4]))
    before = state_hash(cloud)
    new, fresh, rows = density.refine(SHORT, cloud, state, torch.Generator().manual_seed(0))
    assert state_hash(cloud) == before, "the given cloud is untouched"
    assert rows.parent.tolist() == [0, 1, 1, 2, 2]
    assert rows.is_fresh.tolist() == [False, False, True, True, True]
    assert len(new) == 5
    assert all(float(x.abs().sum()) == 0 and len(x) == 5 for x in (fresh.gradient_sum, fresh.seen, fresh.radius_max))
    assert torch.equal(new.means[:3], cloud.means[[0, 1, 1]])
    assert torch.allclose(new.scales[3:], cloud.scales[[2, 2]] / 1.6)
    assert torch.equal(new.quats[3:], cloud.quats[[2, 2]])
    assert torch.equal(new.sh[3:], cloud.sh[[2, 2]])
    assert not torch.equal(new.means[3], new.means[4])


def test_children_are_drawn_from_their_parent():
    """20 000 children of one Gaussian have its mean and its covariance."""
    parent = replace(cloud_of(1, seed=3), log_scales=torch.tensor([[0.2, 0.1, 0.05]]).log())
    crowd = parent.select(torch.zeros(10_000, dtype=torch.int64))
    new, _, rows = density.refine(SHORT, crowd, seen_with(crowd, torch.ones(10_000)), torch.Generator().manual_seed(1))
    assert len(new) == 20_000
    assert bool(rows.is_fresh.all())
    rotation = quat_to_matrix(parent.quats)[0]
    expected = rotation @ torch.diag(parent.scales[0] ** 2) @ rotation.T
    offset = new.means - parent.means
    assert torch.allclose(
        offset.T @ offset / len(new), expected, atol=0.04 * float(expected.max())
    )  # 3 sigma of 20 000
    assert torch.allclose(offset.mean(dim=0), torch.zeros(3), atol=0.005)


@pytest.mark.parametrize("quantile", [0.5, 0.9])
def test_a_quantile_does_not_care_for_the_scale_of_the_loss(quantile):
    cloud = cloud_of(100)
    gradient = torch.rand(100, generator=torch.Generator().manual_seed(5))
    config = replace(SHORT, quantile=quantile, split_scale=9.0)
    for scale in (1e-6, 1e6):
        new, _, rows = density.refine(config, cloud, seen_with(cloud, scale * gradient), torch.Generator())
        grown = rows.parent[rows.is_fresh]
        assert len(grown) == round(100 * (1 - quantile))
        assert float(gradient[grown].min()) >= float(gradient.sort().values[-len(grown)])
        assert len(new) == 100 + len(grown)
    still, _, _ = density.refine(config, cloud, seen_with(cloud, 0 * gradient), torch.Generator())
    assert len(still) == 100, "without any gradient nothing grows"


def test_the_largest_gradients_get_the_last_places():
    cloud = cloud_of(10)
    state = seen_with(cloud, torch.arange(1.0, 11.0))
    _, _, rows = density.refine(replace(SHORT, most=13), cloud, state, torch.Generator().manual_seed(0))
    assert sorted(set(rows.parent[rows.is_fresh].tolist())) == [7, 8, 9]
    assert len(rows.parent) == 13
    _, _, rows = density.refine(replace(SHORT, most=4), cloud, state, torch.Generator().manual_seed(0))
    assert rows.parent.tolist() == list(range(10)), "a full cloud does not grow, and loses nothing"


def test_large_rows_are_pruned_after_the_first_reset_only():
    config = AdaptiveDensity(prune_scale=0.1, prune_radius=0.5)
    cloud = replace(cloud_of(3, opacity=0.5), log_scales=torch.tensor([0.2, 0.05, 0.05]).log()[:, None].repeat(1, 3))
    state = density.observe(density.start(cloud), torch.zeros(1, 3, 2), torch.tensor([[1.0, 1.0, 16.0]]), (20, 20))
    draw = torch.Generator()
    assert len(density.refine(config, cloud, state, draw)[0]) == 3
    assert density.refine(replace(config, reset_every=None), cloud, state, draw)[2].parent.tolist() == [1]
    cut, state = density.reset(config, cloud, state)
    assert torch.allclose(cut.opacities, torch.full((3,), 0.01))
    _, state, rows = density.refine(config, cut, state, draw)
    assert rows.parent.tolist() == [1]
    assert state.resets == 1
    faint = replace(cloud, logit_opacities=torch.full((3,), -9.0))
    assert torch.equal(density.reset(config, faint, state)[0].logit_opacities, faint.logit_opacities), "never raised"


def test_children_do_not_inherit_the_radius_of_their_parent():
    """A row that was seen too large on screen is split, and its children, which nobody has seen yet, stay."""
    cloud = cloud_of(2)
    screen = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    state = density.observe(density.start(cloud), screen, torch.tensor([[16.0, 16.0]]), (20, 20))
    _, _, rows = density.refine(replace(SHORT, prune_radius=0.5), cloud, state, torch.Generator().manual_seed(0))
    assert rows.parent.tolist() == [0, 0]


def test_revised_opacity_keeps_the_picture():
    """Two coincident copies of opacity 1 - sqrt(1 - o) cover as much as one of o: exactly at its centre."""
    cloud = replace(cloud_of(1, scale=0.1, opacity=0.7), means=torch.zeros(1, 3), log_scales=torch.full((1, 3), -2.3))
    camera = orbit(0.0, 0.0, size=33)
    config = replace(SHORT, split_scale=9.0)
    state = seen_with(cloud, torch.ones(1))
    before = render_gaussians(cloud.to(torch.float64), camera.to(torch.float64), backend="reference").alpha
    pictures = {}
    for revise in (True, False):
        new, _, _ = density.refine(replace(config, revise_opacity=revise), cloud, state, torch.Generator())
        assert len(new) == 2
        pictures[revise] = render_gaussians(new.to(torch.float64), camera.to(torch.float64), backend="reference").alpha
    assert float((pictures[True] - before)[0, 16, 16].abs()) < 1e-6, "exact at the centre"
    brighter = {revise: float((alpha - before).abs().mean()) for revise, alpha in pictures.items()}
    assert brighter[True] < 0.25 * brighter[False], "and closer everywhere"


@pytest.mark.parametrize("opacity", [1e-6, 0.5, 1 - 1e-6])
def test_revised_opacity_at_the_ends_of_the_range(opacity):
    logit = torch.tensor([opacity], dtype=torch.float64).logit()
    revised = density._shared_logit(logit, 2.0).sigmoid()
    assert torch.allclose((1 - revised) ** 2, 1 - torch.tensor([opacity], dtype=torch.float64), rtol=1e-9)


def test_due_steps():
    config = AdaptiveDensity(every=50, begin=0, end=200, reset_every=120)
    assert [step for step in range(300) if config.is_due(step)] == [50, 100, 150]
    assert [step for step in range(300) if config.is_reset_due(step)] == [120]
    assert not any(replace(config, reset_every=None).is_reset_due(step) for step in range(300))


def test_empty_and_never_seen_clouds():
    for cloud in (cloud_of(0), cloud_of(3)):
        new, _, rows = density.refine(replace(SHORT, quantile=0.9), cloud, density.start(cloud), torch.Generator())
        assert len(new) == len(cloud) == len(rows.parent)
        assert len(density.relocate(MarkovDensity(growth=1.0), cloud, torch.Generator())[0]) == len(cloud)


@pytest.mark.parametrize(
    ("opacity", "copies", "shared", "factor"),
    [(0.3, 2, 0.16334, 0.97461), (0.9, 2, 0.68377, 0.86794), (0.3, 3, 0.112096, 0.966352), (0.3, 1, 0.3, 1.0)],
)
def test_golden_numbers_of_coincident_copies(opacity, copies, shared, factor):
    got = density.coincident(torch.tensor([opacity]), torch.tensor([copies]))
    assert got[0].item() == pytest.approx(shared, abs=1e-5)
    assert got[1].item() == pytest.approx(factor, abs=1e-5)


def test_coincident_copies_keep_the_projected_mass():
    """Eq. 10 makes the line integral through N copies (composited) equal to that through one; here by quadrature."""
    x = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    for opacity, copies in ((0.6, 2), (0.95, 7), (0.5, 51)):
        shared, factor = density.coincident(torch.tensor([opacity], dtype=torch.float64), torch.tensor([copies]))
        one = opacity * torch.exp(-0.5 * x**2)
        many = 1 - (1 - shared * torch.exp(-0.5 * (x / factor) ** 2)) ** copies
        assert torch.trapezoid(many, x).item() == pytest.approx(torch.trapezoid(one, x).item(), rel=1e-6)


def test_relocation_moves_the_dead_and_keeps_the_rest():
    cloud = replace(cloud_of(6), logit_opacities=torch.tensor([0.6, 0.004, 0.5, 0.001, 1e-9, 0.7]).logit())
    before = state_hash(cloud)
    new, rows = density.relocate(MarkovDensity(growth=1.0), cloud, torch.Generator().manual_seed(2))
    assert state_hash(cloud) == before
    assert len(new) == 6
    assert bool((new.opacities > 0.005).all())
    sources = set(rows.parent[[1, 3, 4]].tolist())
    assert sources <= {0, 2, 5}
    for source in sources:
        group = new.select(rows.parent == source)
        assert bool((group.means == cloud.means[source]).all())
        covered = 1 - (1 - group.opacities).prod()
        assert covered.item() == pytest.approx(cloud.opacities[source].item(), rel=1e-5)
    untouched = [row for row in (0, 2, 5) if row not in sources]
    assert not bool(rows.is_fresh[untouched].any())
    assert bool(rows.is_fresh[[1, 3, 4, *sources]].all())
    assert torch.equal(new.log_scales[untouched], cloud.log_scales[untouched])


def test_relocation_draws_by_opacity_and_grows_to_the_cap():
    cloud = replace(
        cloud_of(2000), logit_opacities=torch.cat([torch.full((1000,), 0.2), torch.full((1000,), 0.6)]).logit()
    )
    new, rows = density.relocate(MarkovDensity(growth=2.0), cloud, torch.Generator().manual_seed(3))
    assert len(new) == 4000
    assert torch.equal(rows.parent[:2000], torch.arange(2000))
    share = (rows.parent[2000:] >= 1000).float().mean().item()
    assert share == pytest.approx(0.75, abs=0.03)  # 3 sigma of 2000 draws
    capped, _ = density.relocate(MarkovDensity(growth=2.0, most=2100), cloud, torch.Generator())
    assert len(capped) == 2100


def test_relocation_keeps_the_picture():
    cloud = cloud_of(30, scale=0.08, opacity=0.5)
    camera = orbit(torch.tensor([0.0, 120.0]), 10.0, size=32)
    new, _ = density.relocate(MarkovDensity(growth=1.5), cloud, torch.Generator().manual_seed(0))
    naive = cloud.select(torch.arange(45) % 30)
    picture, same, brighter = (render_gaussians(x, camera, backend="reference").color for x in (cloud, new, naive))
    assert float((same - picture).abs().mean()) < 0.2 * float((brighter - picture).abs().mean())


def test_noise_has_the_shape_of_the_gaussian_and_spares_the_opaque():
    n, rate = 4000, 1e-3
    one = replace(cloud_of(1, seed=4), log_scales=torch.tensor([[0.3, 0.1, 0.02]]).log())
    crowd = replace(one.select(torch.zeros(n, dtype=torch.int64)), logit_opacities=torch.full((n,), -20.0))
    config = MarkovDensity(noise=10.0)
    shift = density.wander(config, crowd, rate, torch.Generator().manual_seed(0)) / (rate * 10.0)
    rotation = quat_to_matrix(one.quats)[0]
    sigma = rotation @ torch.diag(one.scales[0] ** 2) @ rotation.T
    faint = 1 / (1 + math.exp(-0.5))  # sigmoid(100 * 0.005) at opacity 0
    local = shift @ rotation / faint  # in the Gaussian's own axes, standard deviations scales^2
    assert torch.allclose(local.std(dim=0), one.scales[0] ** 2, rtol=0.05)
    assert torch.allclose(shift.T @ shift / n / faint**2, sigma @ sigma, atol=0.05 * float((sigma @ sigma).max()))
    opaque = replace(crowd, logit_opacities=torch.full((n,), 2.0))
    assert float(density.wander(config, opaque, rate, torch.Generator().manual_seed(0)).abs().max()) < 1e-30


def test_regulariser_is_the_weighted_mean():
    cloud = cloud_of(50)
    value = density.parsimony(MarkovDensity(opacity_weight=2.0, scale_weight=3.0), cloud)
    assert value.item() == pytest.approx(2 * cloud.opacities.mean().item() + 3 * cloud.scales.mean().item())
