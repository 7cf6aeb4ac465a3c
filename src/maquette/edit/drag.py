"""Drags without guidance: the rows near a point follow it along a path, and the gap behind them is filled.

`rigid` moves the rows that are near the start; `deform` also takes along what the source meets on its way. The paper
(Interactive3D, section 3.2) lets a prior heal the surface while it moves, see `guided_drag.py`; here, chains of
Gaussians do.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.core.rotation import quat_to_matrix
from maquette.edit import motion
from maquette.edit.regions import Vector, nearest, positive
from maquette.edit.scene import ALL, Change, Scene, changed_in_place, extended, put
from maquette.edit.transform import near
from maquette.representations import GaussianCloud

LONGEST_CHAIN = 32  # Gaussians between two rows that were neighbours
MOST_NEW = 100_000  # Gaussians of one drag


@dataclass(frozen=True)
class Drag:
    """Pull what lies within `radius` of `source` along `path`, whose last point is the target (world units)."""

    source: Vector
    path: tuple[Vector, ...]
    radius: float
    mode: Literal["rigid", "deform"] = "deform"
    part: str = ALL
    """Only rows of this part follow."""
    steps: int = 100
    fill: bool = True
    """Bridge the gap between what moved and what stayed."""

    def __post_init__(self) -> None:
        check_path(self.source, self.path, self.radius, self.mode)
        if not 1 <= self.steps <= 10_000:
            raise BadInput(f"the drag has {self.steps} steps; expected 1 to 10000", "the default is 100")


def drag(edit: Drag, scene: Scene) -> Change:
    """BadInput if no row lies near the source. New rows are in the parts of the nearer end of their chain."""
    allowed, means = scene.rows(edit.part), scene.cloud.means.double()
    path = means.new_tensor((edit.source, *edit.path))
    steps = edit.steps if edit.mode == "deform" else 1  # followers that do not change arrive in one step as well
    state = motion.start(means, path, radius=edit.radius, steps=steps, mode=edit.mode, allowed=allowed)
    if not bool(state.active.any()):
        raise nothing_near(means[allowed], path[0], edit.radius)
    moved = means
    while not state.is_done:
        state, moved = motion.advance(state, moved, allowed)
    rows = state.touched
    part = scene.cloud.select(rows)
    part = GaussianCloud(**part.tensors() | {"means": moved[rows].to(part.means)})
    change = changed_in_place(scene, put(scene.cloud, rows, part), rows)
    if not edit.fill:
        return change
    new, parents = bridges(scene.cloud, change.scene.cloud, rows)
    return extended(change.scene, new, parents, rows) if len(new) else change


def check_path(source: Vector, path: tuple[Vector, ...], radius: float, mode: Literal["rigid", "deform"]) -> None:
    """BadInput unless the drag goes somewhere, from and to sensible places."""
    positive(radius, "the radius of a drag")
    corners = (source, *path)
    for corner in corners:
        near(corner, "a point of the drag")
    returns = mode == "rigid" and corners[0] == corners[-1]
    if not path or returns or any(a == b for a, b in zip(corners[:-1], corners[1:], strict=True)):
        raise BadInput("the drag goes nowhere: a point equals the one before", "drag to another place")


def nothing_near(means: Float[Tensor, "rows 3"], source: Float[Tensor, " 3"], radius: float) -> BadInput:
    """The error for a source that has no row around it; `means` are those that might have followed."""
    away = torch.linalg.vector_norm(means - source, dim=-1).amin()
    place = ", ".join(f"{x:.4g}" for x in source.tolist())
    return BadInput(
        f"nothing lies within {radius:g} of the source ({place}); the nearest row is {away:.3g} away",
        "move the source or enlarge the radius",
    )


def bridges(
    before: GaussianCloud, after: GaussianCloud, moved: Bool[Tensor, " gaussians"]
) -> tuple[GaussianCloud, Int[Tensor, " new"]]:
    """Chains of round Gaussians between rows that moved and those of their three neighbours that stayed, and parents.

    GSGEN's compactness densification (arXiv 2309.16585) puts one Gaussian into the middle of a gap between neighbours
    whose three standard deviations do not meet; a drag opens wider gaps, so here are as many as the rows' own size
    asks for. Colors and opacities run from one end to the other. BadInput for a gap that takes too many.
    """
    if bool(moved.all()):
        return after.select(slice(0, 0)), torch.zeros(0, dtype=torch.int64)
    rows = moved.nonzero()[:, 0]
    around = nearest(before.means.double(), before.means[moved].double(), 4)[:, 1:]
    at, rank = (~moved[around]).nonzero().unbind(-1)
    i, j = rows[at], around[at, rank]
    line = after.means[j].double() - after.means[i].double()
    length = torch.linalg.vector_norm(line, dim=-1)
    reach = 3 * (_spread(after, i, line) + _spread(after, j, line))
    gap = length - reach
    gap_before = torch.linalg.vector_norm((before.means[j] - before.means[i]).double(), dim=-1) - reach
    is_open = (gap > 0) & (gap > gap_before) & (length > 0)
    i, j, line, length, gap, reach = (x[is_open] for x in (i, j, line, length, gap, reach))
    count = (gap / reach.clamp(min=1e-9)).ceil().clamp(1, LONGEST_CHAIN).long()
    if int(count.sum()) > MOST_NEW:
        raise BadInput(
            f"filling the gap would take {int(count.sum())} Gaussians; expected at most {MOST_NEW}",
            "drag a part that hangs together, or leave the gap open (fill=False, --no-fill)",
        )
    pair = torch.repeat_interleave(torch.arange(len(i)), count)
    link = torch.arange(len(pair)) - torch.repeat_interleave(count.cumsum(0) - count, count)
    i, j, gap, length, count = (x[pair] for x in (i, j, gap, length, count))
    begin = 3 * _spread(after, i, line[pair])
    share = ((begin + gap * (link + 0.5) / count) / length).to(after.means)

    def blended(values: Tensor) -> Tensor:
        weight = share.view(-1, *[1] * (values.ndim - 1))
        return values[i] + (values[j] - values[i]) * weight

    new = GaussianCloud(
        blended(after.means),
        (gap / (6 * count)).log().to(after.log_scales)[:, None].expand(-1, 3).contiguous(),
        after.quats[i],
        blended(after.logit_opacities),
        blended(after.sh),
    )
    return new, torch.where(share < 0.5, i, j)


def _spread(cloud: GaussianCloud, rows: Int[Tensor, " rows"], line: Float[Tensor, "rows 3"]) -> Float[Tensor, " rows"]:
    """Where the ellipsoid of one standard deviation ends along a line."""
    unit = torch.nn.functional.normalize(line, dim=-1)
    local = (quat_to_matrix(cloud.quats[rows].double()).mT @ unit[..., None])[..., 0]
    return torch.linalg.vector_norm(local / cloud.scales[rows].double(), dim=-1).reciprocal()
