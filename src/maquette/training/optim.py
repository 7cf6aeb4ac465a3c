"""Adam over the raw parameters of a Gaussian cloud (Kingma and Ba 2015), one rate for each kind, state in the open.

Unlike `torch.optim`, rows may come, go and be frozen between two steps. This module does not know what the loss is.

    cloud, adam = optim.leaves(cloud), optim.start(cloud)
    loss(cloud).backward()
    adam = optim.descend(rates, cloud, adam)
    cloud, adam = optim.leaves(denser), optim.remap(adam, rows)      # after density control
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from maquette.core.schedule import Constant, Cosine, Exponential, Linear, Steps
from maquette.representations.gaussians import GaussianCloud
from maquette.training.density import Rows

Rate = Constant | Linear | Cosine | Exponential | Steps


@dataclass(frozen=True)
class Rates:
    """Learning rates of the raw tensors, in their own units per step."""

    means: Rate
    log_scales: Rate
    quats: Rate
    logit_opacities: Rate
    sh: Rate
    """Of the constant coefficient, the color."""
    higher_sh: float = 1 / 20
    """Factor on the rate of all other coefficients."""


DREAMGAUSSIAN = Rates(
    means=Exponential(1e-3, 2e-5, 500),
    log_scales=Constant(5e-3),
    quats=Constant(5e-3),
    logit_opacities=Constant(5e-2),
    sh=Constant(1e-2),
)
"""Rates of DreamGaussian's first stage (arXiv 2309.16653), for objects in [-0.5, 0.5]^3 and 500 steps."""

KERBL = Rates(
    means=Exponential(1.6e-4, 1.6e-6, 30_000),
    log_scales=Constant(5e-3),
    quats=Constant(1e-3),
    logit_opacities=Constant(5e-2),
    sh=Constant(2.5e-3),
)
"""Rates of Kerbl et al. 2023, for a scene of extent 1 and 30 000 steps."""


@dataclass(frozen=True)
class AdamState:
    """Moments by the name of the raw tensor, and the number of steps so far."""

    exp_avg: dict[str, Tensor]
    exp_avg_sq: dict[str, Tensor]
    step: int = 0


def leaves(cloud: GaussianCloud) -> GaussianCloud:
    """A copy whose raw tensors are leaves of the graph of gradients, ready for `backward` and `descend`."""
    return cloud.map(lambda tensor: tensor.detach().clone().requires_grad_())


def start(cloud: GaussianCloud) -> AdamState:
    """Zero moments."""
    zeros = [{name: torch.zeros_like(x, requires_grad=False) for name, x in cloud.tensors().items()} for _ in range(2)]
    return AdamState(*zeros)


@torch.no_grad()
def descend(
    rates: Rates,
    cloud: GaussianCloud,
    state: AdamState,
    *,
    frozen: Bool[Tensor, " gaussians"] | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-15,
) -> AdamState:
    """One step down the gradients of `cloud`, whose tensors change in place (moments too); gradients are cleared.

    A tensor that has no gradient keeps its values and moments. Rows where `frozen` is true stay the same bit for bit,
    even when momentum or a NaN would move them, and their moments are zero afterwards.
    """
    tensors = {name: tensor for name, tensor in cloud.tensors().items() if tensor.grad is not None}
    before = {name: tensor.clone() for name, tensor in tensors.items()} if frozen is not None else {}
    parts = [part for name, tensor in tensors.items() for part in _parts(rates, name, state, tensor)]
    values, gradients, first, second, rate = (list(column) for column in zip(*parts, strict=True))
    step = state.step + 1
    # Foreach calls because a step touches a few small tensors: the time goes into calls, not into arithmetic.
    torch._foreach_lerp_(first, gradients, 1 - betas[0])
    torch._foreach_mul_(second, betas[1])
    torch._foreach_addcmul_(second, gradients, gradients, value=1 - betas[1])
    root = torch._foreach_sqrt(second)
    torch._foreach_div_(root, (1 - betas[1] ** step) ** 0.5)
    torch._foreach_add_(root, eps)
    torch._foreach_addcdiv_(values, first, root, scalars=[-r / (1 - betas[0] ** step) for r in rate])
    for name, tensor in tensors.items():
        tensor.grad = None
        if frozen is not None:
            mask = frozen.view(-1, *[1] * (tensor.ndim - 1))
            tensor.copy_(torch.where(mask, before[name], tensor))
            state.exp_avg[name].masked_fill_(mask, 0.0)
            state.exp_avg_sq[name].masked_fill_(mask, 0.0)
    return replace(state, step=step)


def remap(state: AdamState, rows: Rows) -> AdamState:
    """The state for the cloud that density control made: moments follow their rows, fresh rows start at zero."""

    def carried(moments: dict[str, Tensor]) -> dict[str, Tensor]:
        taken = {name: moment[rows.parent] for name, moment in moments.items()}
        return {name: x.masked_fill_(rows.is_fresh.view(-1, *[1] * (x.ndim - 1)), 0.0) for name, x in taken.items()}

    return replace(state, exp_avg=carried(state.exp_avg), exp_avg_sq=carried(state.exp_avg_sq))


def forget(state: AdamState, name: str) -> AdamState:
    """The state with zero moments for one raw tensor, such as `logit_opacities` after an opacity reset."""
    zero = torch.zeros_like(state.exp_avg[name])
    return replace(
        state, exp_avg=state.exp_avg | {name: zero}, exp_avg_sq=state.exp_avg_sq | {name: torch.zeros_like(zero)}
    )


def _parts(rates: Rates, name: str, state: AdamState, tensor: Tensor) -> list[tuple]:
    """What one foreach call needs of a raw tensor; the harmonics in two parts with rates of their own."""
    rate = getattr(rates, name)(state.step)
    whole = (tensor, tensor.grad, state.exp_avg[name], state.exp_avg_sq[name])
    if name != "sh" or tensor.shape[1] == 1:
        return [(*whole, rate)]
    base, rest = (tuple(x[:, part] for x in whole) for part in (slice(0, 1), slice(1, None)))
    return [(*base, rate), (*rest, rate * rates.higher_sh)]
