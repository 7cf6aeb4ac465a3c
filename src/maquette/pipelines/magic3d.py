"""Magic3D: a radiance field under score distillation, then its surface as a mesh of finer pictures (arXiv 2211.10440).

The coarse field says where matter is; tetrahedra take its surface and its colors, and descend in pictures that show
details. This module does not know which prior it has or where the asset goes.
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
    Result,
    Steps,
    Streams,
    prepare_folder,
    turntable,
)
from maquette.diffusion import TimeRange
from maquette.guidance import Distillation, sds
from maquette.guidance.distillation import Latents, Weighting
from maquette.kernels.hashgrid import GridShape
from maquette.priors import MultiviewPrior
from maquette.representations.field import FieldShape
from maquette.representations.sdf_grid import from_density
from maquette.representations.tets import TetField
from maquette.training import field_descent, surface_descent
from maquette.training.descent import Guide, Moment, said
from maquette.training.field_descent import Light, Loop
from maquette.training.module_descent import Pace
from maquette.training.orbits import Around
from maquette.training.surface_descent import ColoredSurface, SurfaceLoop
from maquette.training.volume import Penalties, Rates, Volume


@dataclass(frozen=True)
class Stage:
    """What a prior is asked for in one of the two stages."""

    iterations: int
    times: tuple[float, float, float]
    """t is drawn between the first of these and a bound that moves from the second to the third."""
    weighting: Weighting
    guidance: float = 101.0
    """Classifier-free guidance scale; the papers write 100 and count from 1."""

    def __post_init__(self) -> None:
        low, first, last = self.times
        if self.iterations < 1 or not 0 < low < min(first, last) <= max(first, last) <= 1:
            raise BadInput(
                f"{self.iterations} iterations and times {self.times}; expected at least 1, and a range in (0, 1]",
                "change them",
            )


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its prior, prompt and seed. The defaults are threestudio's."""

    coarse: Stage = field(default_factory=lambda: Stage(10_000, (0.02, 0.98, 0.98), "uniform"))
    """The field."""
    fine: Stage = field(default_factory=lambda: Stage(5000, (0.02, 0.5, 0.5), "variance"))
    """The mesh."""
    view_words: bool = True
    """Say the side in words, with Perp-Neg, and denoise each view alone, as image priors need; else all views of a step
    are denoised as one set."""
    negative: str | None = None
    """Takes the place of "nothing said" in the guidance."""
    shape: FieldShape = field(
        default_factory=lambda: FieldShape(half_size=1.0, sees_direction=False, activation="softplus", blob=10.0)
    )
    """The field, and the ball that it starts as."""
    learned_background: bool = True
    """Behind the field: a learned color of each direction, else white. The mesh is seen on white."""
    loop: Loop = field(default_factory=lambda: Loop(light=Light(is_soft=True, around="axis")))
    """How the field descends."""
    cells: int = 128
    """Of the tetrahedra, along the longest side of the field's surface."""
    level: float | None = None
    """The density of that surface, per world unit; None takes the mean of what is not empty."""
    surface: SurfaceLoop = field(default_factory=SurfaceLoop)
    """How the mesh descends."""

    @property
    def resolution(self) -> int:
        """Side of the last renderings, px."""
        return self.surface.resolution


