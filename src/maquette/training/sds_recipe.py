"""Plain score distillation of one cloud of Gaussians: DreamGaussian, GaussianDreamer and GSGEN differ in numbers only.

Where the cloud comes from, which noise level at which step, how rendering grows, and the loop. The files in `pipelines`
hold each paper's numbers. This module does not know which prior it has or where the asset goes.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import BadInput, Camera, Event, Notice, Preview, turntable
from maquette.core.schedule import Constant, Linear
from maquette.diffusion import TimeRange
from maquette.diffusion.annealing import DREAMFUSION
from maquette.guidance import Distillation, sds
from maquette.guidance.distillation import Latents, pull
from maquette.priors import MultiviewPrior
from maquette.priors.sampling import ViewSampler
from maquette.representations.gaussians import GaussianCloud, from_points
from maquette.representations.hull import hull_points
from maquette.training.anywhere import Anywhere
from maquette.training.descent import Loop, Moment, grey_ball
from maquette.training.orbits import Around, Widening
from maquette.training.text_to_cloud import Task

DRAWN_VIEWS, DRAWN_STEPS, DRAWN = 16, 10, {"guidance": 4.0, "rescale": 0.5}
DISAGREEING = 0.2
"""The share of the drawn views that may see nothing at a place of their hull."""


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its prior, prompt, first cloud, and seed."""

    iterations: int
    """Steps of the distillation."""
    resolution: int
    """Side of the last renderings, px."""
    doublings: tuple[float, ...] = ()
    """Shares of the run at which the side of the renderings doubles, up to `resolution`."""
    cameras: Widening | Around | Anywhere = field(default_factory=Around)
    """Where each step looks from."""
    view_words: bool = True
    """Say the side in words, with Perp-Neg, and denoise each view alone, as image priors need; else all views of a step
    are denoised as one set."""
    negative: str | None = None
    """Takes the place of "nothing said" in the guidance."""
    times: TimeRange = DREAMFUSION
    """Between which two schedules, of the step, the noise level is drawn."""
    guidance: float = 100.0
    """Classifier-free guidance scale."""
    clip: Constant | Linear | None = None
    """The largest absolute value of the gradient of each latent, by step."""
    start: Literal["ball", "hull"] = "ball"
    """Where no cloud is given: a grey ball, or the hull of views that the prior draws, as a multi-view prior can."""
    init_points: int = 5000
    """Gaussians of the ball or the hull."""
    init_radius: float = 0.5
    """Of the ball, world units."""
    init_opacity: float = 0.1
    """Of what is not given."""
    grown: int = 0
    """Points drawn in the box around the first cloud, to keep those near to one of it (GaussianDreamer)."""
    grown_within: float = 0.005
    """How near, world units."""
    loop: Loop = field(default_factory=Loop)
    """How the cloud descends."""

    def __post_init__(self) -> None:
        if self.iterations < 1 or not all(0 < share < 1 for share in self.doublings):
            raise BadInput(
                f"{self.iterations} iterations with doublings at {self.doublings}; expected at least 1, and shares",
                "change them",
            )


def run_sds(
    name: str, config: Config, prior: MultiviewPrior, *, prompt: str, initial: GaussianCloud | None, seed: int,
    checkpoint: Path | None,
) -> Iterator[Event]:  # fmt: skip
    """Make a `GaussianCloud` from words, starting from `initial`, the hull of drawn views, or a grey ball.

    With a folder `checkpoint` the run keeps its state there, and a run that finds a state continues it to the same
    bytes; the state of another run raises `BadInput`. The last event is `Result(cloud, report)`.
    """
    task, seconds, before = Task(name, config, prior, prompt, seed, checkpoint), {}, prior.evaluations
    if initial is None:  # drawn again on a resumed run: the same cloud, for the price of a few steps
        initial = yield from _first_cloud(task, seconds)
    drawn = prior.evaluations - before
    if config.grown:
        initial = grown(initial, config.grown, config.grown_within, task.draw.generator("grown"))

    def cameras(step: int) -> Camera:
        waiting = sum(step < share * config.iterations for share in config.doublings)
        return config.cameras.at(step, task.draw.generator(f"cameras/{step}"), config.resolution >> waiting)

    def guide(latents: Latents, moment: Moment) -> Distillation:
        t = config.times.sample(moment.step, moment.generator)
        push = sds(
            latents, prior, task.words(moment.camera), moment.camera, t, moment.noise(latents), scale=config.guidance
        )
        if config.clip is None:
            return push
        bound = config.clip(moment.step)
        return pull(latents, push.gradient.clamp(-bound, bound), clean=push.clean, t=t)

    done = yield from task.distilled(guide, initial, cameras=cameras)
    yield task.result(done.cloud, drawn + done.evaluations, seconds | done.seconds)


def grown(cloud: GaussianCloud, tries: int, within: float, generator: torch.Generator) -> GaussianCloud:
    """Noisy point growing (GaussianDreamer, section 3.3): more points around those that there are, in like colors.

    `tries` uniform draws in the box of the cloud; those at most `within` world units from a point stay, with its color
    plus U(0, 0.2). All rows come out round, and as wide as their neighbourhood.
    """
    from scipy.spatial import cKDTree

    points, colors = cloud.means.detach().cpu(), cloud.rgb.detach().cpu()
    low, high = points.amin(0), points.amax(0)
    more = low + (high - low) * torch.rand(tries, 3, generator=generator)
    distance, nearest = (torch.from_numpy(x) for x in cKDTree(points.numpy()).query(more.numpy()))
    near = distance <= within
    paint = colors[nearest[near]] + 0.2 * torch.rand(int(near.sum()), 3, generator=generator)
    opacity = float(cloud.opacities.mean())
    both = from_points(torch.cat([points, more[near]]), torch.cat([colors, paint]).clamp(0, 1), opacity=opacity)
    return both.to(cloud.means.device)


def _first_cloud(task: Task, seconds: dict[str, float]) -> Generator[Event, None, GaussianCloud]:
    config, draw = task.config, task.draw
    if config.start == "hull":
        rgba, camera = yield from _drawn(task, seconds)
        points, colors = hull_points(
            rgba, camera, config.init_points, draw.generator("hull"), disagreeing=DISAGREEING
        )  # fmt: skip
        if len(points):
            return from_points(points, colors, opacity=config.init_opacity)
        yield Notice("the drawn views have no hull; starting from a grey ball")
    ball = grey_ball(config.init_points, config.init_radius, draw.generator("points"))
    return replace(ball, logit_opacities=torch.logit(torch.full_like(ball.logit_opacities, config.init_opacity)))


def _drawn(
    task: Task, seconds: dict[str, float]
) -> Generator[Event, None, tuple[Float[Tensor, "views size size 4"], Camera]]:
    """A turntable of views as the prior draws it."""
    prior, size = task.prior, task.prior.image_size
    camera = turntable(DRAWN_VIEWS, 15.0, size=size).to(prior.device)
    sampler = ViewSampler(prior, prior.condition(task.prompt), camera, size, DRAWN)
    noise = torch.randn(DRAWN_VIEWS, *prior.latent_shape, generator=task.draw.generator("drawn"))
    rgba = yield from sampler.views("views", noise, 1.0, DRAWN_STEPS, seconds)
    yield Preview(0, rgba[..., :3])
    return rgba, camera
