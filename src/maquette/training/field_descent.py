"""Descending radiance fields under any score distillation: what DreamFusion, Magic3D and ProlificDreamer share.

Render, light, guidance, penalties, occupancy; it knows neither the guidance nor the prior. A guide is a closure over
the prior and the words, as in `maquette.training.descent`; the loop itself is `maquette.training.module_descent`.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from maquette.core import Camera, Event, Result, Streams, prepare_folder, turntable
from maquette.core.memory import available_bytes
from maquette.core.schedule import Constant
from maquette.priors import MultiviewPrior
from maquette.priors.sampling import resized
from maquette.render.shading import Shading, sample_shading
from maquette.representations.field import FieldShape
from maquette.training.anywhere import Anywhere
from maquette.training.descent import Guide, Moment
from maquette.training.field_budget import HOLES, march_bytes, parameter_bytes, promise, step_bytes
from maquette.training.gaussians_to_field import Distilled
from maquette.training.module_descent import Done, Learner, Outcome, Pace, descend
from maquette.training.optim import Rate
from maquette.training.orbits import Around
from maquette.training.volume import Penalties, Rates, Volume, look, penalty

WARM = 256
"""Steps in which every cell of the occupancy is looked at; later a part of them (instant-ngp)."""


@dataclass(frozen=True)
class Light:
    """How the steps of a descent are lit: lamps that change place, so that only a true shape looks right."""

    unlit_steps: int = 2000
    """Steps at the beginning that see the albedo."""
    albedo: float = 0.25
    """How often later steps see it too."""
    textureless: float = 0.5
    """How often lit steps see white matter."""
    is_soft: bool = False
    """Whether the lamp's share of the light is drawn, as in Magic3D, instead of 0.9."""
    around: Literal["camera", "axis"] = "camera"
    """Where lamps stand, see `sample_lamps`: DreamFusion's way or Magic3D's."""

    def at(self, moment: Moment) -> Shading | None:
        """What a step sees; None for the albedo."""
        if moment.step < self.unlit_steps:
            return None
        return sample_shading(
            moment.generator, moment.camera, albedo=self.albedo, textureless=self.textureless, soft=self.is_soft,
            around=self.around,
        )  # fmt: skip


@dataclass(frozen=True)
class Loop:
    """How fields descend, whatever they descend under. The defaults are threestudio's for DreamFusion."""

    cameras: Anywhere | Around = field(default_factory=Anywhere)
    """Where each step looks from."""
    resolution: Rate = field(default_factory=lambda: Constant(64))
    """Side of the renderings, px; they are resized to what the prior takes."""
    samples: int = 512
    """Steps of a ray along the diagonal of the field's cube."""
    rates: Rates = field(default_factory=Rates)
    """Learning rates."""
    penalties: Penalties = field(default_factory=Penalties)
    """What is asked besides likeness."""
    light: Light | None = field(default_factory=Light)
    """Of the renderings; None shows the albedo."""
    always_normals: bool = False
    """Compute normals, and with them the penalty for matter that faces away, in unlit steps too."""
    watch_every: int = 16
    """Steps between updates of the occupancy."""
    pace: Pace = field(default_factory=lambda: Pace(200, 200))
    """Of previews and checkpoints."""


