"""Transformed clouds against the algebra that defines them, in double precision, and against their own pictures."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core import BadInput, Camera, orbit, quat_to_matrix
from maquette.kernels.splat3d.spherical_harmonics import sh_to_color
from maquette.render import render_gaussians
from maquette.representations import GaussianCloud
from maquette.representations.transform import about, transform


def random_cloud(n: int = 40, degree: int = 3, seed: int = 0) -> GaussianCloud:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    return GaussianCloud(
        means=0.2 * normal(n, 3),
        log_scales=-3 + 0.7 * normal(n, 3),
        quats=normal(n, 4),
        logit_opacities=normal(n),
        sh=0.2 * normal(n, (degree + 1) ** 2, 3),
    )


def covariance(cloud: GaussianCloud) -> torch.Tensor:
    rotation = quat_to_matrix(cloud.quats)
    return rotation @ torch.diag_embed(cloud.scales**2) @ rotation.mT


def maps(seed: int) -> torch.Tensor:
    return torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(seed: int) -> torch.Tensor:
    return quat_to_matrix(torch.randn(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31))
def test_any_map_moves_means_and_covariances_by_the_definition(seed):
    cloud, linear = random_cloud(seed=seed % 7), maps(seed)
    if torch.linalg.svdvals(linear)[2] < 1e-3:
        return
    offset = torch.tensor([0.3, -0.1, 0.2], dtype=torch.float64)
    moved = transform(cloud, linear, offset)
    torch.testing.assert_close(moved.means, cloud.means @ linear.T + offset)
    wanted = linear @ covariance(cloud) @ linear.T
    torch.testing.assert_close(covariance(moved), wanted, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(moved.quats.norm(dim=-1), torch.ones(40, dtype=torch.float64))
    assert torch.equal(moved.logit_opacities, cloud.logit_opacities)


@pytest.mark.parametrize("reflects", [False, True])
def test_similarities_scale_turn_and_mirror(reflects):
    cloud, linear = random_cloud(), 1.7 * rotation(3)
    if reflects:
        linear = linear @ torch.diag(torch.tensor([1.0, -1, 1], dtype=torch.float64))
    moved = transform(cloud, linear)
    torch.testing.assert_close(moved.log_scales, cloud.log_scales + math.log(1.7))  # no axis changed places
    torch.testing.assert_close(covariance(moved), linear @ covariance(cloud) @ linear.T, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("reflects", [False, True])
def test_colors_turn_with_the_object(reflects):
    cloud, linear = random_cloud(), rotation(5)
    if reflects:
        linear = -linear
    directions = torch.nn.functional.normalize(maps(1), dim=-1)[:, None].expand(3, 40, 3)
    before = sh_to_color(cloud.sh, directions)
    after = sh_to_color(transform(cloud, linear).sh, directions @ linear.T)
    torch.testing.assert_close(after, before, atol=1e-12, rtol=0)


def test_a_stretch_turns_colors_by_its_polar_factor():
    cloud, turn = random_cloud(), rotation(2)
    stretch = torch.diag(torch.tensor([2.0, 1, 0.5], dtype=torch.float64))
    torch.testing.assert_close(transform(cloud, turn @ stretch).sh, transform(cloud, turn).sh, atol=1e-12, rtol=0)


def test_the_golden_stretch():
    """s = (.3, .1, .05), q = (.8, .2, -.4, .4); the eigenvalues of A Sigma A^T are those of any other way."""
    one = GaussianCloud(
        torch.zeros(1, 3).double(),
        torch.tensor([[0.3, 0.1, 0.05]]).double().log(),
        torch.tensor([[0.8, 0.2, -0.4, 0.4]]).double(),
        torch.zeros(1).double(),
        torch.zeros(1, 1, 3).double(),
    )
    linear = torch.diag(torch.tensor([2.0, 1, 0.5], dtype=torch.float64))
    wanted = torch.linalg.eigvalsh(linear @ covariance(one) @ linear.T)[0].sqrt()
    torch.testing.assert_close(transform(one, linear).scales[0].sort().values, wanted, rtol=1e-12, atol=0)


def test_a_picture_of_the_moved_cloud_is_the_picture_from_the_moved_camera():
    cloud, turn = random_cloud(), rotation(8)
    offset = torch.tensor([0.05, -0.1, 0.02], dtype=torch.float64)
    camera = orbit(torch.tensor([20.0], dtype=torch.float64), 10.0, size=24)
    rigid = torch.eye(4, dtype=torch.float64)
    rigid[:3, :3], rigid[:3, 3] = turn, offset
    from_inside = Camera(rigid.inverse() @ camera.world_from_camera, camera.focal_px, camera.center_px, 24, 24)
    moved = render_gaussians(transform(cloud, turn, offset), camera).color
    torch.testing.assert_close(moved, render_gaussians(cloud, from_inside).color, atol=1e-10, rtol=0)


def test_a_shift_changes_nothing_but_means():
    cloud = random_cloud().to(torch.float32)
    moved = transform(cloud, torch.eye(3), torch.tensor([0.5, 0.0, 0.0]))
    for name in ("log_scales", "quats", "logit_opacities", "sh"):
        assert torch.equal(getattr(moved, name), getattr(cloud, name))


def test_extreme_and_degenerate_rows_stay_finite():
    cloud = random_cloud(3)
    log_scales = torch.tensor([[-60.0, 0, 0], [40, 40, -200], [0, 0, 0]], dtype=torch.float64)
    quats = torch.tensor([[0.0, 0, 0, 0], [1, 2, 3, 4], [1e-30, 0, 0, 0]], dtype=torch.float64)
    cloud = GaussianCloud(cloud.means, log_scales, quats, cloud.logit_opacities, cloud.sh)
    moved = transform(cloud, torch.diag(torch.tensor([2.0, 1, 0.5])))
    assert all(torch.isfinite(tensor).all() for tensor in moved.tensors().values())
    torch.testing.assert_close(moved.scales[0], torch.tensor([2 * math.exp(-60), 1, 0.5], dtype=torch.float64))
    assert len(transform(cloud.select(slice(0, 0)), maps(0))) == 0


def test_about_keeps_the_pivot():
    linear, pivot = maps(4), torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    turned, offset = about(linear, pivot)
    torch.testing.assert_close(turned @ pivot + offset, pivot)


@pytest.mark.parametrize("bad", [torch.zeros(3, 3), torch.diag(torch.tensor([1.0, 1, 0])), torch.eye(3) * torch.nan])
def test_flat_and_broken_maps_are_refused(bad):
    with pytest.raises(BadInput):
        transform(random_cloud(), bad)
