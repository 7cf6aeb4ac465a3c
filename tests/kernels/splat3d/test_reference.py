"""The specification against numbers computed elsewhere, closed forms, and finite differences."""

import math

import pytest
import torch

from maquette.core.rotation import matrix_to_quat, quat_multiply, quat_to_matrix
from maquette.kernels.splat3d import rasterize, reference
from maquette.kernels.splat3d.spherical_harmonics import C0, rotate_sh, sh_to_color

DOUBLE = torch.float64


def one_gaussian(position, scales=(0.3, 0.1, 0.05), quat=(0.9, 0.1, -0.3, 0.2), opacity=0.8, rgb=(1.0, 0.0, 0.0)):
    rows = {"means": position, "quats": quat, "scales": scales, "opacities": opacity, "sh": [rgb]}
    scene = {name: torch.tensor([row], dtype=DOUBLE) for name, row in rows.items()}
    return scene | {"sh": (scene["sh"] - 0.5) / C0}


def at_origin(size=64, focal=100.0, background=(0.0, 0.0, 0.0)):
    return {
        "camera_from_world": torch.eye(4, dtype=DOUBLE)[None],
        "focal_px": torch.full((1, 2), focal, dtype=DOUBLE),
        "center_px": torch.full((1, 2), size / 2, dtype=DOUBLE),
        "height": size,
        "width": size,
        "background": torch.tensor(background, dtype=DOUBLE),
    }


def test_projection_of_the_worked_example():
    scene, view = one_gaussian((0.2, -0.1, 2.0)), at_origin()
    splats = reference.project(
        *scene.values(),
        camera_from_world=view["camera_from_world"][0],
        focal_px=view["focal_px"][0],
        center_px=view["center_px"][0],
        height=64,
        width=64,
    )
    close = {"atol": 1e-8, "rtol": 1e-7}
    torch.testing.assert_close(splats.mean[0], torch.tensor([42.0, 27.0], dtype=DOUBLE), **close)
    conic = torch.tensor([0.01450616, -0.01296211, 0.03245145], dtype=DOUBLE)
    torch.testing.assert_close(splats.conic[0], conic, **close)
    reach = math.sqrt(2 * math.log(0.8 * 255))
    box = torch.tensor([reach * math.sqrt(107.196073), reach * math.sqrt(47.917855)], dtype=DOUBLE)
    torch.testing.assert_close(splats.half_size[0], box, **close)


def test_alpha_of_the_worked_example():
    alpha = rasterize(**one_gaussian((0.2, -0.1, 2.0)), **at_origin()).alpha[0]
    expected = torch.tensor([0.79789942, 0.70329902, 0.49850275], dtype=DOUBLE)
    torch.testing.assert_close(alpha[[27, 30, 27], [42, 45, 50]], expected, atol=1e-7, rtol=0)


def test_round_gaussian_has_the_closed_form():
    scene = one_gaussian((0.0, 0.0, 2.0), scales=(0.1, 0.1, 0.1), opacity=0.9)
    drawn = rasterize(**scene, **at_origin())
    x = torch.arange(64, dtype=DOUBLE) + 0.5 - 32
    squared = x[:, None] ** 2 + x[None, :] ** 2
    expected = 0.9 * torch.exp(-squared / (2 * (0.1**2 * 100**2 / 2**2 + 0.3)))
    expected = torch.where(expected < 1 / 255, 0.0, expected)
    torch.testing.assert_close(drawn.alpha[0], expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(drawn.depth[0], torch.where(expected > 0, 2.0, 0.0).to(DOUBLE))
    torch.testing.assert_close(drawn.color[0, ..., 0], expected, atol=1e-12, rtol=0)


def stack(opacities, colors):
    """Wide flat Gaussians behind one another: at the central pixel alpha is the opacity to 1e-9."""
    layers = [
        one_gaussian((0.0, 0.0, 2.0 + 0.01 * k), scales=(3e3, 3e3, 1e-9), quat=(1.0, 0, 0, 0), opacity=o, rgb=c)
        for k, (o, c) in enumerate(zip(opacities, colors, strict=True))
    ]
    return {name: torch.cat([layer[name] for layer in layers]) for name in layers[0]}


def test_three_layers_of_the_worked_example():
    scene = stack((0.6, 0.5, 0.4), ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)))
    drawn = rasterize(**scene, **at_origin(background=(1.0, 1.0, 1.0)))
    pixel = drawn.color[0, 32, 32]
    torch.testing.assert_close(pixel, torch.tensor([0.72, 0.32, 0.20], dtype=DOUBLE), atol=1e-6, rtol=0)
    assert drawn.alpha[0, 32, 32].item() == pytest.approx(0.88, abs=1e-6)


def test_pixel_ends_before_its_transmittance_falls_too_low():
    # 0.02 and 4e-4 remain after two layers of 0.98; a third would leave 8e-6 and is dropped, and so is all behind it.
    scene = stack((0.98, 0.98, 0.98, 0.01), ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0), (0, 0, 1.0)))
    drawn = rasterize(**scene, **at_origin())
    expected = torch.tensor([0.98, 0.0196, 0.0], dtype=DOUBLE)
    torch.testing.assert_close(drawn.color[0, 32, 32], expected, atol=1e-6, rtol=0)
    assert drawn.alpha[0, 32, 32].item() == pytest.approx(1 - 4e-4, abs=1e-6)


