"""The specification against numbers worked out by hand, three ways to meet a plane, and invariants."""

import itertools
import math

import pytest
import torch

from maquette.core.rotation import quat_to_matrix
from maquette.kernels.splat2d import rasterize
from maquette.kernels.splat2d.reference import FAR, NEAR, composite, intersect, window

HALF_TURNED = (math.cos(math.pi / 8), math.sin(math.pi / 8), 0.0, 0.0)  # 45 degrees about x
GOLDEN = {
    # center, scales, quat -> pixel: u, v, u^2 + v^2, 2 |x - c|^2, alpha, depth, mapped depth
    "flat": (
        ((0.0, 0.0, 2.0), (0.1, 0.1), (1.0, 0.0, 0.0, 0.0)),
        ((31.5, 31.5), (9.6, 9.6)),
        {
            (31, 31): (-0.15625, -0.15625, 0.048828, 1.0, 0.780705, 2.0, 0.901804),
            (36, 34): (1.40625, 0.78125, 2.587891, 53.0, 0.219350, 2.0, 0.901804),
        },
    ),
    "tilted": (
        ((0.1, 0.0, 2.0), (0.1, 0.2), HALF_TURNED),
        ((34.850785, 28.484293), (9.849257, 14.216178)),
        {
            (31, 31): (-1.155039, -0.109629, 1.346133, 42.314657, 0.408113, 1.984496, 0.901021),
            (36, 34): (0.463415, 0.574884, 0.545244, 63.487432, 0.609104, 2.081301, 0.905718),
        },
    ),
    "tiny": (
        ((0.0, 0.0, 2.0), (1e-4, 1e-4), (1.0, 0.0, 0.0, 0.0)),
        None,
        {
            (31, 31): (None, None, 48828.1, 1.0, 0.485225, 2.0, 0.901804),
            (33, 31): (None, None, 244140.6, 5.0, 0.065668, 2.0, 0.901804),
        },
    ),
}


def transform_of(center, scales, quat, focal=64.0, middle=32.0):
    """Columns s_u t_u, s_v t_v, p in homogeneous pixels; a pixel's centre lies at its index + 0.5."""
    as_double = {"dtype": torch.float64}
    axes = quat_to_matrix(torch.tensor(quat, **as_double))[:, :2] * torch.tensor(scales, **as_double)
    frame = torch.cat([axes, torch.tensor(center, **as_double)[:, None]], dim=1)
    return torch.tensor([[focal, 0, middle], [0, focal, middle], [0, 0, 1]], **as_double) @ frame


def eye_view(size=64, dtype=torch.float64):
    """A camera at the origin that looks along +z."""
    return {
        "camera_from_world": torch.eye(4, dtype=dtype)[None],
        "focal_px": torch.full((1, 2), float(size), dtype=dtype),
        "center_px": torch.full((1, 2), size / 2, dtype=dtype),
        "height": size,
        "width": size,
        "background": torch.zeros(3, dtype=dtype),
    }


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_numbers(name):
    surfel, box, pixels = GOLDEN[name]
    transform = transform_of(*surfel)[None]
    middle, half = window(transform)
    if box is not None:
        assert (middle[0] - 0.5).tolist() == pytest.approx(box[0], abs=1e-6)
        assert half[0].tolist() == pytest.approx(box[1], abs=1e-6)
    hits = intersect(transform, middle, height=64, width=64)
    center, scales, quat = (torch.tensor([part], dtype=torch.float64) for part in surfel)
    one = torch.ones(1, dtype=torch.float64)
    drawn = rasterize(center, quat, scales, 0.8 * one, one.expand(1, 3), **eye_view(), backend="reference")
    for (x, y), (u, v, rho, dot, alpha, depth, mapped) in pixels.items():
        hit_u, hit_v = hits.u[y, x, 0].item(), hits.v[y, x, 0].item()
        if u is not None:
            assert (hit_u, hit_v) == pytest.approx((u, v), abs=1e-6)
        away = 2 * ((x + 0.5 - middle[0, 0]) ** 2 + (y + 0.5 - middle[0, 1]) ** 2)
        assert hit_u**2 + hit_v**2 == pytest.approx(rho, rel=2e-6, abs=1e-6)
        assert away.item() == pytest.approx(dot, abs=1e-6)
        assert drawn.alpha[0, y, x].item() == pytest.approx(alpha, abs=1e-6)
        assert drawn.depth[0, y, x].item() == pytest.approx(depth, abs=1e-6)
        assert FAR / (FAR - NEAR) * (1 - NEAR / hits.depth[y, x, 0].item()) == pytest.approx(mapped, abs=1e-6)


