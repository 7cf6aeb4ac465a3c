"""Adam against torch's own, moments through density control, frozen rows, and a whole fit."""

import copy

import pytest
import torch

from maquette.core.camera import turntable
from maquette.core.schedule import Constant, Exponential
from maquette.priors.analytic import Solids
from maquette.render.gaussians import render_gaussians
from maquette.representations.gaussians import GaussianCloud, from_points
from maquette.training import density, optim
from maquette.training.density import AdaptiveDensity, Rows
from maquette.training.optim import Rates

RATES = Rates(Exponential(1e-2, 1e-3, 5), Constant(2e-2), Constant(3e-2), Constant(4e-2), Constant(5e-2))


def some_cloud(n: int = 7, coefficients: int = 4) -> GaussianCloud:
    draw = torch.Generator().manual_seed(0)
    shapes = ((n, 3), (n, 3), (n, 4), (n,), (n, coefficients, 3))
    return optim.leaves(GaussianCloud(*(torch.randn(shape, generator=draw) for shape in shapes)))


def set_gradients(cloud: GaussianCloud, step: int, scale: float = 1.0) -> None:
    draw = torch.Generator().manual_seed(step)
    for tensor in cloud.tensors().values():
        tensor.grad = scale * torch.randn(tensor.shape, generator=draw)


def test_agrees_with_torch_adam():
    ours = some_cloud()
    theirs = copy.deepcopy(ours.tensors())
    adam = optim.start(ours)
    base, rest = (theirs["sh"][:, part].detach().clone().requires_grad_() for part in (slice(0, 1), slice(1, None)))
    groups = [{"params": [theirs[name]], "lr": 0.0} for name in ("means", "log_scales", "quats", "logit_opacities")]
    torch_adam = torch.optim.Adam([*groups, {"params": [base]}, {"params": [rest]}], eps=1e-15)
    for step in range(8):
        set_gradients(ours, step)
        gradients = [x.grad.clone() for x in ours.tensors().values()]
        rates = [RATES.means(step), 2e-2, 3e-2, 4e-2, 5e-2, 5e-2 / 20]
        for group, gradient, rate in zip(
            torch_adam.param_groups, [*gradients[:4], gradients[4][:, :1], gradients[4][:, 1:]], rates, strict=True
        ):
            group["lr"], group["params"][0].grad = rate, gradient
        torch_adam.step()
        adam = optim.descend(RATES, ours, adam)
    assert adam.step == 8
    theirs["sh"] = torch.cat([base, rest], dim=1)
    for name, tensor in ours.tensors().items():
        assert tensor.grad is None
        assert torch.allclose(tensor, theirs[name], rtol=1e-5, atol=1e-6), name


def test_a_tensor_without_gradient_keeps_its_values_and_moments():
    cloud = some_cloud()
    adam = optim.start(cloud)
    set_gradients(cloud, 0)
    cloud.quats.grad = None
    before = cloud.quats.detach().clone()
    adam = optim.descend(RATES, cloud, adam)
    assert torch.equal(cloud.quats, before)
    assert float(adam.exp_avg["quats"].abs().sum()) == 0
    assert float(adam.exp_avg["means"].abs().sum()) > 0


def test_frozen_rows_stay_bit_for_bit():
    """Even with momentum from before, huge and NaN gradients, and a -0.0 whose sign arithmetic would lose."""
    cloud = some_cloud(50)
    with torch.no_grad():
        cloud.means[3] = -0.0
    adam = optim.start(cloud)
    for step in range(3):
        set_gradients(cloud, step)
        adam = optim.descend(RATES, cloud, adam)
    with torch.no_grad():
        cloud.means[3] = -0.0
    frozen = torch.arange(50) % 3 == 0
    before = {name: tensor.detach().clone() for name, tensor in cloud.tensors().items()}
    for step in range(20):
        set_gradients(cloud, step, scale=1e6)
        cloud.means.grad[6] = float("nan")
        adam = optim.descend(RATES, cloud, adam, frozen=frozen)
    for name, tensor in cloud.tensors().items():
        kept, now = before[name][frozen], tensor.detach()[frozen]
        assert torch.equal(kept.view(torch.int32), now.view(torch.int32)), name
        moved = (before[name] != tensor.detach())[~frozen]
        assert bool(moved.reshape(len(moved), -1).all()), name
        assert float(adam.exp_avg[name][frozen].abs().sum()) == 0
        assert float(adam.exp_avg_sq[name][frozen].abs().sum()) == 0


