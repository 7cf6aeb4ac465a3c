"""How far surfaces are from other surfaces, as points in world units. Knows nothing of pictures."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.representations.surface import surface_points

__all__ = ["chamfer", "f_score", "nearest", "surface_points"]


def nearest(
    points: Float[Tensor, "points 3"], others: Float[Tensor, "others 3"]
) -> tuple[Float[Tensor, " points"], Int[Tensor, " points"]]:
    """The distance from each point to the nearest of `others`, and which one that is."""
    from scipy.spatial import cKDTree  # here, because scores of pictures must not cost an import of scipy

    if len(others) == 0:
        raise BadInput(
            "there are no points to measure a distance to; expected at least one", "check for an empty asset"
        )
    distance, index = cKDTree(others.detach().cpu().double().numpy()).query(points.detach().cpu().double().numpy())
    return torch.from_numpy(distance).to(points), torch.from_numpy(index).to(points.device)


def chamfer(a: Float[Tensor, "points_a 3"], b: Float[Tensor, "points_b 3"]) -> float:
    """Symmetric Chamfer distance in world units: the mean of both mean distances (not squared) to the nearest point."""
    return (nearest(a, b)[0].mean().item() + nearest(b, a)[0].mean().item()) / 2


def f_score(a: Float[Tensor, "points_a 3"], b: Float[Tensor, "points_b 3"], radius: float) -> float:
    """Harmonic mean of the fractions of points of `a` and of `b` that have the other set within `radius`, in [0, 1]."""
    near_a = (nearest(a, b)[0] <= radius).double().mean().item()
    near_b = (nearest(b, a)[0] <= radius).double().mean().item()
    return 2 * near_a * near_b / (near_a + near_b) if near_a + near_b > 0 else 0.0
