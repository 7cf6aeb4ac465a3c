"""ProlificDreamer: variational score distillation, with a student that learns what renderings look like now.

Several fields, the particles, descend until what the prior says of their pictures is what the student says, so a low
guidance scale is enough; then the surface of one becomes a mesh, whose shape and whose colors descend after one another
(arXiv 2305.16213). This module does not know which prior it has or where the asset goes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from maquette.core import (
    BadInput,
    Constant,
    Event,
    Exponential,
    Result,
    Steps,
    Streams,
    Unsupported,
    prepare_folder,
    turntable,
)
from maquette.diffusion import TimeRange
from maquette.guidance import Distillation, sds, student_loss, vsd
from maquette.guidance.distillation import Latents
from maquette.kernels.hashgrid import GridShape
from maquette.priors import MultiviewPrior
from maquette.priors.latent_unet import LatentUnetPrior
from maquette.priors.lora_student import LoraStudent
from maquette.priors.multiview import MultiviewLatentPrior
from maquette.priors.student import Learns, Student
from maquette.representations.field import FieldShape
from maquette.representations.sdf_grid import from_density
from maquette.representations.tets import TetField
from maquette.training import field_descent, surface_descent
from maquette.training.anywhere import Anywhere
from maquette.training.descent import Guide, Moment, said
from maquette.training.field_descent import Loop
from maquette.training.gaussians_to_field import Distilled
from maquette.training.module_descent import Learner, Pace
from maquette.training.orbits import Around
from maquette.training.surface_descent import ColoredSurface, SurfaceLoop
from maquette.training.volume import Penalties, Rates, Volume

LEAST = 0.02
"""The student learns at any noise above this: below, the velocity's error counts for nothing but its last digits."""


@dataclass(frozen=True)
class Stage:
    """How long a stage is, and what the prior is asked for in it."""

    iterations: int
    """Steps; 0 leaves the stage out, and all that follow."""
    guidance: float
    """Classifier-free guidance scale of the prior, counted from 0; a student has none."""
    times: tuple[float, float, float] = (0.02, 0.98, 0.5)
    """t is drawn between the first of these and the second, later the third."""
    settles: float = 0.2
    """The share of the steps after which it is the third."""

    def __post_init__(self) -> None:
        low, first, last = self.times
        if self.iterations < 0 or not 0 < low < min(first, last) <= max(first, last) <= 1:
            raise BadInput(
                f"{self.iterations} iterations and times {self.times}; expected 0 or more, and a range in (0, 1]",
                "change them",
            )

    def time(self, moment: Moment) -> float:
        """The noise level of a step."""
        low, first, last = self.times
        law = TimeRange(Constant(low), Steps((first, last), (round(self.settles * self.iterations),)))
        return law.sample(moment.step, moment.generator)


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its prior, prompt and seed. The defaults are threestudio's."""

    fields: Stage = field(default_factory=lambda: Stage(25_000, 7.5))
    """Variational score distillation of the particles."""
    geometry: Stage = field(default_factory=lambda: Stage(15_000, 101.0, settles=1 / 3))
    """Score distillation of the shape of a mesh."""
    texture: Stage = field(default_factory=lambda: Stage(30_000, 7.5, settles=1 / 6))
    """Variational score distillation of its colors, under a new student."""
    particles: int = 1
    """Fields that descend together; each step moves a random one. The first becomes the mesh."""
    view_words: bool = True
    """Say the side in words, with Perp-Neg, and denoise each view alone, as image priors need; else all views of a step
    are denoised as one set."""
    negative: str | None = None
    """Takes the place of "nothing said" in the guidance."""
    student_rate: float = 1e-4
    """Learning rate of a student, which learns once at every step."""
    sds_share: float = 0.0
    """Of plain score distillation in the pull of the variational stages, see `vsd`."""
    shape: FieldShape = field(
        default_factory=lambda: FieldShape(half_size=0.5, sees_direction=False, activation="softplus", blob=10.0)
    )
    """The fields, and the ball that they start as."""
    learned_background: bool = True
    """Behind the fields: a learned color of each direction, else white. The mesh is seen on white."""
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
    cells: int = 128
    """Of the tetrahedra, along the longest side of the first field's surface."""
    level: float | None = None
    """The density of that surface, per world unit; None takes the mean of what is not empty."""
    sculpting: SurfaceLoop = field(
        default_factory=lambda: SurfaceLoop(
            cameras=Anywhere(radius=(0.5, 0.75), eye_jitter=0.0, target_jitter=0.0), shape_rate=Constant(5e-3),
            color_rate=None, laplacian=10_000.0, light=None, shows_normals=True,
        )
    )  # fmt: skip
    """How the shape descends."""
    painting: SurfaceLoop = field(
        default_factory=lambda: SurfaceLoop(
            cameras=Anywhere(radius=(0.5, 0.75), eye_jitter=0.0, target_jitter=0.0), shape_rate=None, light=None,
        )
    )  # fmt: skip
    """How the colors descend."""

    def __post_init__(self) -> None:
        if self.particles < 1 or self.fields.iterations < 1:
            raise BadInput(
                f"{self.particles} particles, {self.fields.iterations} steps; expected 1 or more of both", "raise them"
            )

    @property
    def resolution(self) -> int:
        """Side of the last renderings, px."""
        return (
            self.painting.resolution if self.texture.iterations else round(self.loop.resolution(self.fields.iterations))
        )


