"""An object as a few points of its surface with features, and the surfels that they mean (GaussianAnything).

Knows positions and clouds: what a cloud that somebody brings must be like. No networks, no files.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.representations.farthest import farthest_points
from maquette.representations.surfels import SurfelCloud

HALF_BOX = 0.5
"""Objects lie in [-0.5, 0.5]^3."""
SLACK = 1e-3
"""World units by which a cloud may leave the box; it is cut back to it."""
LEAST = 16
"""Distinct points below which there is no shape to speak of."""
THINNED = 65_536
"""Rows, drawn by lot, among which the farthest points of a larger cloud are taken."""


@dataclass(frozen=True)
class PointLatent:
    """What a flow made: points, their features, and the finest surfels that the decoder makes of both."""

    points: Float[Tensor, "points 3"]
    """World units."""
    features: Float[Tensor, "points channels"]
    surfels: SurfelCloud


def latent_points(cloud: Float[Tensor, "rows 3"], count: int, generator: torch.Generator) -> Float[Tensor, "points 3"]:
    """At most `count` points of a cloud that cover it evenly; a cloud of no more than that stays as it is, in order.

    Larger ones lose their duplicates, and then all but the farthest points. Raises BadInput for NaN or infinity, for
    fewer than `LEAST` distinct points, and for clouds outside of the box.
    """
    broken = int((~cloud.isfinite()).any(1).sum())
    if broken:
        raise BadInput(f"{broken} of {len(cloud)} points hold NaN or infinity", "drop those rows")
    if len(cloud) < LEAST:
        raise BadInput(f"the cloud has {len(cloud)} points; expected at least {LEAST}", f"about {count} are right")
    low, high = cloud.amin(0), cloud.amax(0)
    if max(-low.min().item(), high.max().item()) > HALF_BOX + SLACK:
        spans = ", ".join(f"{a:.3g} to {b:.3g}" for a, b in zip(low.tolist(), high.tolist(), strict=True))
        raise BadInput(
            f"the cloud reaches from {spans} along x, y and z; expected -0.5 to 0.5",
            "centre it, and scale its longest side to 1",
        )
    cloud = cloud.clamp(-HALF_BOX, HALF_BOX)
    if len(cloud) > THINNED:
        cloud = cloud[torch.randperm(len(cloud), generator=generator)[:THINNED].to(cloud.device)]
    distinct = torch.unique(cloud, dim=0)
    if len(distinct) < LEAST:
        raise BadInput(
            f"of {len(cloud)} points {len(distinct)} are distinct; expected at least {LEAST}",
            f"about {count} are right",
        )
    if len(cloud) <= count:
        return cloud
    return distinct[farthest_points(distinct, count)] if len(distinct) > count else distinct
