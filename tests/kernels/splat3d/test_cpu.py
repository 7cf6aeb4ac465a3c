"""The fast twin against the specification; what both kinds of splats promise stands in test_splats."""

import pytest
import torch

from maquette.kernels.splat3d import rasterize
from maquette.kernels.splat3d.spherical_harmonics import rotate_sh


@pytest.mark.parametrize(
    ("n", "height", "width", "cameras", "coefficients"),
    [(1, 16, 16, 1, 1), (60, 37, 53, 2, 1), (250, 33, 17, 3, 16), (17, 5, 3, 1, 4), (120, 1, 70, 2, 9)],
)
def test_twins(gaussians, make_cloud, make_view, n, height, width, cameras, coefficients):
    cloud = make_cloud(n, coefficients=coefficients, seed=n, size=0.04)
    view = make_view(cameras, height, width)
    view["background"] = torch.rand(cameras, 3, generator=torch.Generator().manual_seed(0))
    gaussians.assert_twins(cloud, view)


@pytest.mark.parametrize("used", [0, 1, 2, 3])
def test_gradients_flow_from_each_image_alone(gaussians, make_cloud, make_view, used):
    gaussians.assert_twins(make_cloud(40), make_view(), (used,))


def test_no_slope_where_alpha_is_capped(gaussians, make_cloud, make_view):
    cloud = make_cloud(1, size=0.6, radius=0.2)  # two of them would leave 0.01 ** 2, which is the limit itself
    cloud["opacities"][:] = 1.0
    view = make_view(1, 24, 24)
    assert (rasterize(**cloud, **view).alpha > 0.98999).double().mean() > 0.01
    gaussians.assert_twins(cloud, view)


def test_camera_inside_the_cloud(gaussians, make_cloud, make_view):
    gaussians.assert_twins(make_cloud(150, size=0.05), make_view(2, 32, 32, radius=0.2, fov_deg=70.0))


def test_degenerate_shapes(gaussians, make_cloud, make_view):
    cloud = make_cloud(64, size=0.05)
    cloud["scales"][:8] = 0.0
    cloud["scales"][8:16, 0] = 3.0  # needles far longer than the image
    cloud["scales"][16:24, :2] = 1e-8
    cloud["opacities"][24:30] = 0.0
    cloud["opacities"][30:36] = 1.0
    cloud["quats"][36:44] *= 1e-3
    gaussians.assert_twins(cloud, make_view(1, 31, 45))


def test_half_turn_of_everything(make_cloud, make_view):
    cloud, view = make_cloud(80, coefficients=16), make_view(2)
    flip = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))  # about +Y; quaternion (0, 0, 1, 0) times q
    w, x, y, z = cloud["quats"].unbind(-1)
    turned = cloud | {
        "means": cloud["means"] @ flip,
        "quats": torch.stack([-y, z, w, -x], dim=-1),
        "sh": rotate_sh(cloud["sh"], flip),
    }
    a, b = rasterize(**cloud, **view), rasterize(**turned, **view)  # the second camera stands opposite the first
    torch.testing.assert_close(a.color, b.color.flip(0), atol=2e-5, rtol=0)