def test_moments_follow_their_rows():
    cloud = some_cloud(4)
    adam = optim.start(cloud)
    set_gradients(cloud, 0)
    adam = optim.descend(RATES, cloud, adam)
    rows = Rows(torch.tensor([0, 3, 3, 1, 1]), torch.tensor([False, False, True, True, True]))
    mapped = optim.remap(adam, rows)
    assert mapped.step == adam.step
    for old, new in ((adam.exp_avg, mapped.exp_avg), (adam.exp_avg_sq, mapped.exp_avg_sq)):
        for name in old:
            assert torch.equal(new[name][:2], old[name][[0, 3]])
            assert float(new[name][2:].abs().sum()) == 0
            assert float(old[name].abs().min()) > 0, "the old state is untouched"


def test_forgetting_touches_one_tensor():
    cloud = some_cloud()
    set_gradients(cloud, 0)
    adam = optim.descend(RATES, cloud, optim.start(cloud))
    after = optim.forget(adam, "logit_opacities")
    assert float(after.exp_avg["logit_opacities"].abs().sum()) == 0
    assert float(after.exp_avg_sq["logit_opacities"].abs().sum()) == 0
    assert after.exp_avg["means"] is adam.exp_avg["means"]


@pytest.mark.parametrize("strategy", ["adaptive", "markov"])
def test_fit_of_a_solid_scene(strategy):
    """From 60 grey points in the middle to at least 25 dB on views of a red ball on a slab that the fit never saw."""
    camera = turntable(8, 15.0, size=32)
    target = Solids.toy().look(camera)[..., :3]
    draw = torch.Generator().manual_seed(0)
    start = from_points(0.15 * torch.randn(60, 3, generator=draw), torch.full((60, 3), 0.5), opacity=0.5)
    cloud, adam, state = optim.leaves(start), optim.start(start), density.start(start)
    rates = Rates(Exponential(1e-2, 1e-3, 150), Constant(2e-2), Constant(1e-2), Constant(5e-2), Constant(3e-2))
    adaptive = AdaptiveDensity(every=25, begin=0, end=120, quantile=0.7, extent=1.0, split_scale=0.05, most=200,
                               prune_scale=0.3, reset_every=None)  # fmt: skip
    markov = density.MarkovDensity(every=25, begin=0, end=120, growth=1.4, most=200, noise=100.0)
    white = torch.ones(3)
    for step in range(1, 151):
        chosen = torch.randperm(8, generator=draw)[:2]
        seen = render_gaussians(cloud, camera[chosen], background=white, probe=True)
        loss = (seen.color - target[chosen]).abs().mean()
        if strategy == "markov":
            loss = loss + density.parsimony(markov, cloud)
        loss.backward()
        state = density.observe(state, seen.screen_probe.grad, seen.radii_px, (camera.height, camera.width))
        adam = optim.descend(rates, cloud, adam)
        if strategy == "adaptive" and adaptive.is_due(step):
            denser, state, rows = density.refine(adaptive, cloud.detach(), state, draw)
            cloud, adam = optim.leaves(denser), optim.remap(adam, rows)
        if strategy == "markov":
            with torch.no_grad():
                cloud.means.add_(density.wander(markov, cloud, rates.means(step), draw))
            if markov.is_due(step):
                denser, rows = density.relocate(markov, cloud.detach(), draw)
                cloud, adam, state = optim.leaves(denser), optim.remap(adam, rows), density.start(denser)
    assert 60 < len(cloud) <= 200
    with torch.no_grad():
        error = (render_gaussians(cloud, camera, background=white).color - target).square().mean()
    assert -10 * torch.log10(error).item() > 25
