"""The Fréchet distance between two sets of samples, over features of any network: FID, and P-FID over point clouds."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.evaluation.features import Features, check_comparable


@dataclass(frozen=True)
class Frechet:
    """A Fréchet distance, and what one must know to read it."""

    value: float
    network: str
    samples: tuple[int, int]
    features: int

    @property
    def is_singular(self) -> bool:
        """Whether a set has no more samples than there are features.

        Its covariance then lacks whole directions and the value is far too large: compare it only with values of sets
        of the same size. (With more samples it is still a little too large.)
        """
        return min(self.samples) <= self.features


def frechet_distance(a: Features, b: Features) -> Frechet:
    """|mu_a - mu_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2)) with unbiased covariances (Heusel et al. 2017, eq. 6).

    This is the squared 2-Wasserstein distance between Gaussians with these moments. Raises BadInput for features of
    two networks.
    """
    check_comparable(a, b)
    value = frechet_of_moments(a.rows.mean(dim=0), covariance(a.rows), b.rows.mean(dim=0), covariance(b.rows))
    return Frechet(value, a.network, (len(a), len(b)), a.rows.shape[1])


def covariance(rows: Float[Tensor, "samples features"]) -> Float[Tensor, "features features"]:
    """Unbiased covariance (over samples - 1), nothing added to its diagonal."""
    centred = rows - rows.mean(dim=0)
    return centred.T @ centred / (len(rows) - 1)


def frechet_of_moments(
    mean_a: Float[Tensor, " features"],
    covariance_a: Float[Tensor, "features features"],
    mean_b: Float[Tensor, " features"],
    covariance_b: Float[Tensor, "features features"],
) -> float:
    """The Fréchet distance between two Gaussians, never below 0.

    The trace of (S_a S_b)^(1/2), a product that is not symmetric, equals that of (R S_b R)^(1/2) with R = S_a^(1/2),
    which is; the eigenvalues of both are real, and no complex root can come out of rounding.
    """
    root = _root(covariance_a)
    inner = root @ covariance_b @ root
    shared = _eigenvalues((inner + inner.T) / 2).sqrt().sum()
    value = (mean_a - mean_b).square().sum() + covariance_a.trace() + covariance_b.trace() - 2 * shared
    return max(value.item(), 0.0)


def _root(matrix: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """The symmetric root of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ (_without_noise(values).sqrt()[:, None] * vectors.T)


def _eigenvalues(matrix: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    return _without_noise(torch.linalg.eigvalsh(matrix))


def _without_noise(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Eigenvalues that rounding could have made of zero are zero: a root makes 1e-8 of every 1e-16, in each direction
    that singular covariances lack."""
    floor = values.abs().max() * len(values) * torch.finfo(values.dtype).eps
    return torch.where(values > floor, values, 0.0)
