"""From words to one cloud of Gaussians: what score distillations have around the guidance, which each paper brings.

    task = Task("lucid", config, prior, prompt, seed, checkpoint)
    done = yield from task.distilled(guide, initial)
    yield task.result(done.cloud, done.evaluations, done.seconds)

This module knows no guidance, and not where the asset goes.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from maquette.core import Camera, Event, Result, Streams, prepare_folder, turntable
from maquette.guidance.wording import Wordings
from maquette.priors import MultiviewPrior
from maquette.representations.gaussians import GaussianCloud
from maquette.training.anywhere import Anywhere
from maquette.training.descent import Done, Guide, Loop, distill, grey_ball, said
from maquette.training.orbits import Around, Widening


class Recipe(Protocol):
    """What a paper's configuration must tell."""

    iterations: int
    resolution: int
    cameras: Widening | Around | Anywhere
    view_words: bool
    negative: str | None
    init_points: int
    init_radius: float
    loop: Loop


@dataclass(frozen=True)
class Task:
    """One run, and what all its stages have in common."""

    pipeline: str
    config: Any
    """A `Recipe`."""
    prior: MultiviewPrior
    prompt: str
    seed: int
    checkpoint: Path | None
    """The folder where stages keep their state."""

    @cached_property
    def draw(self) -> Streams:
        """The random streams of the run."""
        return Streams(self.seed)

    @cached_property
    def words(self) -> Callable[[Camera], Wordings]:
        """What cameras are told."""
        return said(self.prior, self.prompt, negative=self.config.negative, by_view=self.config.view_words)

    def cameras(self, step: int) -> Camera:
        """Of a step of the distillation."""
        return self.config.cameras.at(step, self.draw.generator(f"cameras/{step}"), self.config.resolution)

    def kept(self, stage: str) -> dict:
        """The arguments of `descend` that let a stage continue and be seen: `stage` names its file of state."""
        prior = self.prior
        return {
            "seed": self.seed,
            "shown": turntable(4, 15.0, size=self.config.resolution).to(prior.device),
            "state_file": None if self.checkpoint is None else prepare_folder(self.checkpoint) / f"{stage}.safetensors",
            "identity": {
                "pipeline": self.pipeline,
                "prompt": self.prompt,
                "prior": [type(prior).__name__, prior.image_size, *prior.latent_shape],
                "config": repr(self.config),
            },
        }

    def distilled(
        self, guide: Guide, initial: GaussianCloud | None, *, cameras: Callable[[int], Camera] | None = None
    ) -> Generator[Event, None, Done]:
        """All steps of the distillation, from `initial` or a grey ball; `cameras` in place of the task's own."""
        config = self.config
        if initial is None:
            initial = grey_ball(config.init_points, config.init_radius, self.draw.generator("points"))
        return (
            yield from distill(
                config.loop, initial.to(self.prior.device), self.prior, guide, cameras or self.cameras,
                steps=config.iterations, **self.kept("distill"),
            )
        )  # fmt: skip

    def result(self, cloud: GaussianCloud, evaluations: int, seconds: dict[str, float]) -> Result:
        """The last event of the run."""
        report = {
            "pipeline": self.pipeline,
            "prompt": self.prompt,
            "seed": self.seed,
            "iterations": self.config.iterations,
            "evaluations": evaluations,
            "gaussians": len(cloud),
            "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        }
        return Result(cloud, report)
