"""Half turns of Gaussians: what sign flips do must be what turning the whole ellipsoid and its colors does."""

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.core.rotation import quat_to_matrix
from maquette.io.axes import HALF_TURNS, checked, half_turn
from maquette.representations.gaussians import GaussianCloud, state_hash


def covariances(cloud: GaussianCloud) -> torch.Tensor:
    half = quat_to_matrix(cloud.quats) * cloud.scales[:, None]
    return half @ half.mT


def basis(directions: torch.Tensor) -> torch.Tensor:
    """Real spherical harmonics up to degree 3 in the order of 3DGS (Kerbl et al. 2023), signs included."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    return torch.stack([
        0.28209479177387814 + 0 * x,
        -0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x,
        1.0925484305920792 * x * y, -1.0925484305920792 * y * z, 0.31539156525252005 * (2 * zz - xx - yy),
        -1.0925484305920792 * x * z, 0.5462742152960396 * (xx - yy),
        -0.5900435899266435 * y * (3 * xx - yy), 2.890611442640554 * x * y * z,
        -0.4570457994644658 * y * (4 * zz - xx - yy), 0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
        -0.4570457994644658 * x * (4 * zz - xx - yy), 1.445305721320277 * z * (xx - yy),
        -0.5900435899266435 * x * (xx - 3 * yy),
    ], dim=-1)  # fmt: skip


@pytest.mark.parametrize("axes", HALF_TURNS)
def test_a_half_turn_moves_means_ellipsoids_and_colors_together(axes, random_cloud):
    cloud = random_cloud(20, 3).to(torch.float64)
    turn = torch.diag(torch.tensor(HALF_TURNS[axes], dtype=torch.float64))
    assert torch.linalg.det(turn) == 1  # a turn and not a mirror
    turned = half_turn(cloud, axes)
    assert torch.allclose(turned.means, cloud.means @ turn.T, atol=1e-15)
    assert torch.allclose(covariances(turned), turn @ covariances(cloud) @ turn.T, atol=1e-15)
    directions = torch.nn.functional.normalize(torch.randn(50, 3, dtype=torch.float64), dim=-1)
    seen = torch.einsum("dk,nkc->ndc", basis(directions), cloud.sh)
    seen_turned = torch.einsum("dk,nkc->ndc", basis(directions @ turn.T), turned.sh)
    assert torch.allclose(seen, seen_turned, atol=1e-12)


@pytest.mark.parametrize("axes", HALF_TURNS)
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_turning_twice_gives_back_the_same_bits(axes, degree, random_cloud):
    cloud = random_cloud(7, degree)
    assert state_hash(half_turn(half_turn(cloud, axes), axes)) == state_hash(cloud)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("means", float("nan"), "NaN"),
        ("sh", float("inf"), "NaN or infinite"),
        ("quats", 0.0, "zero quaternion"),
        ("log_scales", 40.0, "log-scale above 30"),
    ],
)
def test_what_cannot_be_rendered_is_refused_with_a_count(name, value, words, random_cloud):
    tensors = {key: tensor.clone() for key, tensor in random_cloud(9, 1).tensors().items()}
    tensors[name][2:5] = value
    with pytest.raises(BadInput, match=f"3 of 9 .*{words}"):
        checked(GaussianCloud(**tensors), "a.ply")
