"""GaussianAnything: words to points, points to features, both to surfels; no optimisation (arXiv 2411.08033).

Two flows are followed one after the other, and a decoder draws what they say. Shape and look have seeds of their own,
and the points may come from elsewhere. This module does not know which weights it has, or where the asset goes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core import BadInput, Event, Notice, Progress, Result, Streams
from maquette.core.inputs import check_seed
from maquette.core.timing import timed
from maquette.priors.point_latent import PointLatentPrior
from maquette.representations.point_latent import LEAST, PointLatent, latent_points


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its prompt and seed."""

    weights: str | None = None
    """Folder of the networks; what is shipped, if None."""
    cloud: str | None = None
    """PLY file whose points are the shape, in place of the first flow."""
    shape_seed: int | None = None
    """Of the points; the run's seed if None."""
    look_seed: int | None = None
    """Of the features; the run's seed if None."""
    points: int = 192
    """Points of the latent: as many as the flows were taught with (768 in the paper)."""
    guidance: float = 4.0
    """Classifier-free guidance scale (paper: 4); 1 is none."""
    steps: int | None = 25
    """Steps of Heun, two evaluations each, for each flow; the adaptive solver if None."""
    resolution: int = 128
    """Side of the views from which the mesh is colored, px."""

    def __post_init__(self) -> None:
        for seed in (self.shape_seed, self.look_seed):
            if seed is not None:
                check_seed(seed)
        if self.points < LEAST:
            raise BadInput(f"{self.points} points; expected at least {LEAST}", "raise points")
        if self.steps is not None and self.steps < 1:
            raise BadInput(f"{self.steps} steps; expected at least 1", "raise steps, or null for the adaptive solver")


PAPER = Config(steps=None)
"""The adaptive solver, as the official code has it. The networks are as large as their weights say."""
DEFAULT = Config()
"""Few fixed steps, whose cost does not depend on the prompt."""
TINY = Config(points=24, steps=2, resolution=32)
"""Seconds, for tests."""


def run(
    config: Config,
    prior: PointLatentPrior,
    *,
    prompt: str,
    seed: int = 0,
    cloud: Float[Tensor, "rows 3"] | None = None,
) -> Iterator[Event]:
    """Make a `PointLatent` from words, or give the points of `cloud` a look.

    The noise of a point belongs to its row: points that are moved, in a cloud of the same order, keep theirs. It takes
    seconds, so nothing is kept on the way. The last event is `Result(PointLatent, report)`. Raises BadInput for a cloud
    that `latent_points` refuses.
    """
    shape_seed = seed if config.shape_seed is None else config.shape_seed
    look_seed = seed if config.look_seed is None else config.look_seed
    options = {"guidance": config.guidance, "steps": config.steps}
    words, before = prior.words(prompt), prior.evaluations
    seconds: dict[str, float] = {}
    yield Progress("points", 0, 1)
    with timed(seconds, "points"):
        if cloud is None:
            noise = torch.randn(config.points, 3, generator=Streams(shape_seed).generator("points"))
            points = prior.sample_points(noise, words, **options)
        else:
            points = latent_points(cloud, config.points, Streams(shape_seed).generator("cloud"))
    if cloud is not None and len(points) < config.points:
        yield Notice(f"the cloud gives {len(points)} points; the flow was taught with {config.points}")
    yield Progress("points", 1, 1)
    yield Progress("features", 0, 1)
    with timed(seconds, "features"):
        noise = torch.randn(len(points), prior.channels, generator=Streams(look_seed).generator("features"))
        features = prior.sample_features(noise, points, words, **options)
    with timed(seconds, "decode"):
        surfels = prior.decode(points, features)[-1]
    yield Progress("features", 1, 1)
    report = {
        "pipeline": "gaussian-anything",
        "prompt": prompt,
        "seed": seed,
        "shape_seed": shape_seed if cloud is None else None,
        "look_seed": look_seed,
        "points": len(points),
        "surfels": len(surfels),
        "evaluations": prior.evaluations - before,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
    }
    yield Result(PointLatent(points, features, surfels), report)
