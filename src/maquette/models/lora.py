"""Low-rank adapters (Hu et al., arXiv 2106.09685): a large network learns a little, and stays whole.

W x becomes W x + (alpha / r) B A x on the projections of every attention. B begins at zero, so nothing changes at
first; only A and B learn. The weights W are shared with the network they come from: not copied, merged or changed.
"""

import copy
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core.errors import BadInput

PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
"""Names of the linear maps of diffusers' `Attention`; those of self-attention and of cross-attention alike."""


class LowRankUpdate(nn.Module):
    """(alpha / r) B A x in float32, with the names and the first values that peft gives."""

    def __init__(self, inputs: int, outputs: int, *, rank: int, alpha: float, generator: torch.Generator):
        super().__init__()
        self.scale = alpha / rank
        self.lora_A = nn.Linear(inputs, rank, bias=False)
        self.lora_B = nn.Linear(rank, outputs, bias=False)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        return (self.scale * self.lora_B(self.lora_A(x.float()))).to(x.dtype)


class Adapted(nn.Module):
    """A linear map and its update."""

    def __init__(self, linear: nn.Linear, update: LowRankUpdate):
        super().__init__()
        self.linear, self.update = linear, update

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        return self.linear(x) + self.update(x)


def adapt(
    network: nn.Module, *, rank: int = 4, alpha: float | None = None, generator: torch.Generator
) -> tuple[nn.Module, nn.ModuleDict]:
    """A network that shares every weight of `network`, and its adapters, which alone learn.

    The shared weights must not ask for gradients. `alpha` is `rank` if left out. Keys of the adapters are paths with
    "/" for ".". Raises `BadInput` where there is no attention to adapt.
    """
    if rank < 1:
        raise BadInput(f"adapters of rank {rank}; expected at least 1", "the usual rank is 4")
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    student = copy.deepcopy(network, shared)  # what deepcopy finds in its memory, it does not copy
    adapters = nn.ModuleDict()
    for path, module in list(student.named_modules()):
        if not (isinstance(module, nn.Linear) and path.endswith(PROJECTIONS)):
            continue
        update = LowRankUpdate(
            module.in_features, module.out_features, rank=rank, alpha=alpha or rank, generator=generator
        ).to(module.weight.device)
        student.set_submodule(path, Adapted(module, update))
        adapters[path.replace(".", "/")] = update
    if not adapters:
        raise BadInput(f"{type(network).__name__} has no attention of diffusers' kind", "train a whole copy of it")
    return student, adapters
