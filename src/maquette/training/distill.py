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
from maquette.core.timing import timed
from maquette.guidance import Distillation
from maquette.guidance.distillation import Latents
from maquette.guidance.regularisers import disparity, total_variation
from maquette.io.checkpoint import load_state, save_state
from maquette.priors import MultiviewPrior
from maquette.priors.sampling import resized
from maquette.render import Rendering, random_color, render_gaussians
from maquette.representations.gaussians import GaussianCloud, state_hash
from maquette.training import density, optim, resume

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
class Variation:
    """Random changes of a rendering before the prior sees it; none by default."""

    background: float = 0.0
    """Probability of a background that is not white: half of those have a random color, half are black. Keep it at 0
    for priors that know coverage, whose pictures are on white."""
    scale_noise: float = 0.0
    """Standard deviation of noise on the scales of the Gaussians, relative to each (GE3D: sqrt(0.2) / 4)."""
    flip: float = 0.0
    """Probability of mirroring all views of the step. Keep it at 0 for priors that are told the cameras."""


@dataclass(frozen=True)
class Regularisers:
    """Weights of what is added to the distillation; 0 leaves a term out."""

    color_variation: float = 0.0
    """Total variation of the colors (LucidDreamer and GE3D: 1)."""
    disparity_variation: float = 0.0
    """Total variation of the disparity (LucidDreamer and GE3D: 1)."""
    scales: float = 0.0
    """The mean standard deviation of the Gaussians (LucidDreamer and GE3D: 1)."""


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
        seen, images = varied(loop.variation, cloud, moment)
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


def varied(
    variation: Variation, cloud: GaussianCloud, moment: Moment
) -> tuple[Rendering, Float[Tensor, "views height width 4"]]:
    """The rendering of the step with a probe, and what the prior gets to see of it: color and coverage."""
    background = cloud.means.new_ones(3)
    if torch.rand((), generator=moment.generator) < variation.background:
        is_colored = torch.rand((), generator=moment.generator) < 0.5
        background = random_color(moment.generator).to(background) if is_colored else torch.zeros_like(background)
    if variation.scale_noise > 0:
        factor = 1 + variation.scale_noise * moment.noise(cloud.log_scales.detach())
        cloud = replace(cloud, log_scales=cloud.log_scales + factor.clamp_min(1e-2).log())
    seen = render_gaussians(cloud, moment.camera, background=background, probe=True)
    images = torch.cat([seen.color, seen.alpha[..., None]], dim=-1)
    if torch.rand((), generator=moment.generator) < variation.flip:
        images = images.flip(2)
    return seen, images


def regularisation(
    weights: Regularisers, cloud: GaussianCloud, seen: Rendering, camera: Camera
) -> Float[Tensor, ""] | float:
    """The weighted sum; a term with weight 0 costs nothing."""
    total = 0.0
    if weights.color_variation > 0:
        total = total + weights.color_variation * total_variation(seen.color)
    if weights.disparity_variation > 0:
        near = disparity(seen.depth, seen.alpha, camera.focal_px[:, 0])
        total = total + weights.disparity_variation * total_variation(near[..., None])
    if weights.scales > 0:
        total = total + weights.scales * cloud.scales.mean()
    return total


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
    loaded = load_state(path)
    if loaded is None:
        return None
    tensors, values = {name: x.to(device) for name, x in loaded[0].items()}, loaded[1]
    other = [name for name, value in identity.items() if values["identity"].get(name) != value]
    if other:
        raise BadInput(
            f"{path} belongs to another run: its {', '.join(other)} differs", "delete it, or choose another folder"
        )
    fit = resume.unpack(tensors, values)
    return Done(*fit, values["steps"], values["evaluations"], values["seconds"])
