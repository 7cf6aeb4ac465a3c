"""Moving the few points that an object was made from, and drawing it anew with the noise that it had.

The editing of GaussianAnything (arXiv 2411.08033): features are made again for the moved points, so that parts do not
tear as they do when their surfels are moved. This module does not know where the first points came from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from maquette.core import Streams
from maquette.core.errors import BadInput
from maquette.core.inputs import check_seed
from maquette.edit.journal import Entry, history
from maquette.edit.regions import Vector
from maquette.edit.scene import Change, Scene, changed_in_place, descended
from maquette.edit.transform import middle
from maquette.edit.values import decoded
from maquette.priors.point_latent import PointLatentPrior, load_point_latent
from maquette.representations.point_latent import HALF_BOX, LEAST
from maquette.representations.surfels import gaussians_from_surfels


@dataclass(frozen=True)
class Latent:
    """Draw the whole object again from these points, each with the noise that it had when it was made.

    With as many points as before every Gaussian keeps its row, and so its parts; with fewer, parts end.
    """

    prompt: str
    look_seed: int
    drawn: int
    """Points that the noise was drawn for."""
    rows: tuple[int, ...]
    """Which of that noise each point has."""
    points: tuple[Vector, ...]
    """World units."""
    guidance: float = 4.0
    steps: int | None = 25
    weights: str = ""
    """Folder of the networks; what is shipped, if empty."""

    def __post_init__(self) -> None:
        check_seed(self.look_seed)
        if len(self.points) != len(self.rows) or len(self.points) < LEAST:
            raise BadInput(
                f"{len(self.points)} points with {len(self.rows)} rows of noise; expected at least {LEAST} of both",
                "leave more of the object",
            )
        if not all(0 <= row < self.drawn for row in self.rows):
            raise BadInput(f"a row of the noise is not among the {self.drawn} drawn", "check the edit")
        if not all(abs(x) <= HALF_BOX for point in self.points for x in point):
            raise BadInput("a point lies outside of the box from -0.5 to 0.5", "move it back")


def latent(edit: Latent, scene: Scene) -> tuple[Change, int]:
    """The scene with the object drawn anew, and the network passes it took. BadInput where there are no weights."""
    prior = _prior(edit.weights)
    before = prior.evaluations
    noise = torch.randn(edit.drawn, prior.channels, generator=Streams(edit.look_seed).generator("features"))
    points, words = torch.tensor(edit.points), prior.words(edit.prompt)
    features = prior.sample_features(noise[list(edit.rows)], points, words, guidance=edit.guidance, steps=edit.steps)
    cloud = gaussians_from_surfels(prior.decode(points, features)[-1])
    every = torch.ones(len(scene.cloud), dtype=torch.bool)
    if len(cloud) == len(scene.cloud):
        change = changed_in_place(scene, cloud, every)
    else:
        none = torch.zeros(0, dtype=torch.long)
        change = descended(scene, cloud, torch.full((len(cloud),), -1), none, every)
    return change, prior.evaluations - before


def moved(
    edit: Latent,
    scene: Scene,
    part: str,
    *,
    by: Vector = (0.0, 0.0, 0.0),
    factors: Vector = (1.0, 1.0, 1.0),
    pivot: Vector | None = None,
    is_removed: bool = False,
) -> Latent:
    """The edit with the points of `part` scaled about `pivot` (the middle of their box if None), then shifted, or gone.

    Points are cut to the box. BadInput for a part that holds none.
    """
    chosen, points = points_of(scene, part, len(edit.points)), torch.tensor(edit.points)
    if is_removed:
        left = (~chosen).nonzero()[:, 0].tolist()
        return replace(edit, rows=tuple(edit.rows[i] for i in left), points=tuple(edit.points[i] for i in left))
    old = points[chosen]
    away = old - (middle(old) if pivot is None else torch.tensor(pivot))
    new = old + (torch.tensor(factors) - 1) * away + torch.tensor(by)  # a factor of 1 changes no bit
    points[chosen] = new.clamp(-HALF_BOX, HALF_BOX)
    return replace(edit, points=tuple(tuple(point) for point in points.tolist()))


def points_of(scene: Scene, part: str, count: int) -> Bool[Tensor, " points"]:
    """The latent points most of whose Gaussians are in a part. BadInput if there is none, or for another scene."""
    rows = scene.rows(part)
    if len(rows) % count:
        raise BadInput(
            f"the scene has {len(rows)} Gaussians, which {count} latent points cannot have made",
            "undo the edits that added or removed some, or name the asset that it is",
        )
    chosen = rows.view(count, -1).float().mean(1) > 0.5
    if not bool(chosen.any()):
        raise BadInput(f"{part!r} holds no latent point: less than half of the Gaussians of each", "select more")
    return chosen


def last_latent(entries: Sequence[Entry]) -> Latent | None:
    """The last edit of this kind that a log has and that was not undone."""
    for line in reversed(history(entries).done):
        edit = entries[line].edit
        if edit is not None and edit.get("kind") == "latent":
            return decoded(edit, (Latent,))
    return None


@lru_cache(maxsize=1)
def _prior(weights: str) -> PointLatentPrior:
    return load_point_latent(Path(weights) if weights else None)
