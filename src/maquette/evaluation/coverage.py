"""How well a set of made shapes covers a set of real ones, by Chamfer distance between their points.

Neither number needs a network (Achlioptas et al., arXiv 1707.02392, section 4.2). Both depend on the sizes of the sets:
compare sets of equal sizes only.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput, NonFinite


def chamfer_matrix(
    a: Float[Tensor, "clouds_a points_a 3"], b: Float[Tensor, "clouds_b points_b 3"]
) -> Float[Tensor, "clouds_a clouds_b"]:
    """`geometry.chamfer` of every cloud of `a` with every cloud of `b`, float64.

    The tree of a cloud is built once and asked about all points of the other set in one call. Raises BadInput if
    there is nothing to compare, NonFinite for NaN and infinity.
    """
    if 0 in (*a.shape, *b.shape):
        raise BadInput(f"clouds of shapes {tuple(a.shape)} and {tuple(b.shape)} hold no points", "check what was made")
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise NonFinite("clouds hold NaN or infinity", "look at the assets that they were drawn from")
    one, two = (side.detach().cpu().double().numpy() for side in (a, b))
    return torch.from_numpy((_directed(one, two) + _directed(two, one).T) / 2)


def coverage(distances: Float[Tensor, "made real"]) -> float:
    """The fraction of real shapes that are the nearest one to some made shape, in [0, 1]; 1 / real for a set of copies.

    It asks whether everything there is was made, however badly: poor shapes cover at random. Read it beside `matching`.
    """
    return len(distances.argmin(dim=1).unique()) / distances.shape[1]


def matching(distances: Float[Tensor, "made real"]) -> float:
    """Minimum matching distance: how far, in the mean, the nearest made shape is from each real one."""
    return distances.amin(dim=0).mean().item()


def _directed(queries: np.ndarray, clouds: np.ndarray) -> np.ndarray:
    """Mean distance from the points of each query cloud to their nearest ones in each cloud: (queries, clouds)."""
    from scipy.spatial import cKDTree  # here, because scores of pictures must not cost an import of scipy

    points = queries.reshape(-1, 3)
    columns = [cKDTree(cloud).query(points)[0].reshape(len(queries), -1).mean(axis=1) for cloud in clouds]
    return np.stack(columns, axis=1)
