"""Score Jacobian chaining: a radiance field follows the prior's scores at its pictures (arXiv 2212.00774).

As in DreamFusion a field descends under the prior's answer to noisy pictures of it, but by the chain rule through a
variance-exploding process, which weighs all noise levels alike; without light, and with a loss that empties what is
faint. This module does not know which prior it has or where the asset goes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from maquette.core import BadInput, Constant, Event, Exponential, Steps, Streams
from maquette.diffusion import TimeRange
from maquette.diffusion.annealing import SJC
from maquette.guidance import Distillation, sjc
from maquette.guidance.distillation import Latents
from maquette.kernels.hashgrid import GridShape
from maquette.priors import MultiviewPrior
from maquette.representations.field import FieldShape
from maquette.training.anywhere import Anywhere
from maquette.training.descent import Moment, said
from maquette.training.field_descent import Loop, one_field
from maquette.training.module_descent import Pace
from maquette.training.orbits import Around
from maquette.training.volume import Penalties, Rates, Volume


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its prior, prompt and seed. The defaults are the published numbers."""

    iterations: int = 10_000
    """Steps of the distillation."""
    view_words: bool = True
    """Say the side in words, with Perp-Neg, and denoise each view alone, as image priors need; else all views of a step
    are denoised as one set."""
    negative: str | None = None
    """Takes the place of "nothing said" in the guidance."""
    guidance: float = 100.0
    """Classifier-free guidance scale, counted from 0."""
    times: TimeRange = SJC
    """Between which two schedules, of the step, the noise level is drawn."""
    shape: FieldShape = field(
        default_factory=lambda: FieldShape(half_size=1.0, sees_direction=False, activation="softplus", blob=10.0)
    )
    """The field, and the ball that it starts as."""
    loop: Loop = field(
        default_factory=lambda: Loop(
            cameras=Anywhere(radius=(0.75, 0.75), eye_jitter=0.0, target_jitter=0.0),
            penalties=Penalties(
                orientation=Constant(0.0), opacity=Constant(0.0), emptiness=Steps((20.0, 400.0), (5000,))
            ),
            light=None,
        )
    )
    """How the field descends."""

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise BadInput(f"{self.iterations} iterations; expected at least 1", "raise them")

    @property
    def resolution(self) -> int:
        """Side of the last renderings, px."""
        return round(self.loop.resolution(self.iterations))


PAPER = Config()
"""The published numbers, on a hash field of colors where the authors have a grid of latents."""
DEFAULT = Config(
    iterations=200,
    view_words=False,
    guidance=5.0,
    shape=FieldShape(
        GridShape(levels=6, base=8, finest=64, log2_entries=15), hidden=32, sees_direction=False,
        activation="softplus", blob=1.5,
    ),
    loop=Loop(
        cameras=Around(elevation_deg=(0.0, 30.0)), resolution=Constant(48), samples=64,
        rates=Rates(Exponential(2e-2, 2e-3, 200), Exponential(5e-3, 1e-3, 200)),
        penalties=Penalties(Constant(0.0), Constant(0.0), emptiness=Steps((1.0, 20.0), (100,))), light=None,
        pace=Pace(50, 50),
    ),
)  # fmt: skip
"""Sized to the pocket prior as DreamFusion's; what is faint pays twenty times more in the second half."""
TINY = Config(
    iterations=4, view_words=False,
    shape=FieldShape(
        GridShape(levels=2, base=4, finest=8, log2_entries=9), hidden=8, features=3, sees_direction=False,
        activation="softplus", blob=10.0,
    ),
    loop=Loop(
        cameras=Around(views=2), resolution=Constant(16), samples=16, light=None, watch_every=2, pace=Pace(2, 1),
        penalties=Penalties(Constant(0.0), Constant(0.0), emptiness=Steps((1.0, 20.0), (2,))),
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
    generator = Streams(seed).generator("field")
    volume = Volume(config.shape, learned_background=False, generator=generator).to(prior.device)
    words = said(prior, prompt, negative=config.negative, by_view=config.view_words)

    def guide(latents: Latents, moment: Moment) -> Distillation:
        t = config.times.sample(moment.step, moment.generator)
        told, noise = words(moment.camera), moment.noise(latents)
        return sjc(latents, prior, told, moment.camera, t, noise, scale=config.guidance)

    yield from one_field(
        config.loop, volume, prior, guide, pipeline="sjc", config=config, prompt=prompt,
        iterations=config.iterations, seed=seed, checkpoint=checkpoint,
    )  # fmt: skip
