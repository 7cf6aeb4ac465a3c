"""LucidDreamer: interval score matching, noise from a deterministic inversion instead of a dice (arXiv 2311.11284).

A grey ball, or a cloud from elsewhere, descends until the prior finds the same noise in its renderings with words and
without. This module does not know which prior it has or where the asset goes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from maquette.core import BadInput, Constant, Event, Exponential, Linear
from maquette.diffusion import TimeRange
from maquette.guidance import Distillation, ism
from maquette.guidance.distillation import Latents
from maquette.priors import MultiviewPrior
from maquette.representations.gaussians import GaussianCloud
from maquette.training import density, optim, short_loops
from maquette.training.descent import Loop, Moment
from maquette.training.orbits import EXTENT, Around, Widening
from maquette.training.text_to_cloud import Task
from maquette.training.variation import Regularisers, Variation

NEGATIVE = (
    "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, dark, low-resolution, oversaturation."
)
RATES = optim.Rates(
    means=Exponential(1.6e-4 * EXTENT, 1.6e-6 * EXTENT, 5000),
    log_scales=Exponential(5e-3, 1e-3, 5000),
    quats=Exponential(1e-3, 2e-4, 5000),
    logit_opacities=Constant(5e-2),
    sh=Exponential(5e-3, 3e-3, 5000),
)
CONTROL = density.AdaptiveDensity(
    every=100, begin=99, end=3000, gradient=7.5e-4, extent=EXTENT, split_scale=0.003, prune_opacity=0.005,
    prune_scale=0.1, revise_opacity=False, reset_every=300,
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its prior, prompt, first cloud, and seed. The defaults are published."""

    iterations: int = 5000
    """Steps of the distillation."""
    resolution: int = 512
    """Side of the renderings, px."""
    cameras: Widening | Around = field(
        default_factory=lambda: Widening(every=500, elevation_deg=(-15.0, 45.0))
    )  # fmt: skip
    """Where each step looks from."""
    view_words: bool = True
    """Say the side in words, with Perp-Neg, and denoise each view alone, as image priors need; else all views of a step
    are denoised as one set."""
    negative: str | None = NEGATIVE
    """Takes the place of "nothing said" in the guidance."""
    guidance: float = 7.5
    """Classifier-free guidance scale."""
    strength: float = 0.1
    """Factor on the gradient of the distillation; it counts against the regularisers."""
    warm_up: float = 0.3
    """The share of the run in which the next two fall from their first to their last values."""
    times: tuple[float, float, float] = (0.02, 0.98, 0.5)
    """t is drawn between the first of these and a bound that falls from the second to the third."""
    interval: tuple[float, float] = (0.1, 0.05)
    """The step of the match, t - s, first and last."""
    stride: float = 0.2
    """Steps of the inversion up to s."""
    strides: int = 5
    """The most of them."""
    init_points: int = 100_000
    """Gaussians of the grey ball, where no cloud is given."""
    init_radius: float = 0.405
    """Its radius, world units."""
    loop: Loop = field(
        default_factory=lambda: Loop(
            rates=RATES, control=CONTROL, variation=Variation(background=0.66, scale_noise=0.112, flip=0.5),
            regularisers=Regularisers(1.0, 1.0, 1.0), preview_every=100, checkpoint_every=100,
        )
    )  # fmt: skip
    """How the cloud descends."""

    def __post_init__(self) -> None:
        low, first, last = self.times
        if self.iterations < 1 or not 0 < low < min(first, last) <= max(first, last) <= 1:
            raise BadInput(
                f"{self.iterations} iterations and times {self.times}; expected at least 1, and a range in (0, 1]",
                "change them",
            )


PAPER = Config()
"""The published numbers, for image priors of 512 px."""
DEFAULT = Config(
    iterations=150,
    resolution=128,
    cameras=Around(),
    view_words=False,
    negative=None,
    guidance=2.0,
    warm_up=0.8,
    times=(0.2, 0.98, 0.5),
    stride=0.25,
    strides=1,
    init_points=4000,
    init_radius=0.4,
    loop=short_loops.POCKET,
)  # fmt: skip
"""Sized to the pocket prior: sets of four views, no words for sides, no regularisers, a low scale. An inversion keeps
what is there, so sides that were grey stay dull: it is short here, and high noise lasts for most of the run."""
TINY = Config(
    iterations=4, resolution=32, cameras=Around(views=2), view_words=False, negative=None, init_points=64,
    loop=short_loops.TINY,
)  # fmt: skip
"""Seconds, for tests."""


def run(
    config: Config,
    prior: MultiviewPrior,
    *,
    prompt: str,
    initial: GaussianCloud | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Iterator[Event]:
    """Make a `GaussianCloud` from words, starting from `initial` or a grey ball.

    With a folder `checkpoint` the run keeps its state there, and a run that finds a state continues it to the same
    bytes; the state of another run raises `BadInput`. The last event is `Result(cloud, report)`.
    """
    task = Task("lucid", config, prior, prompt, seed, checkpoint)
    low, first, last = config.times
    law = TimeRange(Constant(low), Linear(first, last, 1))
    interval = Linear(*config.interval, 1)

    def guide(latents: Latents, moment: Moment) -> Distillation:
        cooled = moment.progress / config.warm_up if config.warm_up > 0 else 1.0
        t = law.sample(cooled, moment.generator)
        return ism(
            latents, prior, task.words(moment.camera), moment.camera, t, moment.noise(latents),
            interval=interval(cooled), stride=config.stride, strides=config.strides, scale=config.guidance,
            strength=config.strength,
        )  # fmt: skip

    done = yield from task.distilled(guide, initial)
    yield task.result(done.cloud, done.evaluations, done.seconds)