PAPER = Config()
"""The published numbers, as threestudio has them."""
_CAMERAS = Around(elevation_deg=(0.0, 30.0))
DEFAULT = Config(
    fields=Stage(120, 4.0, (0.02, 0.98, 0.98)),
    geometry=Stage(80, 4.0, (0.02, 0.5, 0.5)),
    texture=Stage(25, 2.0, (0.02, 0.98, 0.98)),
    view_words=False,
    sds_share=0.5,
    shape=FieldShape(
        GridShape(levels=6, base=8, finest=64, log2_entries=15), hidden=32, sees_direction=False,
        activation="softplus", blob=3.0,
    ),
    learned_background=False,
    loop=Loop(
        cameras=_CAMERAS, resolution=Constant(48), samples=64,
        rates=Rates(table=Exponential(2e-2, 2e-3, 120), networks=Exponential(5e-3, 1e-3, 120)),
        penalties=Penalties(Constant(0.0), Constant(0.0), Steps((0.0, 100.0), (80,))), light=None, pace=Pace(30, 30),
    ),
    cells=48,
    sculpting=SurfaceLoop(
        cameras=_CAMERAS, resolution=128, shape_rate=Exponential(3e-2, 3e-3, 80), color_rate=None,
        smooth_normals=20.0, sign_changes=1.0, light=None, pace=Pace(30, 30),
    ),
    painting=SurfaceLoop(
        cameras=_CAMERAS, resolution=128, shape_rate=None, color_rate=Exponential(2e-3, 5e-4, 25), light=None,
        pace=Pace(30, 30),
    ),
)  # fmt: skip
"""Sized to the pocket prior: sets of four views, no words for sides, white behind; all of the student learns; the shape
descends in pictures of its colors, because this prior has seen no normals. Half of the pull is plain score distillation
and noise stays high, because a student that lags leads away from the object."""
TINY = Config(
    fields=Stage(4, 7.5), geometry=Stage(2, 7.5), texture=Stage(2, 7.5), particles=2, view_words=False,
    learned_background=False,
    shape=FieldShape(
        GridShape(levels=2, base=4, finest=8, log2_entries=9), hidden=8, features=3, sees_direction=False,
        activation="softplus", blob=40.0,
    ),
    loop=Loop(
        cameras=Around(views=2), resolution=Constant(16), samples=16, light=None, watch_every=2, pace=Pace(2, 1),
    ),
    cells=8,
    sculpting=SurfaceLoop(
        cameras=Around(views=2), resolution=16, color_rate=None, light=None, shows_normals=True, pace=Pace(1, 1),
    ),
    painting=SurfaceLoop(cameras=Around(views=2), resolution=16, shape_rate=None, light=None, pace=Pace(1, 1)),
)  # fmt: skip
"""Seconds, for tests."""


def student_of(prior: MultiviewPrior, rate: float, seed: int) -> Learns:
    """What learns beside a prior: low-rank adapters for large image priors, a whole copy for small ones of sets.

    Raises Unsupported for a prior that has no network.
    """
    if isinstance(prior, MultiviewLatentPrior):
        return Student(prior, rate=rate)
    if isinstance(prior, LatentUnetPrior):
        return LoraStudent(prior, rate=rate, seed=seed)
    raise Unsupported(
        f"there is no student for {type(prior).__name__}",
        "choose Stable Diffusion or the pocket prior, or dreamfusion, which needs no student",
    )


