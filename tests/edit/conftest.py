"""Small clouds and sessions that tests of edits start from."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from maquette.edit import Scene, Session
from maquette.representations import GaussianCloud


def random_cloud(n: int = 60, degree: int = 0, seed: int = 0) -> GaussianCloud:
    draw = torch.Generator().manual_seed(seed)
    return GaussianCloud(
        means=torch.rand(n, 3, generator=draw) - 0.5,
        log_scales=-3 + 0.3 * torch.randn(n, 3, generator=draw),
        quats=torch.randn(n, 4, generator=draw),
        logit_opacities=torch.randn(n, generator=draw),
        sh=0.5 * torch.randn(n, (degree + 1) ** 2, 3, generator=draw),
    )


@pytest.fixture
def make_cloud() -> Callable[..., GaussianCloud]:
    return random_cloud


@pytest.fixture
def scene() -> Scene:
    """Two balls of radius 0.1, 0.6 apart: 30 rows `left`, 30 rows `right`."""
    cloud = random_cloud(60, degree=1)
    means = 0.1 * torch.nn.functional.normalize(cloud.means, dim=-1)
    is_left = torch.arange(60) < 30
    means = means + torch.where(is_left, -0.3, 0.3)[:, None] * torch.tensor([1.0, 0, 0])
    cloud = GaussianCloud(**cloud.tensors() | {"means": means})
    return Scene(cloud, {"left": is_left, "right": ~is_left})


@pytest.fixture
def fresh(tmp_path, scene) -> Iterator[Session]:
    """A session of the scene without edits."""
    with Session.create(tmp_path / "s.mq", scene.cloud, scene.parts) as opened:
        yield opened


@pytest.fixture
def files_of() -> Callable[[Path], dict[str, bytes]]:
    """A function from a folder to all that is in it."""

    def read(folder: Path) -> dict[str, bytes]:
        found = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    return read
