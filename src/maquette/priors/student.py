"""A copy of the pocket prior that keeps learning: the student of variational score distillation.

The paper adds low-rank adapters to a copy of a billion parameters. This prior has nine million, so all of them learn.
"""

import copy
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core.camera import Camera
from maquette.core.errors import Unsupported
from maquette.diffusion import level_of, x0_from_v
from maquette.priors.multiview import MultiviewLatentPrior, orbit_angles
from maquette.priors.protocol import Condition, Latents, MultiviewPrior


@runtime_checkable
class Learns(MultiviewPrior, Protocol):
    """A prior that is trained while it is asked: `denoise` is differentiable in what `transformer` holds."""

    transformer: nn.Module
    optimizer: torch.optim.Optimizer

    def learn(self, loss: Float[Tensor, ""]) -> None:
        """One step of the optimiser down the gradient of `loss`."""
        ...


class Student(MultiviewLatentPrior):
    """`MultiviewPrior` whose transformer is a float32 copy with gradients; it shares everything else with its teacher.

    Every forward pass, also one that only learns, counts as an evaluation.
    """

    def __init__(self, teacher: MultiviewLatentPrior, *, rate: float = 1e-4):
        super().__init__(
            copy.deepcopy(teacher.transformer).float().requires_grad_(True), teacher.text_encoder, teacher.tokenizer,
            teacher.vae, teacher.alphas_cumprod,
        )  # fmt: skip
        self.optimizer = torch.optim.AdamW(self.transformer.parameters(), lr=rate)

    def denoise(
        self, latents: Latents, t: float, condition: Condition, camera: Camera, *,
        guidance: float = 1.0, rescale: float = 0.0,
    ) -> Latents:  # fmt: skip
        """x0 under the words, differentiable in the parameters; a student is never guided (`Unsupported`)."""
        level = level_asked(self, t, guidance)
        time = torch.full((1,), float(level), device=self.device)
        v = self.transformer(latents[None], time, condition.text, condition.mask, *orbit_angles(camera))[0]
        return x0_from_v(latents.float(), v.float(), float(self.alphas_cumprod[level]))

    def learn(self, loss: Float[Tensor, ""]) -> None:
        """One step of AdamW down the gradient of `loss`."""
        step_down(self.optimizer, loss)


def level_asked(student: MultiviewPrior, t: float, guidance: float) -> int:
    """The entry of the table for `t`, and one evaluation more; a student is never guided (`Unsupported`)."""
    if guidance != 1:
        raise Unsupported(f"a student with guidance {guidance}", "guide its teacher; a student is asked with 1")
    student.evaluations += 1
    return max(level_of(t, len(student.alphas_cumprod)), 0)


def step_down(optimizer: torch.optim.Optimizer, loss: Float[Tensor, ""]) -> None:
    """One step of the optimiser down the gradient of `loss`."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