@pytest.mark.parametrize(("backend", "dtype"), [("reference", torch.float64), ("cpu", torch.float32)])
def test_three_layers(backend, dtype):
    # The second layer is met with half of the light left, which is not more than half: the median stays at the first.
    drawn = rasterize(
        torch.tensor([[0.0, 0.0, 2.5], [0.0, 0.0, 2.0], [0.0, 0.0, 3.0]], dtype=dtype),
        torch.tensor([1.0, 0, 0, 0], dtype=dtype).repeat(3, 1),
        torch.full((3, 2), 1e9, dtype=dtype),
        torch.tensor([0.5, 0.5, 0.8], dtype=dtype),
        torch.rand(3, 3).to(dtype),
        **eye_view(4, dtype),
        backend=backend,
    )
    assert drawn.alpha[0].numpy() == pytest.approx(0.95, abs=1e-5)
    assert drawn.depth[0].numpy() == pytest.approx(2.342105, abs=1e-5)
    assert drawn.median_depth[0].numpy() == pytest.approx(2.0, abs=1e-6)
    assert drawn.distortion[0].numpy() == pytest.approx(1.7068e-4, abs=2e-8)


def test_three_ways_to_meet_a_plane():
    draw = torch.Generator().manual_seed(0)
    for _ in range(20):
        center = torch.randn(3, generator=draw, dtype=torch.float64) * 0.3 + torch.tensor([0.0, 0.0, 2.0])
        scales = torch.rand(2, generator=draw, dtype=torch.float64) * 0.3 + 0.05
        quat = torch.randn(4, generator=draw, dtype=torch.float64)
        transform = transform_of(center.tolist(), scales.tolist(), quat.tolist())
        hits = intersect(transform[None], window(transform[None])[0], height=8, width=8)
        axes = quat_to_matrix(quat)
        for y, x in itertools.product(range(0, 8, 3), range(0, 8, 3)):
            ray = torch.tensor([(x + 0.5 - 32) / 64, (y + 0.5 - 32) / 64, 1.0], dtype=torch.float64)
            depth = (axes[:, 2] @ center) / (axes[:, 2] @ ray)
            if not NEAR < depth < 50:
                continue
            along = (depth * ray - center) @ axes[:, :2] / scales
            # The paper's own form: the planes of the pixel, carried into the disc's frame by the 4 x 4 matrix.
            frame = torch.zeros(4, 4, dtype=torch.float64)
            frame[:3, :2], frame[:3, 3], frame[3, 3] = axes[:, :2] * scales, center, 1
            to_screen = torch.tensor(
                [[64.0, 0, 32, 0], [0, 64, 32, 0], [0, 0, 1, 0], [0, 0, 1, 0]], dtype=torch.float64
            )
            at = (to_screen @ frame).T @ torch.tensor(
                [[-1.0, 0], [0, -1], [0, 0], [x + 0.5, y + 0.5]], dtype=torch.float64
            )
            h_u, h_v = at[:, 0], at[:, 1]
            bottom = h_u[0] * h_v[1] - h_u[1] * h_v[0]
            paper = torch.stack([h_u[1] * h_v[3] - h_u[3] * h_v[1], h_u[3] * h_v[0] - h_u[0] * h_v[3]]) / bottom
            ours = torch.stack([hits.u[y, x, 0], hits.v[y, x, 0]])
            torch.testing.assert_close(ours, along, atol=1e-6, rtol=1e-9)
            torch.testing.assert_close(ours, paper, atol=1e-6, rtol=1e-9)
            assert hits.depth[y, x, 0].item() == pytest.approx(depth.item(), abs=1e-9)


def test_a_disc_seen_from_the_front_is_a_gaussian_of_its_own_width():
    view = eye_view()
    one = torch.ones(1, dtype=torch.float64)
    shape = (torch.tensor([[0.0, 0, 2]], dtype=torch.float64), torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64))
    drawn = rasterize(*shape, torch.tensor([[0.1, 0.2]], dtype=torch.float64), 0.9 * one, one.expand(1, 3), **view)
    pixel = torch.arange(64, dtype=torch.float64) + 0.5 - 32
    expected = 0.9 * torch.exp(-0.5 * ((pixel / 3.2) ** 2 + (pixel[:, None] / 6.4) ** 2))
    expected = torch.where(expected < 1 / 255, 0.0, expected)
    torch.testing.assert_close(drawn.alpha[0], expected, atol=1e-12, rtol=0)