def distill(
    loop: Loop,
    particles: Sequence[Volume],
    prior: MultiviewPrior,
    guide: Guide,
    *,
    steps: int,
    seed: int,
    shown: Camera,
    learners: dict[str, Learner] | None = None,
    afterwards: Callable[[], None] = lambda: None,
    state_file: Path | None = None,
    identity: dict | None = None,
    stage: str = "distill",
) -> Generator[Event, None, Done]:
    """Change the particles in place, one random one at each step; previews show the first from `shown`.

    The guide's gradient is divided by the number of views, as threestudio does. `afterwards` is done when the step is
    taken, for what learns along (`learners`, whose state is kept too). On the CPU, the memory that all this takes is
    said before a run starts. Raises what `module_descent.descend` raises, and BadInput if so much memory is not there.
    """
    draw = Streams(seed)
    if prior.device.type == "cpu":
        needed = most_memory(loop, particles[0].field.shape, shown, steps=steps, particles=len(particles))
        told = promise(needed, available_bytes())
        if state_file is None or not state_file.exists():
            yield told

    def cameras(step: int) -> Camera:
        return loop.cameras.at(step, draw.generator(f"cameras/{step}"), round(loop.resolution(step)))

    def objective(moment: Moment) -> Outcome:
        index = int(torch.randint(len(particles), (), generator=moment.generator))
        shading = None if loop.light is None else loop.light.at(moment)
        seen = look(
            particles[index], moment.camera, samples=loop.samples, shading=shading, normals=loop.always_normals,
            generator=moment.generator,
        )  # fmt: skip
        push = guide(prior.encode(resized(seen.images, prior.image_size)), moment)
        loss = push.loss / len(moment.camera) + penalty(loop.penalties, seen, moment.step)

        def finish() -> None:
            if (moment.step + 1) % loop.watch_every == 0:
                for i, volume in enumerate(particles):
                    where = draw.generator(f"{stage}/occupancy/{moment.step}/{i}")
                    volume.watch(loop.samples, where, every_cell=moment.step < WARM)
            afterwards()

        return Outcome(loss, {"gradient": push.gradient_norm, "coverage": seen.images[..., 3].mean().item()}, finish)

    def picture() -> Tensor:
        return look(particles[0], shown, samples=loop.samples).images[..., :3].clamp(0, 1)

    groups = [group for volume in particles for group in volume.groups(loop.rates)]
    return (
        yield from descend(
            nn.ModuleList(particles), groups, prior, objective, cameras, steps=steps, pace=loop.pace, picture=picture,
            seed=seed, stage=stage, learners=learners, state_file=state_file,
            identity=(identity or {}) | {"loop": repr(loop)},
        )
    )  # fmt: skip


def most_memory(loop: Loop, shape: FieldShape, shown: Camera, *, steps: int, particles: int = 1) -> int:
    """Bytes that a descent of fields takes at most, its previews and checkpoints too, if no cell ever gets empty."""
    size = round(max(loop.resolution(step) for step in range(steps)))
    draw = Streams(0).generator("budget")
    seen = [loop.cameras.at(step, draw, size) for step in (0, steps // 3, 2 * steps // 3, steps - 1)]
    normals = loop.always_normals or (loop.light is not None and loop.light.unlit_steps < steps)
    step = max(
        step_bytes(shape, camera, samples=loop.samples, normals=normals, particles=particles, saves=True)
        for camera in seen
    )
    preview = march_bytes(shape, shown, samples=loop.samples, normals=False, gradients=False)
    return max(step, round(HOLES * (3 * particles * parameter_bytes(shape) + preview)))


def one_field(
    loop: Loop, volume: Volume, prior: MultiviewPrior, guide: Guide, *, pipeline: str, config: object, prompt: str,
    iterations: int, seed: int, checkpoint: Path | None,
) -> Generator[Event, None, None]:  # fmt: skip
    """`distill` of one field from words, to its end: the last event is `Result(Distilled, report)`.

    With a folder `checkpoint` the run keeps its state there; the state belongs to this prompt, prior and `config`.
    """
    described = [type(prior).__name__, prior.image_size, *prior.latent_shape]
    done = yield from distill(
        loop, [volume], prior, guide, steps=iterations, seed=seed,
        shown=turntable(4, 15.0, size=round(loop.resolution(iterations))).to(prior.device),
        state_file=None if checkpoint is None else prepare_folder(checkpoint) / "field.safetensors",
        identity={"pipeline": pipeline, "prompt": prompt, "prior": described, "config": repr(config)},
    )  # fmt: skip
    report = {
        "pipeline": pipeline,
        "prompt": prompt,
        "seed": seed,
        "iterations": iterations,
        "evaluations": done.evaluations,
        "occupied": round(float(volume.mask.float().mean()), 4),
        "seconds": {stage: round(value, 3) for stage, value in done.seconds.items()},
    }
    yield Result(Distilled(volume.field, volume.occupancy), report)
