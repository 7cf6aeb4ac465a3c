"""The kernel distance between two sets of samples, over features of any network: KID, and P-KID over point clouds."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.core.errors import BadInput
from maquette.evaluation.features import Features, check_comparable


@dataclass(frozen=True)
class KernelDistance:
    """Mean and standard deviation of the distance over random subsets, and what one must know to read it.

    Not multiplied by anything; papers print it times 100 or 1000. The deviation is that of a subset and not of the
    mean, and subsets overlap.
    """

    mean: float
    deviation: float
    network: str
    samples: tuple[int, int]
    subsets: int
    subset_size: int


def kernel_distance(
    a: Features, b: Features, generator: torch.Generator, *, subsets: int = 100, subset_size: int = 1000
) -> KernelDistance:
    """KID (Bińkowski et al., arXiv 1801.01401): the unbiased squared MMD, k(x, y) = (x . y / width + 1)^3, on subsets.

    A subset takes `subset_size` samples of each set without repeats, or as many as the smaller set has. Unlike FID it
    does not grow when there are few samples, and for two sets of one kind it is as often below 0 as above. Raises
    BadInput for features of two networks, and for subsets of fewer than two samples.
    """
    check_comparable(a, b)
    size = min(subset_size, len(a), len(b))
    if size < 2 or subsets < 1:
        raise BadInput(
            f"{subsets} subsets of {size} samples were asked for; expected at least one of at least 2", "100 is usual"
        )
    found = torch.empty(subsets, dtype=torch.float64)
    for i in range(subsets):
        some = (side.rows[torch.randperm(len(side), generator=generator)[:size]] for side in (a, b))
        found[i] = squared_mmd(*some)
    deviation = found.std(correction=0).item()
    return KernelDistance(found.mean().item(), deviation, a.network, (len(a), len(b)), subsets, size)


def squared_mmd(x: Float[Tensor, "samples_x features"], y: Float[Tensor, "samples_y features"]) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, eq. 3).

    No sample is compared with itself within a set, so it may be negative, and is where x and y are the same rows.
    """
    own = [_kernel(side, side) for side in (x, y)]
    within = sum((k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in own)
    return (within - 2 * _kernel(x, y).mean()).item()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3
