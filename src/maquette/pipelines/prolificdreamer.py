"""ProlificDreamer: variational score distillation, with a student that learns what renderings look like now.

Several fields, the particles, descend until what the prior says of their pictures is what the student says, so a low
guidance scale is enough (arXiv 2305.16213). This module does not know which prior it has or where the asset goes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from maquette.core import BadInput, Constant, Event, Exponential, Result, Steps, Streams, prepare_folder, turntable
from maquette.diffusion import TimeRange
from maquette.guidance import Distillation, student_loss, vsd
from maquette.guidance.distillation import Latents
from maquette.kernels.hashgrid import GridShape
from maquette.priors import MultiviewPrior
from maquette.priors.student import Learns, Student
from maquette.representations.field import POCKET, FieldShape
from maquette.training.anywhere import Anywhere
from maquette.training.descent import Moment, said
from maquette.training.field_descent import Loop, distill
from maquette.training.gaussians_to_field import Distilled
from maquette.training.module_descent import Learner, Pace
from maquette.training.orbits import Around
from maquette.training.volume import Penalties, Rates, Volume

LEAST = 0.02
"""The student learns at any noise above this: below, the velocity's error counts for nothing but its last digits."""


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its prior, prompt and seed. The defaults are threestudio's."""

    iterations: int = 25_000
    """Steps of the distillation."""
    particles: int = 1
    """Fields that descend together; each step moves a random one. The first is the result."""
    view_words: bool = True
    """Say the side in words, with Perp-Neg, and denoise each view alone, as image priors need; else all views of a step
    are denoised as one set."""
    negative: str | None = None
    """Takes the place of "nothing said" in the guidance."""
    guidance: float = 7.5
    """Classifier-free guidance scale of the prior; the student has none."""
    times: tuple[float, float, float] = (0.02, 0.98, 0.5)
    """t is drawn between the first of these and the second, later the third."""
    settles: float = 0.2
    """The share of the steps after which it is the third."""
    student_rate: float = 1e-4
    """Learning rate of the student, which learns once at every step."""
    shape: FieldShape = field(
        default_factory=lambda: FieldShape(half_size=0.5, sees_direction=False, activation="softplus", blob=10.0)
    )
    """The fields, and the ball that they start as."""
    learned_background: bool = True
    """Behind the fields: a learned color of each direction, else white."""
    loop: Loop = field(
        default_factory=lambda: Loop(
            cameras=Anywhere(radius=(0.5, 0.75), eye_jitter=0.0, target_jitter=0.0),
            resolution=Steps((64, 512), (5000,)),
            rates=Rates(networks=Constant(1e-3)),
            penalties=Penalties(Constant(0.0), Constant(10.0), Steps((0.0, 1000.0), (10_000,))),
            light=None,
        )
    )
    """How the fields descend."""

    def __post_init__(self) -> None:
        low, first, last = self.times
        if self.iterations < 1 or self.particles < 1 or not 0 < low < min(first, last) <= max(first, last) <= 1:
            raise BadInput(
                f"{self.iterations} iterations, {self.particles} particles, times {self.times}; expected 1 or more of "
                "both, and a range in (0, 1]",
                "change them",
            )

    @property
    def resolution(self) -> int:
        """Side of the last renderings, px."""
        return round(self.loop.resolution(self.iterations))


PAPER = Config()
"""The published numbers of the first stage, as threestudio has them."""
DEFAULT = Config(
    iterations=400,
    view_words=False,
    student_rate=3e-4,
    shape=FieldShape(POCKET.grid, hidden=32, sees_direction=False, activation="softplus", blob=10.0),
    learned_background=False,
    loop=Loop(
        cameras=Around(elevation_deg=(0.0, 30.0)), resolution=Constant(64), samples=64,
        rates=Rates(table=Exponential(2e-2, 2e-3, 400), networks=Exponential(5e-3, 1e-3, 400)),
        penalties=Penalties(Constant(0.0), Constant(0.0), Constant(0.0)), light=None, pace=Pace(50, 50),
    ),
)  # fmt: skip
"""Sized to the pocket prior: sets of four views, no words for sides, white behind; all of the student learns."""
TINY = Config(
    iterations=4, particles=2, view_words=False, learned_background=False,
    shape=FieldShape(
        GridShape(levels=2, base=4, finest=8, log2_entries=9), hidden=8, features=3, sees_direction=False,
        activation="softplus", blob=10.0,
    ),
    loop=Loop(
        cameras=Around(views=2), resolution=Constant(16), samples=16, light=None, watch_every=2, pace=Pace(2, 1),
    ),
)  # fmt: skip
"""Seconds, for tests."""


def run(
    config: Config,
    prior: MultiviewPrior,
    *,
    prompt: str,
    student: Learns | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Iterator[Event]:
    """Make a `HashField` with its occupancy (`Distilled`) from words; without a `student` it is a copy of the prior.

    With a folder `checkpoint` the run keeps its state there, and a run that finds a state continues it to the same
    bytes; the state of another run raises `BadInput`. The last event is `Result(Distilled, report)`.
    """
    draw = Streams(seed)
    particles = [
        Volume(config.shape, learned_background=config.learned_background, generator=draw.generator(f"field/{i}"))
        for i in range(config.particles)
    ]
    for volume in particles:
        volume.to(prior.device)
    student = Student(prior, rate=config.student_rate) if student is None else student
    words = said(prior, prompt, negative=config.negative, by_view=config.view_words)
    plain = said(prior, prompt, negative=None, by_view=False)
    settled = config.settles * config.iterations
    low, first, last = config.times
    law = TimeRange(Constant(low), Steps((first, last), (round(settled),)))
    lesson: list[torch.Tensor] = []

    def guide(latents: Latents, moment: Moment) -> Distillation:
        """The pull of the prior against the student's, and the student's own loss at another noise (algorithm 1)."""
        before, camera, own = student.evaluations, moment.camera, plain(moment.camera)
        t = law.sample(moment.step, moment.generator)
        push = vsd(latents, prior, student, words(camera), own, camera, t, moment.noise(latents), scale=config.guidance)
        other = LEAST + (1 - LEAST) * torch.rand((), generator=moment.generator).item()
        lesson[:] = [student_loss(latents, student, own, camera, other, moment.noise(latents), predicts="v")]
        prior.evaluations += student.evaluations - before
        return push

    described = [type(prior).__name__, prior.image_size, *prior.latent_shape]
    done = yield from distill(
        config.loop, particles, prior, guide, steps=config.iterations, seed=seed,
        shown=turntable(4, 15.0, size=config.resolution).to(prior.device),
        learners={"student": Learner(student.transformer, student.optimizer)},
        afterwards=lambda: student.learn(lesson.pop()),
        state_file=None if checkpoint is None else prepare_folder(checkpoint) / "field.safetensors",
        identity={"pipeline": "prolificdreamer", "prompt": prompt, "prior": described, "config": repr(config)},
    )  # fmt: skip
    volume = particles[0]
    report = {
        "pipeline": "prolificdreamer",
        "prompt": prompt,
        "seed": seed,
        "iterations": config.iterations,
        "evaluations": done.evaluations,
        "occupied": round(float(volume.mask.float().mean()), 4),
        "seconds": {stage: round(value, 3) for stage, value in done.seconds.items()},
    }
    yield Result(Distilled(volume.field, volume.occupancy), report)
