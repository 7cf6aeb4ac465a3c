"""Farthest-point sampling: the few points of a cloud that cover it most evenly. Knows positions only."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core.errors import BadInput


def farthest_points(points: Float[Tensor, "points 3"], count: int, *, first: int = 0) -> Int[Tensor, " count"]:
    """Indices of `count` points, each the farthest from all that were taken before it (Gonzalez 1985).

    Starts with row `first`; of equally far points the first row is taken, so the answer is a function of its input.
    Rows are taken once at most, duplicates last. The first k of it are what k would have given. No gradients.
    Raises BadInput if the cloud holds fewer points, or NaN or infinity.
    """
    if not 1 <= count <= len(points):
        raise BadInput(
            f"{count} of {len(points)} points were asked for; expected 1 to as many as there are",
            "sample the surface more densely, or ask for fewer",
        )
    if not torch.isfinite(points).all():
        raise BadInput("points hold NaN or infinity; expected finite positions", "drop those rows")
    x, y, z = (np.ascontiguousarray(axis) for axis in points.detach().cpu().numpy().T)
    nearest = np.full(len(x), np.inf, x.dtype)
    taken = np.empty(count, np.int64)
    newest = first
    for place in range(count):
        taken[place] = newest
        squared = (x - x[newest]) ** 2 + (y - y[newest]) ** 2 + (z - z[newest]) ** 2
        np.minimum(nearest, squared, out=nearest)
        nearest[newest] = -1.0  # below a duplicate's zero
        newest = int(nearest.argmax())
    return torch.from_numpy(taken)
