"""Splat readers and writers are chosen by the ending; all of them draw the same ellipsoids in the same places."""

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.core.rotation import quat_to_matrix
from maquette.io.splats import load_splats, save_splats


def covariances(cloud):
    root = quat_to_matrix(cloud.quats) * cloud.scales[:, None]
    return root @ root.mT


@pytest.mark.parametrize(
    "chain", [(".ply", ".glb"), (".glb", ".spz"), (".spz", ".ply"), (".ply", ".spz", ".glb", ".ply")]
)
def test_from_format_to_format(chain, random_cloud, tmp_path):
    cloud = random_cloud(60, 2)
    cloud = seen = type(cloud)(**cloud.tensors() | {"sh": cloud.sh.clamp(-3.3, 3.3)})  # where SPZ does not saturate
    for suffix in chain:
        save_splats(tmp_path / f"a{suffix}", seen)
        seen = load_splats(tmp_path / f"a{suffix}")
    is_lossy = ".spz" in chain  # positions to 1/8192, scales to 3.2 %, opacities to 1/510
    assert torch.allclose(seen.means, cloud.means, atol=1.3e-4 if is_lossy else 0)
    scale = covariances(cloud).flatten(1).abs().amax(dim=1)[:, None, None]
    assert ((covariances(seen) - covariances(cloud)).abs() / scale).max() < (0.08 if is_lossy else 1e-4)
    assert torch.allclose(seen.opacities, cloud.opacities, atol=2e-3 if is_lossy else 1e-6)
    assert torch.allclose(seen.rgb, cloud.rgb, atol=4e-3 if is_lossy else 1e-6)


def test_other_endings_are_refused(random_cloud, tmp_path):
    with pytest.raises(BadInput, match=r"expected \.ply, \.spz or \.glb"):
        save_splats(tmp_path / "a.splat", random_cloud(1, 0))
    with pytest.raises(BadInput, match=r"expected \.ply, \.spz or \.glb"):
        load_splats(tmp_path / "a")
