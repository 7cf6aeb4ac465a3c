"""What a run looks like on its way: the same measures at several moments, and how fast it got where it is.

A curve is a list of rows, one for each look, with `evaluations` and `seconds` spent so far and the `MEASURES`.
"""

import math
import statistics
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.camera import turntable
from maquette.core.errors import BadInput
from maquette.evaluation.appearance import saturation, sharpness
from maquette.evaluation.consistency import janus_by_reference, reprojection
from maquette.evaluation.text import similarity
from maquette.priors.protocol import Encoder
from maquette.render.gaussians import render_gaussians
from maquette.representations.gaussians import GaussianCloud

VIEWS, ELEVATION_DEG, VIEW_PX = 8, 15.0, 128
MEASURES = ("similarity", "saturation", "sharpness", "janus")

Row = dict[str, float | None]


@torch.no_grad()
def look(
    cloud: GaussianCloud, prompt: str, judge: Encoder, reference: Float[Tensor, "sides size size 3"]
) -> tuple[Row, Float[Tensor, "views height width 3"]]:
    """All measures of a cloud from 8 views around it on white, and these views.

    `difference` and `shared` are those of `reprojection`, None where no view holds a solid pixel of another.
    """
    camera = turntable(VIEWS, ELEVATION_DEG, size=VIEW_PX)
    seen = render_gaussians(cloud.detach().to("cpu"), camera, background=torch.ones(3))
    color = seen.color.clamp(0, 1)
    row = look_at_views(color, seen.alpha, prompt, judge, reference)
    try:
        agreement = reprojection(seen, camera)
        row |= {"difference": agreement.difference, "shared": agreement.shared}
    except BadInput:  # a fog has no surface: a fact about the cloud, and no reason to stop
        row |= {"difference": None, "shared": None}
    return row, color


@torch.no_grad()
def look_at_views(
    color: Float[Tensor, "views height width 3"],
    alpha: Float[Tensor, "views height width"],
    prompt: str,
    judge: Encoder,
    reference: Float[Tensor, "sides size size 3"],
) -> Row:
    """The `MEASURES` of views on white, whatever made them; the Janus score is the share that the front claims."""
    seen = judge.embed_image(color)
    words = judge.embed_text([prompt]).expand_as(seen)
    return {
        "similarity": similarity(seen, words).mean().item(),
        "saturation": saturation(color, alpha).mean().item(),
        "sharpness": sharpness(color, alpha).mean().item(),
        "janus": janus_by_reference(color, reference, judge).float().mean().item(),
    }


def reached(
    curve: Sequence[Row], level: float, *, measure: str = "similarity", cost: str = "evaluations"
) -> float | None:
    """What had been spent when a measure first came up to `level`, between two looks on a straight line.

    None if it never did; the cost of the first look if it began there.
    """
    for before, after in zip([curve[0], *curve[:-1]], curve, strict=True):
        if after[measure] >= level:
            rise = after[measure] - before[measure]
            part = (level - before[measure]) / rise if rise > 0 else 1.0
            return before[cost] + max(part, 0.0) * (after[cost] - before[cost])
    return None


def resampled(curve: Sequence[Row], spent: Sequence[float], *, cost: str = "evaluations") -> list[Row]:
    """The rows that a curve has after `spent`, between two looks on a straight line and held at both ends.

    Between two looks of which one does not have a number, it is None.
    """
    rows = []
    for x in spent:
        after = next((i for i, row in enumerate(curve) if row[cost] >= x), len(curve) - 1)
        left, right = curve[max(after - 1, 0)], curve[after]
        gap = right[cost] - left[cost]
        part = min(max((x - left[cost]) / gap, 0.0), 1.0) if gap > 0 else 1.0
        rows.append({name: _between(left[name], right[name], part) for name in right} | {cost: x})
    return rows


def mean_curve(curves: Sequence[Sequence[Row]]) -> list[Row]:
    """The mean over several runs, look by look; all need the same number of looks. A None counts for nothing."""
    return _over_runs(curves, lambda values: statistics.fmean(values) if values else None)


def error_curve(curves: Sequence[Sequence[Row]]) -> list[Row]:
    """The standard error of `mean_curve`; None where fewer than two runs have a number."""
    return _over_runs(
        curves, lambda values: statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    )


def _over_runs(curves: Sequence[Sequence[Row]], measure: Callable[[list[float]], float | None]) -> list[Row]:
    rows = []
    for looks in zip(*curves, strict=True):
        known = {name: [row[name] for row in looks if row[name] is not None] for name in looks[0]}
        rows.append({name: measure(values) for name, values in known.items()})
    return rows


def _between(left: float | None, right: float | None, part: float) -> float | None:
    if part == 1:
        return right
    return None if left is None or right is None else left + part * (right - left)