PAPER = Config()
"""The published numbers, as threestudio has them for Stable Diffusion."""
DEFAULT = Config(
    coarse=Stage(200, (0.02, 0.98, 0.98), "variance", guidance=6.0),
    fine=Stage(100, (0.02, 0.5, 0.3), "variance", guidance=4.0),
    view_words=False,
    shape=FieldShape(
        GridShape(levels=6, base=8, finest=64, log2_entries=15), hidden=32, sees_direction=False,
        activation="softplus", blob=1.5,
    ),
    learned_background=False,
    loop=Loop(
        cameras=Around(elevation_deg=(0.0, 30.0)), resolution=Constant(48), samples=64,
        rates=Rates(table=Exponential(2e-2, 2e-3, 200), networks=Exponential(5e-3, 1e-3, 200)),
        penalties=Penalties(Linear(0.1, 1.0, 200), Constant(0.0), Steps((0.0, 100.0), (150,))),
        light=Light(unlit_steps=100, albedo=0.75, textureless=0.1, is_soft=True, around="axis"), pace=Pace(50, 50),
    ),
    cells=48,
    surface=SurfaceLoop(
        cameras=Around(elevation_deg=(0.0, 30.0)), resolution=128, shape_rate=Exponential(3e-2, 3e-3, 100),
        color_rate=Exponential(5e-3, 1e-3, 100), smooth_normals=20.0, sign_changes=1.0, light=None, pace=Pace(50, 50),
    ),
)  # fmt: skip
"""Sized to the pocket prior: sets of four views, no words for sides, white behind, a low guidance scale."""
TINY = Config(
    coarse=Stage(3, (0.02, 0.98, 0.98), "uniform"),
    fine=Stage(3, (0.02, 0.5, 0.5), "variance"),
    view_words=False,
    shape=FieldShape(
        GridShape(levels=2, base=4, finest=8, log2_entries=9), hidden=8, features=3, sees_direction=False,
        activation="softplus", blob=40.0,
    ),
    learned_background=False,
    loop=Loop(
        cameras=Around(views=2), resolution=Constant(16), samples=16, light=Light(unlit_steps=1), watch_every=2,
        pace=Pace(2, 1),
    ),
    cells=8,
    surface=SurfaceLoop(cameras=Around(views=2), resolution=16, pace=Pace(2, 1)),
)  # fmt: skip
"""Seconds, for tests."""


def run(
    config: Config, prior: MultiviewPrior, *, prompt: str, seed: int = 0, checkpoint: Path | None = None
) -> Iterator[Event]:
    """Make a mesh and the field that colors it (`Painted`) from words.

    With a folder `checkpoint` the run keeps its state there, and a run that finds a state continues it to the same
    bytes; the state of another run raises `BadInput`. The last event is `Result(Painted, report)`.
    """
    draw = Streams(seed)
    generator = draw.generator("field")
    volume = Volume(config.shape, learned_background=config.learned_background, generator=generator).to(prior.device)
    words = said(prior, prompt, negative=config.negative, by_view=config.view_words)
    folder = None if checkpoint is None else prepare_folder(checkpoint)
    described = [type(prior).__name__, prior.image_size, *prior.latent_shape]
    identity = {"pipeline": "magic3d", "prompt": prompt, "prior": described, "config": repr(config)}
    shown = turntable(4, 15.0, size=config.resolution).to(prior.device)

    def guide(stage: Stage) -> Guide:
        low, first, last = stage.times
        law = TimeRange(Constant(low), Linear(first, last, 1))

        def guided(latents: Latents, moment: Moment) -> Distillation:
            t = law.sample(moment.progress, moment.generator)
            told, noise = words(moment.camera), moment.noise(latents)
            return sds(latents, prior, told, moment.camera, t, noise, scale=stage.guidance, weighting=stage.weighting)

        return guided

    coarse = yield from field_descent.distill(
        config.loop, [volume], prior, guide(config.coarse), steps=config.coarse.iterations, seed=seed, shown=shown,
        state_file=None if folder is None else folder / "field.safetensors", identity=identity, stage="coarse",
    )  # fmt: skip
    half_size = config.shape.half_size
    grid = from_density(volume.field.density, resolution=config.cells, half_size=half_size, level=config.level)
    surface = ColoredSurface(TetField(grid), volume.field).to(prior.device)
    fine = yield from surface_descent.distill(
        config.surface, surface, prior, guide(config.fine), steps=config.fine.iterations, seed=seed, shown=shown,
        state_file=None if folder is None else folder / "surface.safetensors", identity=identity, stage="fine",
    )  # fmt: skip
    made = surface.painted()
    seconds = coarse.seconds | fine.seconds
    report = {
        "pipeline": "magic3d",
        "prompt": prompt,
        "seed": seed,
        "iterations": config.coarse.iterations + config.fine.iterations,
        "evaluations": coarse.evaluations + fine.evaluations,
        "faces": len(made.mesh.faces),
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
    }
    yield Result(made, report)
