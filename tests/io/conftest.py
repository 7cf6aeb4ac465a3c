"""Clouds for the tests of files: two Gaussians whose bytes in every format are known, and random ones."""

import pytest
import torch

from maquette.representations.gaussians import SH_C0, GaussianCloud


def _two_gaussians() -> GaussianCloud:
    """The fixture of all golden bytes. Computed in double, stored in float32, as the goldens were."""
    double = torch.float64
    quats = torch.tensor([[0.9, 0.1, -0.3, 0.2], [0, 0, 1, 0]], dtype=double)
    sh = torch.zeros(2, 4, 3, dtype=double)
    sh[:, 0] = (torch.tensor([[1, 0.5, 0], [0.2, 0.4, 0.6]], dtype=double) - 0.5) / SH_C0
    sh[0, 1:] = torch.tensor([[0.25, -0.5, 0.125], [0.0625, 0.5, -0.25], [-0.125, 0.75, 1]], dtype=double)
    sh[1, 2:] = torch.tensor([[0.1, 0.2, 0.3], [-0.3, -0.2, -0.1]], dtype=double)
    return GaussianCloud(
        means=torch.tensor([[0.125, -0.25, 0.375], [-0.5, 0.5, 0]], dtype=double),
        log_scales=torch.tensor([[0.3, 0.1, 0.05], [0.01, 0.02, 0.005]], dtype=double).log(),
        quats=quats / quats.norm(dim=1, keepdim=True),
        logit_opacities=torch.tensor([0.8, 0.25], dtype=double).logit(),
        sh=sh,
    ).to(torch.float32)


def _random_cloud(count: int, degree: int, seed: int = 0) -> GaussianCloud:
    """Gaussians as training leaves them: quaternions of any length, most opacities away from the ends."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return GaussianCloud(
        means=normal(count, 3) * 0.2,
        log_scales=normal(count, 3) * 0.7 - 4,
        quats=normal(count, 4) * 2,
        logit_opacities=normal(count) * 2,
        sh=torch.cat([normal(count, 1, 3), normal(count, (degree + 1) ** 2 - 1, 3) * 0.2], dim=1),
    )


@pytest.fixture(scope="session")
def two_gaussians():
    return _two_gaussians()


@pytest.fixture(scope="session")
def random_cloud():
    return _random_cloud


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """One folder for all examples of a hypothesis test."""
    return tmp_path_factory.mktemp("files")
