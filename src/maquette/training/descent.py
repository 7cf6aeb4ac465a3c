"""Descending a cloud of Gaussians under any score distillation: the loop that all those papers share.

Cameras, render, guidance, gradients, density control, checkpoints; it knows neither the guidance nor the prior. A guide
is a closure over the prior and the words; it is told the moment, from which all its randomness comes:

    def guide(latents, moment):
        t = DREAMFUSION.sample(moment.step, moment.generator)
        return sds(latents, prior, words, moment.camera, t, moment.noise(latents))

    done = yield from distill(Loop(), cloud, prior, guide, cameras, evaluations=600, seed=0)
    done.cloud, done.evaluations, done.seconds

`distill` yields `Progress`, `Scalar` ("gradient", "evaluations") and `Preview` events, and returns a `Done`. Methods
are compared fairly by the same cloud, seed, `cameras` and `evaluations`. `descend` is the same loop under any loss.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import BadInput, Camera, Event, NonFinite, Notice, Preview, Progress, Scalar, Streams
from maquette.core.rotation import normalize
from maquette.core.timing import timed
from maquette.guidance import Distillation, Wording, texts_by_view
from maquette.guidance.distillation import Latents
from maquette.guidance.wording import Wordings
from maquette.io.checkpoint import load_own_state, save_state
from maquette.priors import MultiviewPrior
from maquette.priors.sampling import resized
from maquette.render import Rendering, render_gaussians
from maquette.representations.gaussians import GaussianCloud, from_points, state_hash
from maquette.training import density, optim, resume
from maquette.training.variation import Regularisers, Variation, regularisation, varied

Cameras = Callable[[int], Camera]
"""The cameras of a step; the same step must give the same cameras, so that runs resume and methods are comparable."""


@dataclass(frozen=True)
class Moment:
    """What a guide or a loss may depend on besides the cloud."""

    step: int
    progress: float
    """The share of the steps, or of the evaluations, that is spent: in [0, 1)."""
    camera: Camera
    generator: torch.Generator
    """A stream of this step alone, on the CPU."""

    def noise(self, like: Tensor) -> Tensor:
        """Standard normal numbers of the same shape, fresh at each call."""
        return torch.randn(like.shape, generator=self.generator).to(like)


Guide = Callable[[Latents, Moment], Distillation]


@dataclass(frozen=True)
class Loop:
    """How a cloud descends, whatever it descends under."""

    rates: optim.Rates = optim.DREAMGAUSSIAN
    """Learning rates of the raw parameters."""
    control: density.AdaptiveDensity | None = None
    """When and where to clone, split, prune and reset; None keeps the rows."""
    variation: Variation = field(default_factory=Variation)
    """Of the rendering."""
    regularisers: Regularisers = field(default_factory=Regularisers)
    """Added to the distillation."""
    preview_every: int = 50
    """Steps between previews."""
    checkpoint_every: int = 25
    """Steps between checkpoints."""


@dataclass(frozen=True)
class Outcome:
    """One rendering with `probe`, its loss SUMMED over views, and numbers worth plotting."""

    loss: Float[Tensor, ""]
    seen: Rendering
    scalars: dict[str, float]


Objective = Callable[[GaussianCloud, Moment], Outcome]


@dataclass(frozen=True)
class Done:
    """Where a descent stands: all that the rest of it depends on; random streams are named by step."""

    cloud: GaussianCloud
    adam: optim.AdamState
    noticed: density.DensityState
    steps: int = 0
    evaluations: int = 0
    """Of the denoiser, as the prior counts them."""
    seconds: dict[str, float] = field(default_factory=dict)


def distill(
    loop: Loop,
    cloud: GaussianCloud,
    prior: MultiviewPrior,
    guide: Guide,
    cameras: Cameras,
    *,
    steps: int | None = None,
    evaluations: int | None = None,
    seed: int = 0,
    shown: Camera | None = None,
    state_file: Path | None = None,
    identity: dict | None = None,
    stage: str = "distill",
) -> Generator[Event, None, Done]:
    """`descend` under `guide`: renders are laid on white, encoded, and their latents follow the guide's gradient.

    The gradient is summed over views as the guide gives it. Raises what `descend` raises.
    """

    def objective(cloud: GaussianCloud, moment: Moment) -> Outcome:
        seen, images = varied(loop.variation, cloud, moment.camera, moment.generator)
        push = guide(prior.encode(resized(images, prior.image_size)), moment)
        loss = push.loss + regularisation(loop.regularisers, cloud, seen, moment.camera)
        return Outcome(loss, seen, {"gradient": push.gradient_norm})

    return (
        yield from descend(
            loop, cloud, prior, objective, cameras, steps=steps, evaluations=evaluations, seed=seed, shown=shown,
            state_file=state_file, identity=identity, stage=stage,
        )
    )  # fmt: skip


def descend(
    loop: Loop,
    cloud: GaussianCloud,
    prior: MultiviewPrior,
    objective: Objective,
    cameras: Cameras,
    *,
    steps: int | None = None,
    evaluations: int | None = None,
    seed: int = 0,
    shown: Camera | None = None,
    state_file: Path | None = None,
    identity: dict | None = None,
    stage: str = "fit",
) -> Generator[Event, None, Done]:
    """Adam with density control for `steps` steps, or until `evaluations` of the denoiser are spent.

    One of the two is given. A step is never cut short, so up to one step's evaluations may go beyond the budget. Each
    `Preview` shows the cloud from `shown`, else the last rendering.

    With a `state_file` the state is kept there, and one that is found is continued to the same bytes; one of another
    run (by `identity`, plain values, and by the arguments here) raises `BadInput`. A gradient that is not finite raises
    `NonFinite` with the parameter and the step; the cloud from before that step is then in the file. A cloud that loses
    its last row to density control raises `BadInput`, and the file keeps the last checkpoint.
    """
    if (steps is None) == (evaluations is None) or (steps or evaluations or 0) < 1:
        raise BadInput(f"{steps} steps and {evaluations} evaluations; expected one of the two, at least 1", "give one")
    draw = Streams(seed)
    own = {"stage": stage, "seed": seed, "steps": steps, "budget": evaluations, "loop": repr(loop)}
    own |= {"start": state_hash(cloud)}
    at = Done(cloud, optim.start(cloud), density.start(cloud))
    if state_file is not None:
        found = _load(state_file, own | (identity or {}), prior.device)
        if found is not None:
            at = found
            yield Notice(f"continuing {stage} at step {at.steps}")
    at = replace(at, cloud=optim.leaves(at.cloud))

    def keep(done: Done) -> None:
        if state_file is not None:
            _save(state_file, own | (identity or {}), done)

    while (progress := at.steps / steps if steps is not None else at.evaluations / evaluations) < 1:
        moment = Moment(at.steps, progress, cameras(at.steps).to(prior.device), draw.generator(f"{stage}/{at.steps}"))
        try:
            with timed(at.seconds, stage):
                before = prior.evaluations
                outcome = objective(at.cloud, moment)
                outcome.loss.backward()
                _refuse_what_is_not_finite(at.cloud)
                spent = prior.evaluations - before
                after = _stepped(loop, at, outcome, moment, draw.generator(f"{stage}/density/{at.steps}"))
        except NonFinite as error:
            keep(at)
            raise NonFinite(f"{error.message}, at step {at.steps} of {stage}", error.next_step) from error
        if len(after.cloud) == 0:
            raise BadInput(
                f"all Gaussians are too faint or too large at step {at.steps} of {stage}",
                "raise the learning rate of logit_opacities, or lower control.prune_opacity",
            )
        at = replace(after, evaluations=at.evaluations + spent)
        for name, value in ({"evaluations": float(at.evaluations)} | outcome.scalars).items():
            yield Scalar(moment.step, name, value)
        if at.steps % loop.preview_every == 0:
            yield Preview(moment.step, _shown(at.cloud, outcome.seen, shown))
        is_last = at.steps == steps if steps is not None else at.evaluations >= evaluations
        if at.steps % loop.checkpoint_every == 0 or is_last:
            keep(at)
        done, total = (at.steps, steps) if steps is not None else (min(at.evaluations, evaluations), evaluations)
        yield Progress(stage, done, total)
    return replace(at, cloud=at.cloud.detach())


def said(prior: MultiviewPrior, prompt: str, *, negative: str | None, by_view: bool) -> Callable[[Camera], Wordings]:
    """What cameras are told.

    `by_view`: each view alone, with the words for its side and Perp-Neg, as an image prior needs. Else the plain prompt
    for all views as one set, as a multi-view prior wants.
    """
    if by_view:
        return texts_by_view(prior, prompt, negative=negative).at
    words = Wording(prior.condition(prompt), None if negative is None else prior.condition(negative))
    return lambda camera: words


def grey_ball(count: int, radius: float, generator: torch.Generator) -> GaussianCloud:
    """A start that knows nothing: grey points around the origin, denser towards it (the `sphere` of LucidDreamer)."""
    direction = normalize(torch.randn(count, 3, generator=generator))
    points = radius * torch.rand(count, 1, generator=generator) * direction
    return from_points(points, torch.full_like(points, 0.5))


def _stepped(loop: Loop, at: Done, outcome: Outcome, moment: Moment, generator: torch.Generator) -> Done:
    """One step of Adam and, where it is due, of density control."""
    cloud, noticed, control, done = at.cloud, at.noticed, loop.control, at.steps + 1
    if control is not None:
        # The loss is a sum over views, and `observe` expects a mean.
        gradient = outcome.seen.screen_probe.grad / len(moment.camera)
        noticed = density.observe(noticed, gradient, outcome.seen.radii_px, (moment.camera.height, moment.camera.width))
    adam = optim.descend(loop.rates, cloud, at.adam)
    if control is not None and control.is_due(done):
        changed, noticed, rows = density.refine(control, cloud.detach(), noticed, generator)
        cloud, adam = optim.leaves(changed), optim.remap(adam, rows)
    if control is not None and control.is_reset_due(done):
        changed, noticed = density.reset(control, cloud.detach(), noticed)
        cloud, adam = optim.leaves(changed), optim.forget(adam, "logit_opacities")
    return replace(at, cloud=cloud, adam=adam, noticed=noticed, steps=done)


def _refuse_what_is_not_finite(cloud: GaussianCloud) -> None:
    for name, tensor in cloud.tensors().items():
        if tensor.grad is not None and not torch.isfinite(tensor.grad).all():
            raise NonFinite(f"the gradient of {name} is not finite", "lower its learning rate or the guidance scale")


@torch.no_grad()
def _shown(cloud: GaussianCloud, seen: Rendering, camera: Camera | None) -> Float[Tensor, "views height width 3"]:
    if camera is None:
        return seen.color.detach().clamp(0, 1)
    return render_gaussians(cloud, camera, background=cloud.means.new_ones(3)).color.clamp(0, 1)


def _save(path: Path, identity: dict, at: Done) -> None:
    tensors, values = resume.pack(at.cloud, at.adam, at.noticed)
    values |= {"steps": at.steps, "evaluations": at.evaluations, "seconds": at.seconds, "identity": identity}
    save_state(path, tensors, values)


def _load(path: Path, identity: dict, device: torch.device) -> Done | None:
    loaded = load_own_state(path, identity, device)
    if loaded is None:
        return None
    tensors, values = loaded
    fit = resume.unpack(tensors, values)
    return Done(*fit, values["steps"], values["evaluations"], values["seconds"])
