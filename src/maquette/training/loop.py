"""The training loop of the recipes: AdamW, warm-up then decay, EMA, resumable state, a log and a sample sheet.

It knows modules and losses, not what they learn. Progress is a fraction of either a number of steps or a number of
minutes
(summed over resumed runs), and the learning rate follows it: flat, then linear to zero over the last part.
"""

import copy
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from maquette.core.files import atomic_write


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast to train."""

    minutes: float = 0.0
    """Wall-clock minutes over all resumed runs; 0 counts `steps` instead."""
    steps: int = 1000
    """Optimiser steps."""
    rate: float = 1e-3
    """Peak learning rate."""
    warmup: int = 200
    """Steps of linear warm-up."""
    decay_from: float = 0.5
    """Fraction of the run after which the rate falls linearly to 2 % of its peak."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    ema: float = 0.999
    """Decay of the averaged weights."""
    save_minutes: float = 5.0
    """Minutes between saved states and sample sheets."""
    seed: int = 0
    """Seed of the weights and the batches."""
    device: str = "cpu"
    """cpu or cuda."""


def rate_at(config: LoopConfig, step: int, progress: float) -> float:
    """Learning rate at optimiser step `step` of a run that is `progress` in [0, 1] done."""
    late = (progress - config.decay_from) / max(1 - config.decay_from, 1e-9)
    return config.rate * min(1.0, (step + 1) / max(config.warmup, 1)) * (1.0 if late <= 0 else max(0.02, 1 - late))


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, torch.Generator], tuple[Tensor, dict[str, float]]],
    out: Path,
    config: LoopConfig,
    *,
    sheet: Callable[[nn.Module, Path], None] | None = None,
    pure_half: bool = False,
    muon: bool = False,
) -> nn.Module:
    """Train `model` on `loss(model, generator)`; returns the averaged weights.

    With `pure_half` the working weights are bf16 and the optimiser keeps float32 masters, which spares most of the
    memory
    traffic of a transformer on a CPU; else the loss runs under bf16 autocast. With `muon` the matrices inside of blocks
    are learned by Muon (Jordan et al. 2024) with the step lengths of AdamW (Liu et al., arXiv 2502.16982).
    `out/state.pt` is written atomically every few minutes and continued when it exists; `out/log.jsonl` holds the
    losses and
    `sheet(averaged, out/sheet.png)` draws what it has learned.
    """
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device(config.device)
    rank = _join()
    model.to(device).train()
    averaged = copy.deepcopy(model).eval().requires_grad_(False)
    working = copy.deepcopy(model).bfloat16() if pure_half else model
    pairs = list(zip(model.parameters(), working.parameters(), strict=True)) if pure_half else []
    optimizers = _optimizers(model, config, muon)
    generator = torch.Generator().manual_seed(config.seed + 7919 * rank)
    step, spent = 0, 0.0
    state_path = out / "state.pt"
    if state_path.exists():
        state = torch.load(state_path, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        step, spent = state["step"], state["seconds"]
        generator.set_state(state["generator"].cpu()) if rank == 0 else generator.manual_seed(7919 * rank + step)
        print(f"continuing {out} at step {step} after {spent / 60:.1f} min", flush=True)

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "averaged": averaged.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "generator": generator.get_state(),
            "step": step,
            "seconds": spent + time.perf_counter() - start,
        }
        with atomic_write(state_path) as file:
            torch.save(state, file)
        if sheet is not None:
            sheet(averaged, out / "sheet.png")

    start = last_save = time.perf_counter()
    means: dict[str, float] = {}
    while True:
        now = time.perf_counter()
        progress = (spent + now - start) / (60 * config.minutes) if config.minutes else step / config.steps
        progress = _from_first(progress)
        if progress >= 1:
            break
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate_at(config, step, progress)
            optimizer.zero_grad(set_to_none=True)
        for master, used in pairs:
            used.data.copy_(master.data)
            used.grad = None
        with torch.autocast(device.type, torch.bfloat16, enabled=not pure_half):
            value, scalars = loss(working, generator)
        value.backward()
        for master, used in pairs:
            master.grad = None if used.grad is None else used.grad.float()
        _average_gradients(model)
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if torch.isfinite(norm):
            for optimizer in optimizers:
                optimizer.step()
        step += 1
        decay = min(config.ema, step / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - decay)
            for kept, seen in zip(averaged.buffers(), working.buffers(), strict=True):
                kept.copy_(seen)  # running statistics are averages already
        for name, scalar in {"loss": value.item(), "norm": norm.item(), **scalars}.items():
            means[name] = scalar if name not in means else 0.98 * means[name] + 0.02 * scalar
        if step % 50 == 0 and rank == 0:
            row = {"step": step, "minutes": round((spent + now - start) / 60, 2), "progress": round(progress, 4)}
            row |= {name: round(scalar, 5) for name, scalar in means.items()}
            with open(out / "log.jsonl", "a", encoding="utf-8") as log:
                log.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
        if now - last_save > 60 * config.save_minutes:
            if rank == 0:
                save()
            last_save = time.perf_counter()
    if rank == 0:
        save()
    return averaged


def _join() -> int:
    """This process's rank among those that `torchrun` started; 0 when there is only one."""
    if "WORLD_SIZE" not in os.environ:
        return 0
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    return dist.get_rank()


def _from_first(value: float) -> float:
    """The first process's value, for all."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    dist.broadcast(shared, 0)
    return shared.item()


def _average_gradients(model: nn.Module) -> None:
    """The mean over all processes; a parameter that one of them did not use counts as zero there."""
    if not dist.is_initialized():
        return
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = (flat / dist.get_world_size()).split([p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)


def _optimizers(model: nn.Module, config: LoopConfig, muon: bool) -> list[torch.optim.Optimizer]:
    """AdamW, or Muon for the weight matrices of repeated blocks and AdamW for all else."""
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        is_in_a_block = any(part.isdigit() for part in name.split("."))
        is_matrix = name.endswith(".weight") and parameter.ndim == 2
        (matrices if muon and is_in_a_block and is_matrix else rest).append(parameter)
    decay = config.weight_decay
    optimizers = [torch.optim.AdamW(rest, config.rate, betas=(0.9, 0.95), weight_decay=decay, fused=True)]
    if matrices:
        optimizers.append(torch.optim.Muon(matrices, config.rate, decay, adjust_lr_fn="match_rms_adamw"))
    return optimizers
