"""Adam over any module under any objective: the loop that fields, tetrahedra and their textures share.

Cameras, objective, gradients, checkpoints; it knows neither the thing nor the prior's guidance. Everything that the
next step depends on is in the state of the module, of Adam, and of what else learns; random streams are named by step.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maquette.core import Event, NonFinite, Notice, Preview, Progress, Scalar, Streams
from maquette.core.timing import timed
from maquette.io.checkpoint import load_own_state, save_state
from maquette.priors import MultiviewPrior
from maquette.training.descent import Cameras, Moment
from maquette.training.optim import Rate

Groups = Sequence[tuple[list[nn.Parameter], Rate]]
BETAS, EPS = (0.9, 0.99), 1e-15
"""Of Adam, as threestudio and ProlificDreamer have them for hash grids."""


@dataclass(frozen=True)
class Pace:
    """How often a descent shows and keeps itself, in steps."""

    preview_every: int = 50
    checkpoint_every: int = 50


@dataclass(frozen=True)
class Learner:
    """Something that learns beside the module, such as a student, and the state of its optimiser."""

    module: nn.Module
    optimizer: torch.optim.Optimizer


@dataclass(frozen=True)
class Outcome:
    """What one look at the module says."""

    loss: Float[Tensor, ""]
    scalars: dict[str, float]
    """Numbers worth plotting."""
    afterwards: Callable[[], None] = lambda: None
    """Done once the step is taken: all that changes a state besides the module's parameters."""


@dataclass(frozen=True)
class Done:
    """Where a descent stands."""

    steps: int = 0
    evaluations: int = 0
    """Of the denoiser, as the prior counts them."""
    seconds: dict[str, float] = field(default_factory=dict)


def descend(
    module: nn.Module,
    groups: Groups,
    prior: MultiviewPrior,
    objective: Callable[[Moment], Outcome],
    cameras: Cameras,
    *,
    steps: int,
    pace: Pace,
    picture: Callable[[], Float[Tensor, "images height width 3"]],
    seed: int,
    stage: str,
    learners: dict[str, Learner] | None = None,
    state_file: Path | None = None,
    identity: dict | None = None,
) -> Generator[Event, None, Done]:
    """Change `module` in place by `steps` steps of Adam down the losses of `objective`; `picture` is the preview.

    With a `state_file` the state is kept there, and one that is found is continued to the same bytes; one of another
    run (by `identity`, plain values, and by the arguments here) raises `BadInput`. A gradient that is not finite raises
    `NonFinite` with the parameter and the step; the state from before that step is then in the file.
    """
    draw = Streams(seed)
    own = {"stage": stage, "seed": seed, "steps": steps} | (identity or {})
    adam = torch.optim.Adam([{"params": parameters} for parameters, _ in groups], betas=BETAS, eps=EPS)
    parts = {"module": Learner(module, adam)} | (learners or {})
    at = Done()
    if state_file is not None and (loaded := load_own_state(state_file, own, prior.device)) is not None:
        tensors, values = loaded
        for name, part in parts.items():
            _restore(part, name, tensors)
        at = Done(values["steps"], values["evaluations"], values["seconds"])
        yield Notice(f"continuing {stage} at step {at.steps}")

    def keep(done: Done) -> None:
        if state_file is not None:
            tensors = {key: x for name, part in parts.items() for key, x in _packed(part, name).items()}
            values = {"steps": done.steps, "evaluations": done.evaluations, "seconds": done.seconds, "identity": own}
            save_state(state_file, tensors, values)

    while at.steps < steps:
        camera = cameras(at.steps).to(prior.device)
        moment = Moment(at.steps, at.steps / steps, camera, draw.generator(f"{stage}/{at.steps}"))
        before = prior.evaluations
        adam.zero_grad(set_to_none=True)
        try:
            with timed(at.seconds, stage):
                outcome = objective(moment)
                outcome.loss.backward()
                refuse_what_is_not_finite(module)
        except NonFinite as error:
            keep(at)
            raise NonFinite(f"{error.message}, at step {at.steps} of {stage}", error.next_step) from error
        with timed(at.seconds, stage):
            for group, (_, rate) in zip(adam.param_groups, groups, strict=True):
                group["lr"] = rate(at.steps)
            adam.step()
            outcome.afterwards()
        at = replace(at, steps=at.steps + 1, evaluations=at.evaluations + prior.evaluations - before)
        for name, value in ({"evaluations": float(at.evaluations)} | outcome.scalars).items():
            yield Scalar(moment.step, name, value)
        if at.steps % pace.preview_every == 0:
            with torch.no_grad():
                yield Preview(moment.step, picture())
        if at.steps % pace.checkpoint_every == 0 or at.steps == steps:
            keep(at)
        yield Progress(stage, at.steps, steps)
    return at


def refuse_what_is_not_finite(module: nn.Module) -> None:
    """Raise `NonFinite` for a gradient with NaN or infinity, by the name of its parameter."""
    for name, parameter in module.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            raise NonFinite(f"the gradient of {name} is not finite", "lower its learning rate or the guidance scale")


def _packed(part: Learner, name: str) -> dict[str, Tensor]:
    """Parameters, buffers and what the optimiser remembers of each parameter."""
    tensors = {f"{name}.{key}": x for key, x in part.module.state_dict().items()}
    remembered = part.optimizer.state_dict()["state"]
    return tensors | {f"adam/{name}/{i}/{key}": x for i, state in remembered.items() for key, x in state.items()}


def _restore(part: Learner, name: str, tensors: dict[str, Tensor]) -> None:
    """The inverse of `_packed`, in place."""
    own = {key.removeprefix(f"{name}."): x for key, x in tensors.items() if key.startswith(f"{name}.")}
    part.module.load_state_dict(own)
    remembered: dict[int, dict[str, Tensor]] = {}
    for key, x in tensors.items():
        if key.startswith(f"adam/{name}/"):
            _, _, index, entry = key.split("/")
            remembered.setdefault(int(index), {})[entry] = x
    part.optimizer.load_state_dict(part.optimizer.state_dict() | {"state": remembered})
