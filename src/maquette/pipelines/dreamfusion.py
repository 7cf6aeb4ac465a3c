"""DreamFusion: a radiance field descends under score distillation of its lit pictures (arXiv 2209.14988).

A soft ball becomes what the prior would rather see from everywhere; light from changing places lets only true shapes
look right. This module does not know which prior it has or where the asset goes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from maquette.core import (
    BadInput,
    Constant,
    Event,
    Exponential,
    Linear,
    Steps,
    Streams,
)
from maquette.diffusion import TimeRange
from maquette.guidance import Distillation, sds
from maquette.guidance.distillation import Latents
from maquette.kernels.hashgrid import GridShape
from maquette.priors import MultiviewPrior
from maquette.representations.field import FieldShape
from maquette.training.descent import Moment, said
from maquette.training.field_descent import Light, Loop, one_field
from maquette.training.module_descent import Pace
from maquette.training.orbits import Around
from maquette.training.volume import Penalties, Rates, Volume


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its prior, prompt and seed. The defaults are threestudio's."""

    iterations: int = 10_000
    """Steps of the distillation."""
    view_words: bool = True
    """Say the side in words, with Perp-Neg, and denoise each view alone, as image priors need; else all views of a step
    are denoised as one set."""
    negative: str | None = None
    """Takes the place of "nothing said" in the guidance."""
    guidance: float = 101.0
    """Classifier-free guidance scale; the paper writes 100 and counts from 1."""
    times: tuple[float, float, float] = (0.02, 0.98, 0.98)
    """t is drawn between the first of these and a bound that moves from the second to the third."""
    shape: FieldShape = field(
        default_factory=lambda: FieldShape(half_size=1.0, sees_direction=False, activation="softplus", blob=10.0)
    )
    """The field, and the ball that it starts as."""
    learned_background: bool = True
    """Behind the field: a learned color of each direction, else white."""
    loop: Loop = field(default_factory=Loop)
    """How the field descends."""

    def __post_init__(self) -> None:
        low, first, last = self.times
        if self.iterations < 1 or not 0 < low < min(first, last) <= max(first, last) <= 1:
            raise BadInput(
                f"{self.iterations} iterations and times {self.times}; expected at least 1, and a range in (0, 1]",
                "change them",
            )

    @property
    def resolution(self) -> int:
        """Side of the last renderings, px."""
        return round(self.loop.resolution(self.iterations))


PAPER = Config()
"""The published numbers, as threestudio has them for Stable Diffusion."""
DEFAULT = Config(
    iterations=200,
    view_words=False,
    guidance=6.0,
    shape=FieldShape(
        GridShape(levels=6, base=8, finest=64, log2_entries=15), hidden=32, sees_direction=False,
        activation="softplus", blob=1.5,
    ),
    learned_background=False,
    loop=Loop(
        cameras=Around(elevation_deg=(0.0, 30.0)), resolution=Constant(48), samples=64,
        rates=Rates(Exponential(2e-2, 2e-3, 200), Exponential(5e-3, 1e-3, 200)),
        penalties=Penalties(Linear(0.1, 1.0, 200), Constant(0.0), Steps((0.0, 100.0), (150,))),
        light=Light(unlit_steps=100, albedo=0.75, textureless=0.1, is_soft=True), pace=Pace(50, 50),
    ),
)  # fmt: skip
"""Sized to the pocket prior: sets of four views, no words for sides, white behind, a low guidance scale, a coarse grid
without the cells that would only hold noise, a flat ball, whose surroundings can still learn, and few lit steps, which
drive the albedo up."""
TINY = Config(
    iterations=4, view_words=False, learned_background=False,
    shape=FieldShape(
        GridShape(levels=2, base=4, finest=8, log2_entries=9), hidden=8, features=3, sees_direction=False,
        activation="softplus", blob=10.0,
    ),
    loop=Loop(
        cameras=Around(views=2), resolution=Constant(16), samples=16, light=Light(unlit_steps=1), watch_every=2,
        pace=Pace(2, 1),
    ),
)  # fmt: skip
"""Seconds, for tests."""


def run(
    config: Config, prior: MultiviewPrior, *, prompt: str, seed: int = 0, checkpoint: Path | None = None
) -> Iterator[Event]:
    """Make a `HashField` with its occupancy (`Distilled`) from words.

    With a folder `checkpoint` the run keeps its state there, and a run that finds a state continues it to the same
    bytes; the state of another run raises `BadInput`. The last event is `Result(Distilled, report)`.
    """
    draw = Streams(seed)
    generator = draw.generator("field")
    volume = Volume(config.shape, learned_background=config.learned_background, generator=generator).to(prior.device)
    words = said(prior, prompt, negative=config.negative, by_view=config.view_words)
    low, first, last = config.times
    law = TimeRange(Constant(low), Linear(first, last, 1))

    def guide(latents: Latents, moment: Moment) -> Distillation:
        t = law.sample(moment.progress, moment.generator)
        told, noise = words(moment.camera), moment.noise(latents)
        return sds(latents, prior, told, moment.camera, t, noise, scale=config.guidance)

    yield from one_field(
        config.loop, volume, prior, guide, pipeline="dreamfusion", config=config, prompt=prompt,
        iterations=config.iterations, seed=seed, checkpoint=checkpoint,
    )  # fmt: skip
