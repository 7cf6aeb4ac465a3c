"""The parts of a drag as functions of positions: where the source is, who follows it, and the losses that go with it.

Interactive3D (arXiv 2404.16510), section 3.2, equations 3 to 6. Tensors only: a direct drag runs these alone, a guided
one between the steps of its optimiser, with momenta of the followers at zero. Lengths are world units.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Motion:
    """A drag in progress. `start` makes it, `advance` moves it on."""

    path: Float[Tensor, "corners 3"]
    """The source first, the target last."""
    radius: float
    steps: int
    """Steps from the source to the target; the paper's alpha is the length of the path divided by this."""
    mode: Literal["rigid", "deform"]
    step: int
    """How many are done."""
    active: Bool[Tensor, " gaussians"]
    """Rows that follow the source now."""
    touched: Bool[Tensor, " gaussians"]
    """Rows that have ever followed it."""

    @property
    def source(self) -> Float[Tensor, " 3"]:
        """Where the source is now."""
        return along(self.path, self.step / self.steps)

    @property
    def is_done(self) -> bool:
        """Whether the source has reached the target."""
        return self.step >= self.steps


def start(
    means: Float[Tensor, "gaussians 3"],
    path: Float[Tensor, "corners 3"],
    *,
    radius: float,
    steps: int,
    mode: Literal["rigid", "deform"],
    allowed: Bool[Tensor, " gaussians"],
) -> Motion:
    """Rows within `radius` of the source follow it (eq. 3), among those that are allowed to."""
    active = _around(means, path[0], radius) & allowed
    return Motion(path, radius, steps, mode, 0, active, active)


@torch.no_grad()
def advance(
    motion: Motion, means: Float[Tensor, "gaussians 3"], allowed: Bool[Tensor, " gaussians"]
) -> tuple[Motion, Float[Tensor, "gaussians 3"]]:
    """One step (eq. 4): the followers go along with the source; in `deform` all that are near it then are followers.

    Others keep their bits. The last step ends exactly at the target.
    """
    shift = along(motion.path, (motion.step + 1) / motion.steps) - motion.source
    moved = torch.where(motion.active[:, None], means + shift, means)
    motion = replace(motion, step=motion.step + 1)
    if motion.mode == "deform" and not motion.is_done:
        active = _around(moved, motion.source, motion.radius) & allowed
        motion = replace(motion, active=active, touched=motion.touched | active)
    return motion, moved


def along(path: Float[Tensor, "corners 3"], fraction: float) -> Float[Tensor, " 3"]:
    """The point of a polyline after this fraction of its length, 0 to 1."""
    lengths = torch.linalg.vector_norm(path.diff(dim=0), dim=-1)
    ends = lengths.cumsum(0)
    if fraction >= 1:
        return path[-1]
    at = fraction * ends[-1]
    piece = int(torch.searchsorted(ends, at, right=True).clamp(max=len(lengths) - 1))
    rest = at - (ends[piece] - lengths[piece])
    return path[piece] + (path[piece + 1] - path[piece]) * (rest / lengths[piece])


def goals(
    started: Float[Tensor, "rows 3"],
    source: Float[Tensor, " 3"],
    target: Float[Tensor, " 3"],
    form: Literal["point", "offset"],
) -> Float[Tensor, "rows 3"]:
    """Where followers shall go: all to the target itself, as in the paper, or each with its offset from the source.

    `point` draws a large part together; `offset` (ours) keeps its shape.
    """
    return target.expand_as(started) if form == "point" else target + (started - source)


def motion_loss(moved: Float[Tensor, "rows 3"], goal: Float[Tensor, "rows 3"]) -> Float[Tensor, ""]:
    """Sum of L1 distances to the goals (eq. 5)."""
    return (moved - goal).abs().sum()


def rigid_loss(
    moved: Float[Tensor, "rows 3"],
    source: Float[Tensor, " 3"],
    started: Float[Tensor, "rows 3"],
    source_started: Float[Tensor, " 3"],
) -> Float[Tensor, ""]:
    """Sum of changes of the distance to the source (eq. 6). Turns about the source cost nothing."""
    now = torch.linalg.vector_norm(moved - source, dim=-1)
    return (now - torch.linalg.vector_norm(started - source_started, dim=-1)).abs().sum()


def edge_loss(
    moved: Float[Tensor, "rows 3"],
    started: Float[Tensor, "rows 3"],
    neighbors: Int[Tensor, "rows neighbors"],
) -> Float[Tensor, ""]:
    """Mean change of the distances between rows and their neighbours (ours): rigid up to turns of the whole part."""

    def lengths(points: Tensor) -> Tensor:
        return torch.linalg.vector_norm(points[:, None] - points[neighbors], dim=-1)

    return (lengths(moved) - lengths(started)).abs().mean()


def swept(
    means: Float[Tensor, "gaussians 3"], path: Float[Tensor, "corners 3"], radius: float
) -> Bool[Tensor, " gaussians"]:
    """Rows within `radius` of the path: where a guided drag adds Gaussians."""
    is_near = torch.zeros(len(means), dtype=torch.bool, device=means.device)
    for begin, end in zip(path[:-1], path[1:], strict=True):
        step = end - begin
        share = ((means - begin) @ step / (step @ step)).clamp(0, 1)
        is_near |= torch.linalg.vector_norm(means - (begin + share[:, None] * step), dim=-1) <= radius
    return is_near


def _around(means: Tensor, center: Tensor, radius: float) -> Tensor:
    return torch.linalg.vector_norm(means - center, dim=-1) <= radius