def run(
    config: Config,
    prior: MultiviewPrior,
    *,
    prompt: str,
    student: Callable[[], Learns] | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Iterator[Event]:
    """Make a mesh and the field that colors it (`Painted`) from words, or without that stage a `Distilled` field.

    `student` makes what learns, once for each stage that needs one; else it is `student_of` the prior. With a folder
    `checkpoint` the run keeps its state there, and a run that finds a state continues it to the same bytes; the state
    of another run raises `BadInput`. The last event is `Result(asset, report)`.
    """
    draw = Streams(seed)
    particles = [
        Volume(config.shape, learned_background=config.learned_background, generator=draw.generator(f"field/{i}"))
        for i in range(config.particles)
    ]
    for volume in particles:
        volume.to(prior.device)
    student = student or (lambda: student_of(prior, config.student_rate, seed))
    words = said(prior, prompt, negative=config.negative, by_view=config.view_words)
    plain = said(prior, prompt, negative=None, by_view=False)

    def variational(stage: Stage) -> tuple[Guide, dict]:
        """The pull of the prior against a student's, which then learns from the same pictures (algorithm 1)."""
        own = student()
        lesson: list[torch.Tensor] = []

        def guide(latents: Latents, moment: Moment) -> Distillation:
            before, camera, told = own.evaluations, moment.camera, plain(moment.camera)
            t, noise = stage.time(moment), moment.noise(latents)
            push = vsd(
                latents, prior, own, words(camera), told, camera, t, noise, scale=stage.guidance,
                sds_share=config.sds_share,
            )  # fmt: skip
            other = LEAST + (1 - LEAST) * torch.rand((), generator=moment.generator).item()
            lesson[:] = [student_loss(latents, own, told, camera, other, moment.noise(latents), predicts="v")]
            prior.evaluations += own.evaluations - before
            return push

        learners = {"student": Learner(own.transformer, own.optimizer)}
        return guide, {"learners": learners, "afterwards": lambda: own.learn(lesson.pop())}

    def plainly(latents: Latents, moment: Moment) -> Distillation:
        t, noise = config.geometry.time(moment), moment.noise(latents)
        return sds(latents, prior, words(moment.camera), moment.camera, t, noise, scale=config.geometry.guidance)

    folder = None if checkpoint is None else prepare_folder(checkpoint)
    described = [type(prior).__name__, prior.image_size, *prior.latent_shape]
    identity = {"pipeline": "prolificdreamer", "prompt": prompt, "prior": described, "config": repr(config)}
    shown = turntable(4, 15.0, size=config.resolution).to(prior.device)
    kept = {"seed": seed, "shown": shown, "identity": identity}

    def state_file(stage: str) -> Path | None:
        return None if folder is None else folder / f"{stage}.safetensors"

    guide, learning = variational(config.fields)
    done = [
        (
            yield from field_descent.distill(
                config.loop, particles, prior, guide, steps=config.fields.iterations, stage="fields",
                state_file=state_file("fields"), **learning, **kept,
            )
        )
    ]  # fmt: skip
    volume = particles[0]
    made = Distilled(volume.field, volume.occupancy)
    if config.geometry.iterations:
        half_size = config.shape.half_size
        grid = from_density(volume.field.density, resolution=config.cells, half_size=half_size, level=config.level)
        surface = ColoredSurface(TetField(grid), volume.field).to(prior.device)
        done.append((
            yield from surface_descent.distill(
                config.sculpting, surface, prior, plainly, steps=config.geometry.iterations, stage="geometry",
                state_file=state_file("geometry"), **kept,
            )
        ))  # fmt: skip
        if config.texture.iterations:
            guide, learning = variational(config.texture)
            done.append((
                yield from surface_descent.distill(
                    config.painting, surface, prior, guide, steps=config.texture.iterations, stage="texture",
                    state_file=state_file("texture"), **learning, **kept,
                )
            ))  # fmt: skip
        made = surface.painted()
    report = {
        "pipeline": "prolificdreamer",
        "prompt": prompt,
        "seed": seed,
        "iterations": sum(part.steps for part in done),
        "evaluations": sum(part.evaluations for part in done),
        "seconds": {stage: round(value, 3) for part in done for stage, value in part.seconds.items()},
    }
    yield Result(made, report)