def test_both_sides_look_the_same_and_the_normal_faces_the_camera(make_surfels, make_view):
    surfels, view = make_surfels(6, dtype=torch.float64), make_view(2, 16, 16, torch.float64)
    w, x, y, z = surfels["quats"].unbind(-1)
    turned = surfels | {"quats": torch.stack([-x, w, z, -y], dim=-1)}  # half a turn about the first tangent
    for a, b in zip(rasterize(**surfels, **view), rasterize(**turned, **view), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-9)
    one = {name: tensor[:1] for name, tensor in surfels.items()}
    drawn = rasterize(**one, **view)
    eyes = -(view["camera_from_world"][:, :3, :3].mT @ view["camera_from_world"][:, :3, 3:]).squeeze(-1)
    for camera in range(2):
        covered = drawn.alpha[camera] > 0
        length = drawn.normal[camera].norm(dim=-1)
        torch.testing.assert_close(length[covered], drawn.alpha[camera][covered])
        assert ((drawn.normal[camera][covered] * (eyes[camera] - one["means"])).sum(-1) > 0).all()


def test_a_round_disc_may_turn_in_its_plane(make_surfels, make_view):
    surfels, view = make_surfels(5, dtype=torch.float64), make_view(1, 16, 16, torch.float64)
    surfels["scales"][:, 1] = surfels["scales"][:, 0]
    w, x, y, z = surfels["quats"].unbind(-1)
    c, s = math.cos(0.7), math.sin(0.7)
    turned = surfels | {"quats": torch.stack([c * w - s * z, c * x + s * y, c * y - s * x, c * z + s * w], dim=-1)}
    for a, b in zip(rasterize(**surfels, **view), rasterize(**turned, **view), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-9)


def test_distortion_is_the_double_sum_and_vanishes_for_one_layer():
    draw = torch.Generator().manual_seed(1)
    alpha = torch.rand(3, 4, 6, generator=draw, dtype=torch.float64) * 0.5
    depth = torch.rand(3, 4, 6, generator=draw, dtype=torch.float64) + 1  # of hits, which need not be in order
    weight = alpha * torch.cat([torch.ones(3, 4, 1), torch.cumprod(1 - alpha, -1)[..., :-1]], -1)
    mapped = FAR / (FAR - NEAR) * (1 - NEAR / depth)
    expected = sum(
        weight[..., i] * weight[..., j] * (mapped[..., i] - mapped[..., j]) ** 2 for i in range(6) for j in range(i)
    )
    rows = torch.rand(6, 3, dtype=torch.float64)
    torch.testing.assert_close(composite(alpha, depth, rows, rows).distortion, expected, atol=1e-15, rtol=0)
    equal = composite(alpha, torch.full_like(depth, 1.3), rows, rows).distortion
    assert equal.abs().max() < 1e-15
    assert (composite(alpha[..., :1], depth[..., :1], rows[:1], rows[:1]).distortion == 0).all()


def test_a_larger_world_looks_the_same_but_deeper(make_surfels, make_view):
    surfels, view = make_surfels(12, dtype=torch.float64), make_view(1, 20, 20, torch.float64)
    pose = view["camera_from_world"].clone()
    pose[:, :3, 3] *= 3
    larger = surfels | {"means": surfels["means"] * 3, "scales": surfels["scales"] * 3}
    a, b = rasterize(**surfels, **view), rasterize(**larger, **view | {"camera_from_world": pose})
    torch.testing.assert_close(a.color, b.color)
    torch.testing.assert_close(a.depth * 3, b.depth)
    torch.testing.assert_close(a.median_depth * 3, b.median_depth)
    assert not torch.allclose(a.distortion, b.distortion)


def test_no_opacity_is_background(make_surfels, make_view):
    surfels, view = make_surfels(5, dtype=torch.float64), make_view(1, 8, 8, torch.float64)
    drawn = rasterize(**surfels | {"opacities": torch.zeros(5, dtype=torch.float64)}, **view)
    assert torch.equal(drawn.color, view["background"].expand(1, 8, 8, 3))
    assert all((image == 0).all() for image in drawn[1:])


@pytest.mark.parametrize("size", [0.25, 1e-3], ids=["discs", "dots"])
def test_finite_differences_of_all_images_by_all_parameters(make_surfels, make_view, size):
    surfels = make_surfels(3, dtype=torch.float64, size=size, radius=0.15, seed=4)
    view = make_view(1, 5, 5, torch.float64, radius=1.2 if size > 0.1 else 0.6)
    surfels["opacities"] *= 0.8
    names = list(surfels)

    def images(*tensors):
        return tuple(rasterize(**dict(zip(names, tensors, strict=True)), **view))

    leaves = [surfels[name].requires_grad_() for name in names]
    assert images(*leaves)[1].max() > 0.05
    assert torch.autograd.gradcheck(images, leaves, eps=1e-7, atol=1e-4, rtol=1e-3)
