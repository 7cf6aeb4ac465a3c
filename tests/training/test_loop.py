import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from maquette.training.loop import LoopConfig, fit, rate_at


def _problem(with_blocks=False):
    torch.manual_seed(3)
    model = torch.nn.Linear(3, 1)
    if with_blocks:
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))

    def loss(net, generator):
        x = torch.randn(16, 3, generator=generator).to(next(net.parameters()).dtype)
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


def test_muon_turns_a_block_by_a_multiple_of_an_orthogonal_matrix_and_adamw_the_rest(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 2))
    before = [parameter.detach().clone() for parameter in model.parameters()]

    def loss(net, generator):
        x = torch.randn(32, 8, generator=generator)
        return net(x).square().sum(), {}

    config = LoopConfig(steps=1, rate=0.1, warmup=1, decay_from=1.0, weight_decay=0.0)
    fit(model, loss, tmp_path, config, muon=True)
    square, bias, wide, _ = (p.detach() - old for p, old in zip(model.parameters(), before, strict=True))
    for change, side in ((square, 8), (wide, 8)):
        lengths = torch.linalg.svdvals(change) / (0.1 * 0.2 * side**0.5)  # Liu et al., eq. 4
        known = lengths[: torch.linalg.matrix_rank(wide)]  # two outputs: the gradient of the square one has rank 2
        assert ((known > 0.6) & (known < 1.3)).all()
    torch.testing.assert_close(bias.abs(), torch.full((8,), 0.1), rtol=1e-3, atol=0)  # the first step of Adam: a sign


@pytest.mark.parametrize("muon", [False, True])
def test_an_interrupted_run_continues_to_the_same_weights(tmp_path, muon):
    config = LoopConfig(steps=60, rate=0.05, warmup=5, save_minutes=0.0)
    model, loss = _problem(muon)
    whole = fit(model, loss, tmp_path / "whole", config, muon=muon)

    model, loss = _problem(muon)
    calls = 0

    def stopped(net, generator):
        nonlocal calls
        calls += 1
        if calls == 31:
            raise KeyboardInterrupt
        return loss(net, generator)

    with pytest.raises(KeyboardInterrupt):
        fit(model, stopped, tmp_path / "cut", config, muon=muon)
    model, loss = _problem(muon)
    again = fit(model, loss, tmp_path / "cut", config, muon=muon)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


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


WORKER = """
import sys
from pathlib import Path

import torch

from maquette.training.loop import LoopConfig, fit

torch.manual_seed(0)
model = torch.nn.Linear(2, 1, bias=False)
rank = int(sys.argv[2])


def loss(net, generator):
    value = (net.weight - torch.tensor([[1.0, 0.0], [0.0, 3.0]][rank])).square().sum()
    return value, {"draw": torch.rand((), generator=generator).item()}


config = LoopConfig(steps=150, rate=0.05, warmup=1, weight_decay=0.0, ema=0.5)
fit(model, loss, Path(sys.argv[1]), config)
print([round(x, 3) for x in model.weight.flatten().tolist()])
"""


def test_two_processes_learn_from_the_mean_of_their_gradients(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    workers = [
        subprocess.Popen(
            [sys.executable, script, tmp_path / "run", str(rank)],
            env=group | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [worker.communicate(timeout=120)[0].splitlines()[-1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert said[0] == said[1]  # the same weights in both
    assert json.loads(said[0]) == pytest.approx([0.5, 1.5], abs=0.02)  # the minimum of the mean, not of either
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [50, 100, 150]  # one of them writes
