"""Fantasia3D: the shape first, by pictures without color, then the colors of the finished shape (arXiv 2303.13873).

Tetrahedra start as an ellipsoid and descend under score distillation of their normals; then the surface stands still
and a field of colors descends on it. This module does not know which prior it has or where the asset goes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from maquette.core import BadInput, Constant, Event, Exponential, Result, Streams, prepare_folder, turntable
from maquette.diffusion import TimeRange
from maquette.guidance import Distillation, sds
from maquette.guidance.distillation import Latents, Weighting
from maquette.kernels.hashgrid import GridShape
from maquette.priors import MultiviewPrior
from maquette.representations import sdf_grid
from maquette.representations.field import FieldShape, HashField
from maquette.representations.tets import TetField
from maquette.training.anywhere import Anywhere
from maquette.training.descent import Guide, Moment, said
from maquette.training.field_descent import Light
from maquette.training.module_descent import Pace
from maquette.training.orbits import Around
from maquette.training.surface_descent import ColoredSurface, SurfaceLoop, distill


@dataclass(frozen=True)
class Stage:
    """What a prior is asked for in one of the two stages."""

    iterations: int
    times: TimeRange
    """Between which two schedules, of the step, the noise level is drawn."""
    weighting: Weighting
    guidance: float = 100.0
    """Classifier-free guidance scale, counted from 0."""

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise BadInput(f"{self.iterations} iterations; expected at least 1", "raise them")


_CAMERAS = Anywhere(radius=(1.5, 1.5), fov_deg=(25.71, 45.0), eye_jitter=0.0, target_jitter=0.0)


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its prior, prompt and seed. The defaults are the published numbers."""

    geometry: Stage = field(
        default_factory=lambda: Stage(3000, TimeRange(Constant(0.02), Constant(0.5)), "fantasia3d")
    )  # fmt: skip
    """The shape."""
    appearance: Stage = field(
        default_factory=lambda: Stage(2000, TimeRange(Constant(0.02), Constant(0.98)), "fantasia3d")
    )  # fmt: skip
    """Its colors."""
    view_words: bool = True
    """Say the side in words, with Perp-Neg, and denoise each view alone, as image priors need; else all views of a step
    are denoised as one set."""
    negative: str | None = "shadow, oversaturated, low quality, unrealistic"
    """Takes the place of "nothing said" in the guidance."""
    half_axes: tuple[float, float, float] = (0.28, 0.42, 0.28)
    """Of the ellipsoid at the start, along x, y and z, world units."""
    half_size: float = 0.6
    """The shape stays within [-half_size, half_size]^3."""
    cells: int = 128
    """Of the tetrahedra along a side of that cube."""
    paint: FieldShape = field(default_factory=lambda: FieldShape(half_size=0.6, sees_direction=False))
    """The field of colors; nothing asks for its density."""
    sculpting: SurfaceLoop = field(
        default_factory=lambda: SurfaceLoop(cameras=_CAMERAS, color_rate=None, light=None, shows_normals=True)
    )
    """How the shape descends."""
    painting: SurfaceLoop = field(
        default_factory=lambda: SurfaceLoop(
            cameras=_CAMERAS, shape_rate=None, light=Light(unlit_steps=0, textureless=0.0, is_soft=True, around="axis")
        )
    )
    """How the colors descend."""

    @property
    def resolution(self) -> int:
        """Side of the last renderings, px."""
        return self.painting.resolution


