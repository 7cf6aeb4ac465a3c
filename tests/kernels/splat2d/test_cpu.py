"""The fast twin against the specification; what both kinds of splats promise stands in test_splats."""

import pytest
import torch

from maquette.kernels.splat2d import Rasterized, rasterize


@pytest.mark.parametrize(
    ("n", "height", "width", "cameras"),
    [(1, 16, 16, 1), (60, 37, 53, 2), (250, 33, 17, 3), (17, 5, 3, 1), (120, 1, 70, 2)],
)
def test_twins(surfels, make_surfels, make_view, n, height, width, cameras):
    view = make_view(cameras, height, width)
    view["background"] = torch.rand(cameras, 3, generator=torch.Generator().manual_seed(0))
    surfels.assert_twins(make_surfels(n, seed=n), view)


@pytest.mark.parametrize("used", range(6), ids=Rasterized._fields)
def test_gradients_flow_from_each_image_alone(surfels, make_surfels, make_view, used):
    surfels.assert_twins(make_surfels(40, size=0.08), make_view(), (used,))


def test_dots_smaller_than_a_pixel(surfels, make_surfels, make_view):
    surfels.assert_twins(make_surfels(200, size=2e-3), make_view())


def test_colors_of_each_camera(surfels, make_surfels, make_view):
    splats = make_surfels(40)
    splats["colors"] = torch.rand(2, 40, 3, generator=torch.Generator().manual_seed(0))
    surfels.assert_twins(splats, make_view(2))


def test_camera_inside_the_cloud(surfels, make_surfels, make_view):
    surfels.assert_twins(make_surfels(150), make_view(2, 32, 32, radius=0.3, fov_deg=70.0))


def test_discs_that_reach_behind_the_camera(surfels, make_surfels, make_view):
    splats = make_surfels(20, size=0.6)
    splats["opacities"] *= 0.3
    surfels.assert_twins(splats, make_view(1, 24, 24, radius=0.8, fov_deg=70.0))


def test_degenerate_discs(surfels, make_surfels, make_view):
    splats = make_surfels(64)
    splats["scales"][:8] = 0.0
    splats["scales"][8:16, 0] = 3.0  # needles far longer than the image
    splats["scales"][16:24] = 1e-8
    splats["opacities"][24:30] = 0.0
    splats["opacities"][30:36] = 1.0
    splats["quats"][36:44] *= 1e-3
    view = make_view(1, 31, 45)
    surfels.assert_twins(splats, view)
    with_none = rasterize(**{name: tensor[:8] for name, tensor in splats.items()}, **view)
    assert with_none.alpha.max() > 0.05  # no width at all is a dot, not nothing


def test_exactly_edge_on_is_not_drawn(make_view):
    view = make_view(1, 32, 32)
    one = torch.ones(1)
    quat = torch.tensor([[0.5**0.5, 0.5**0.5, 0.0, 0.0]])  # the normal along -y
    level = view["camera_from_world"].clone()
    level[:, :3, :3], level[:, :3, 3] = torch.diag(torch.tensor([1.0, -1, -1])), torch.tensor([0.0, 0, 2.2])
    drawn = rasterize(
        torch.zeros(1, 3), quat, torch.full((1, 2), 0.1), one, one.expand(1, 3), **view | {"camera_from_world": level}
    )
    assert all((image == 0).all() for image in drawn[1:])