@pytest.mark.parametrize(("opacity", "is_seen"), [(1.001 / 255, True), (0.999 / 255, False)])
def test_faint_gaussians_are_cut(opacity, is_seen):
    scene = stack((opacity,), ((1.0, 1.0, 1.0),))
    assert (rasterize(**scene, **at_origin()).alpha.max() > 0).item() == is_seen


def test_alpha_is_capped():
    assert rasterize(**stack((1.0,), ((1.0,) * 3,)), **at_origin()).alpha[0, 32, 32].item() == 0.99


@pytest.mark.parametrize(("depth", "is_seen"), [(0.0099, False), (0.0101, True), (-2.0, False)])
def test_near_plane(depth, is_seen):
    scene = one_gaussian((0.0, 0.0, depth), scales=(1e-4,) * 3)
    drawn = rasterize(**scene, **at_origin())
    assert (drawn.alpha.max() > 0).item() == is_seen
    assert (drawn.radii_px[0, 0] > 0).item() == is_seen


def test_alpha_grows_with_opacity(make_cloud, make_view):
    cloud, view = make_cloud(30, dtype=DOUBLE), make_view(dtype=DOUBLE)
    alpha = rasterize(**cloud, **view).alpha
    more = rasterize(**cloud | {"opacities": cloud["opacities"] + 0.02}, **view).alpha
    # Where a pixel ends earlier than before it may lose up to what was let through.
    assert ((more - alpha) > -1e-3).all()
    assert (more - alpha).mean() > 1e-3


def test_order_of_rows_does_not_matter(make_cloud, make_view):
    cloud, view = make_cloud(40, dtype=DOUBLE, coefficients=4), make_view(dtype=DOUBLE)
    shuffled = {name: tensor.flip(0) for name, tensor in cloud.items()}
    for a, b in zip(rasterize(**cloud, **view)[:3], rasterize(**shuffled, **view)[:3], strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def test_turning_world_and_camera_together_changes_nothing(make_cloud, make_view):
    cloud, view = make_cloud(40, dtype=DOUBLE, coefficients=16), make_view(dtype=DOUBLE)
    turn = torch.tensor([0.8, 0.2, -0.4, 0.4], dtype=DOUBLE)
    rigid = torch.eye(4, dtype=DOUBLE)
    rigid[:3, :3], rigid[:3, 3] = quat_to_matrix(turn), torch.tensor([0.5, -2.0, 1.0], dtype=DOUBLE)
    moved = cloud | {
        "means": cloud["means"] @ rigid[:3, :3].T + rigid[:3, 3],
        "quats": quat_multiply(turn.expand(40, 4), cloud["quats"]),
        "sh": rotate_sh(cloud["sh"], rigid[:3, :3]),
    }
    seen = rasterize(**cloud, **view, normals=True)
    turned = view | {"camera_from_world": view["camera_from_world"] @ torch.linalg.inv(rigid)}
    again = rasterize(**moved, **turned, normals=True)
    close = {"atol": 1e-6, "rtol": 0}  # the cameras are rigid to float32 only
    torch.testing.assert_close(again.color, seen.color, **close)
    torch.testing.assert_close(again.depth, seen.depth, **close)
    torch.testing.assert_close(again.normal, seen.normal @ rigid[:3, :3].T, **close)


def test_normal_is_the_shortest_axis_towards_the_camera():
    tilt = matrix_to_quat(quat_to_matrix(torch.tensor([0.9, 0.3, 0.1, 0.0], dtype=DOUBLE)))
    scene = one_gaussian((0.0, 0.0, 2.0), scales=(0.3, 0.3, 0.01), quat=tuple(tilt.tolist()), opacity=0.9)
    drawn = rasterize(**scene, **at_origin(), normals=True)
    axis = quat_to_matrix(tilt)[:, 2]
    normal = drawn.normal[0, 32, 32] / drawn.alpha[0, 32, 32]
    torch.testing.assert_close(normal, -axis * axis[2].sign())
    assert normal[2] < 0  # the camera looks along +z


@pytest.mark.parametrize("coefficients", [1, 4, 16])
def test_finite_differences(make_cloud, make_view, coefficients):
    # Three wide Gaussians, nowhere near a threshold: with reach beyond the 8 x 8 image and opacity below the cap.
    cloud = make_cloud(3, dtype=DOUBLE, coefficients=coefficients, size=0.5, radius=0.2, seed=1)
    cloud["sh"] = cloud["sh"] * 0.3 + 0.2
    view = make_view(cameras=1, height=8, width=8, dtype=DOUBLE, elevation_deg=20.0)
    probe = torch.zeros(1, 3, 2, dtype=DOUBLE)
    inputs = [tensor.requires_grad_() for tensor in (*cloud.values(), probe)]

    def images(*tensors):
        *parameters, screen_probe = tensors
        drawn = rasterize(*parameters, **view, screen_probe=screen_probe, normals=True)
        return drawn.color, drawn.alpha, drawn.depth, drawn.normal

    assert torch.autograd.gradcheck(images, inputs, eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True)


def test_color_uses_the_direction_from_camera_to_gaussian():
    sh = torch.zeros(1, 4, 3, dtype=DOUBLE)
    sh[0, 3] = 0.5  # -C1 x: brighter where we look towards -x
    toward_plus_x = sh_to_color(sh, torch.tensor([[1.0, 0, 0]], dtype=DOUBLE))
    assert toward_plus_x[0, 0].item() == pytest.approx(0.5 - 0.5 * 0.4886025119029199)
