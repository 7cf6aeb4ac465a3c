import pytest
import torch

from maquette.training.loop import LoopConfig, fit, rate_at


def _problem():
    torch.manual_seed(3)
    model = torch.nn.Linear(3, 1)

    def loss(net, generator):
        x = torch.randn(16, 3, generator=generator).to(net.weight.dtype)
        target = x @ torch.tensor([[1.0], [-2.0], [0.5]]).to(x.dtype)
        return ((net(x) - target) ** 2).float().mean(), {}

    return model, loss


@pytest.mark.parametrize("pure_half", [False, True])
def test_it_learns_a_linear_map(tmp_path, pure_half):
    model, loss = _problem()
    config = LoopConfig(steps=400, rate=0.05, warmup=10, ema=0.9, weight_decay=0.0)
    averaged = fit(model, loss, tmp_path, config, pure_half=pure_half)
    assert torch.allclose(averaged.weight, torch.tensor([[1.0, -2.0, 0.5]]), atol=0.05)
    assert averaged.weight.dtype == torch.float32


def test_an_interrupted_run_continues_to_the_same_weights(tmp_path):
    config = LoopConfig(steps=60, rate=0.05, warmup=5, save_minutes=0.0)
    model, loss = _problem()
    whole = fit(model, loss, tmp_path / "whole", config)

    model, loss = _problem()
    calls = 0

    def stopped(net, generator):
        nonlocal calls
        calls += 1
        if calls == 31:
            raise KeyboardInterrupt
        return loss(net, generator)

    with pytest.raises(KeyboardInterrupt):
        fit(model, stopped, tmp_path / "cut", config)
    model, loss = _problem()
    again = fit(model, loss, tmp_path / "cut", config)
    assert torch.equal(whole.weight, again.weight) and torch.equal(whole.bias, again.bias)


def test_a_gradient_that_is_not_a_number_changes_nothing(tmp_path):
    model, loss = _problem()
    before = model.weight.detach().clone()

    def broken(net, generator):
        value, scalars = loss(net, generator)
        return value * torch.nan, scalars

    fit(model, broken, tmp_path, LoopConfig(steps=3))
    assert torch.equal(model.weight, before)


def test_the_rate_warms_up_stays_and_falls():
    config = LoopConfig(rate=1.0, warmup=10, decay_from=0.5)
    assert rate_at(config, 0, 0.0) == pytest.approx(0.1)
    assert rate_at(config, 50, 0.4) == 1.0
    assert rate_at(config, 50, 0.75) == pytest.approx(0.5)
    assert rate_at(config, 50, 1.0) == pytest.approx(0.02)


def test_the_averaged_network_keeps_the_running_statistics(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1))

    def loss(net, generator):
        return net(5 + torch.randn(64, 2, generator=generator)).square().mean(), {}

    averaged = fit(model, loss, tmp_path, LoopConfig(steps=60, warmup=1))
    assert torch.allclose(averaged[0].running_mean, torch.full((2,), 5.0), atol=0.2)