PAPER = Config()
"""The published numbers, as far as they have a meaning here."""
_AROUND = Around(elevation_deg=(0.0, 30.0))
DEFAULT = Config(
    geometry=Stage(200, TimeRange(Constant(0.02), Constant(0.98)), "variance", guidance=4.0),
    appearance=Stage(100, TimeRange(Constant(0.02), Constant(0.98)), "variance", guidance=3.0),
    view_words=False,
    negative=None,
    half_axes=(0.3, 0.3, 0.3),
    cells=40,
    paint=FieldShape(GridShape(levels=6, base=8, finest=64, log2_entries=15), hidden=32, sees_direction=False),
    sculpting=SurfaceLoop(
        cameras=_AROUND, resolution=128, shape_rate=Exponential(1e-1, 1e-2, 200), color_rate=None,
        smooth_normals=100.0, sign_changes=1.0, light=Light(unlit_steps=0, albedo=0.0, textureless=1.0, is_soft=True,
        around="axis"), pace=Pace(50, 50),
    ),
    painting=SurfaceLoop(
        cameras=_AROUND, resolution=128, shape_rate=None, color_rate=Exponential(1e-2, 1e-3, 100), light=None,
        pace=Pace(50, 50),
    ),
)  # fmt: skip
"""Sized to the pocket prior, which has never seen normals: the shape descends in pictures of lit white matter."""
TINY = Config(
    geometry=Stage(3, TimeRange(Constant(0.02), Constant(0.5)), "fantasia3d"),
    appearance=Stage(3, TimeRange(Constant(0.02), Constant(0.98)), "fantasia3d"),
    view_words=False,
    negative=None,
    cells=8,
    paint=FieldShape(
        GridShape(levels=2, base=4, finest=8, log2_entries=9), hidden=8, features=3, sees_direction=False
    ),
    sculpting=SurfaceLoop(
        cameras=Around(views=2), resolution=16, color_rate=None, light=None, shows_normals=True, pace=Pace(2, 1)
    ),
    painting=SurfaceLoop(cameras=Around(views=2), resolution=16, shape_rate=None, light=None, pace=Pace(2, 1)),
)  # fmt: skip
"""Seconds, for tests."""


def run(
    config: Config, prior: MultiviewPrior, *, prompt: str, seed: int = 0, checkpoint: Path | None = None
) -> Iterator[Event]:
    """Make a mesh and the field that colors it (`Painted`) from words.

    With a folder `checkpoint` the run keeps its state there, and a run that finds a state continues it to the same
    bytes; the state of another run raises `BadInput`. The last event is `Result(Painted, report)`.
    """
    start = sdf_grid.sample(
        partial(ellipsoid, half_axes=config.half_axes), resolution=config.cells, half_size=config.half_size
    )
    paint = HashField(config.paint, generator=Streams(seed).generator("paint"))
    surface = ColoredSurface(TetField(start), paint).to(prior.device)
    words = said(prior, prompt, negative=config.negative, by_view=config.view_words)

    def guide(stage: Stage) -> Guide:
        def guided(latents: Latents, moment: Moment) -> Distillation:
            t = stage.times.sample(moment.step, moment.generator)
            told, noise = words(moment.camera), moment.noise(latents)
            return sds(latents, prior, told, moment.camera, t, noise, scale=stage.guidance, weighting=stage.weighting)

        return guided

    folder = None if checkpoint is None else prepare_folder(checkpoint)
    described = [type(prior).__name__, prior.image_size, *prior.latent_shape]
    identity = {"pipeline": "fantasia3d", "prompt": prompt, "prior": described, "config": repr(config)}
    shown = turntable(4, 15.0, size=config.resolution).to(prior.device)
    done = []
    for stage, asked, loop in (
        ("geometry", config.geometry, config.sculpting),
        ("appearance", config.appearance, config.painting),
    ):
        done.append((
            yield from distill(
                loop, surface, prior, guide(asked), steps=asked.iterations, seed=seed, shown=shown, stage=stage,
                state_file=None if folder is None else folder / f"{stage}.safetensors", identity=identity,
            )
        ))  # fmt: skip
    made = surface.painted()
    report = {
        "pipeline": "fantasia3d",
        "prompt": prompt,
        "seed": seed,
        "iterations": sum(part.steps for part in done),
        "evaluations": sum(part.evaluations for part in done),
        "faces": len(made.mesh.faces),
        "seconds": {stage: round(value, 3) for part in done for stage, value in part.seconds.items()},
    }
    yield Result(made, report)


def ellipsoid(points: Float[Tensor, "points 3"], half_axes: tuple[float, float, float]) -> Float[Tensor, " points"]:
    """Negative inside an ellipsoid around the origin, 0 on it; in world units along its shortest axis."""
    return ((points / points.new_tensor(half_axes)).norm(dim=-1) - 1) * min(half_axes)
