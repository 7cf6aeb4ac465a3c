"""The fast twin against the specification, and what only it promises: the same bytes whoever does the work."""

import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import BadInput, NonFinite, Unsupported
from maquette.kernels.splat3d import rasterize
from maquette.kernels.splat3d.spherical_harmonics import rotate_sh


def draw(cloud, view, backend, dtype, used=(0, 1, 2, 3)):
    """Images and gradients of a loss that looks at all of them, as doubles."""
    cloud = {name: tensor.detach().to(dtype).requires_grad_() for name, tensor in cloud.items()}
    probe = torch.zeros(len(view["focal_px"]), len(cloud["means"]), 2, dtype=dtype, requires_grad=True)
    images = rasterize(**cloud, **view, screen_probe=probe, normals=True, backend=backend)
    random = torch.Generator().manual_seed(3)
    loss = torch.zeros((), dtype=dtype)
    for image in (images[k] for k in used):
        loss = loss + (image * torch.randn(image.shape, generator=random, dtype=torch.float64).to(dtype)).sum()
    loss.backward()
    unused = {name: torch.zeros_like(tensor) for name, tensor in cloud.items()}
    grads = {name: tensor.grad for name, tensor in (cloud | {"probe": probe}).items()}
    grads = {name: (unused[name] if grad is None else grad).double() for name, grad in grads.items()}
    return [image.detach().double() for image in images], grads


def assert_twins(cloud, view, used=(0, 1, 2, 3)):
    """Equal up to float32, but for the few pixels where rounding moves an alpha across 1/255 or an end."""
    fast, fast_grads = draw(cloud, view, "cpu", torch.float32, used)
    slow, slow_grads = draw(cloud, view, "reference", torch.float64, used)
    for name, a, b in zip(("color", "alpha", "depth", "normal", "radii"), fast, slow, strict=True):
        wrong = (a - b).abs() > 2e-4 * b.abs().clamp(min=1)
        assert wrong.double().mean() < 2e-4 if wrong.numel() else True, name
        assert torch.isfinite(a).all(), name
    for name, grad in fast_grads.items():
        assert torch.isfinite(grad).all(), name
        error = (grad - slow_grads[name]).norm() / slow_grads[name].norm().clamp(min=1e-9)
        assert error < 2e-3, f"{name}: {error:.1e}"


@pytest.mark.parametrize(
    ("n", "height", "width", "cameras", "coefficients"),
    [(1, 16, 16, 1, 1), (60, 37, 53, 2, 1), (250, 33, 17, 3, 16), (17, 5, 3, 1, 4), (120, 1, 70, 2, 9)],
)
def test_twins(make_cloud, make_view, n, height, width, cameras, coefficients):
    cloud = make_cloud(n, coefficients=coefficients, seed=n, size=0.04)
    view = make_view(cameras, height, width)
    view["background"] = torch.rand(cameras, 3, generator=torch.Generator().manual_seed(0))
    assert_twins(cloud, view)


@pytest.mark.parametrize("used", [0, 1, 2, 3])
def test_gradients_flow_from_each_image_alone(make_cloud, make_view, used):
    assert_twins(make_cloud(40), make_view(), (used,))


def test_dense_and_opaque(make_cloud, make_view):
    cloud = make_cloud(400, size=0.1)
    cloud["opacities"] = cloud["opacities"].clamp(min=0.9) + 0.05  # many capped, all pixels end early
    assert_twins(cloud, make_view(1, 40, 40))


def test_no_slope_where_alpha_is_capped(make_cloud, make_view):
    cloud = make_cloud(1, size=0.6, radius=0.2)  # two of them would leave 0.01 ** 2, which is the limit itself
    cloud["opacities"][:] = 1.0
    view = make_view(1, 24, 24)
    assert (rasterize(**cloud, **view).alpha > 0.98999).double().mean() > 0.01
    assert_twins(cloud, view)


def test_camera_inside_the_cloud(make_cloud, make_view):
    assert_twins(make_cloud(150, size=0.05), make_view(2, 32, 32, radius=0.2, fov_deg=70.0))


def test_degenerate_shapes(make_cloud, make_view):
    cloud = make_cloud(64, size=0.05)
    cloud["scales"][:8] = 0.0
    cloud["scales"][8:16, 0] = 3.0  # needles far longer than the image
    cloud["scales"][16:24, :2] = 1e-8
    cloud["opacities"][24:30] = 0.0
    cloud["opacities"][30:36] = 1.0
    cloud["quats"][36:44] *= 1e-3
    assert_twins(cloud, make_view(1, 31, 45))


def test_zero_quaternion_means_no_rotation(make_cloud, make_view):
    cloud = make_cloud(20)
    cloud["quats"][:] = 0
    images, grads = draw(cloud, make_view(), "cpu", torch.float32)
    assert (grads["quats"] == 0).all()
    cloud["quats"][:, 0] = 1
    for a, b in zip(images, draw(cloud, make_view(), "cpu", torch.float32)[0], strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)


@pytest.mark.parametrize("where", ["nothing", "behind"])
def test_empty_pictures(make_cloud, make_view, where):
    cloud = make_cloud(0 if where == "nothing" else 20)
    cloud["means"] = cloud["means"] * 0.1 + torch.tensor([0.0, 0.0, 9.0])
    view = make_view(1)
    images, grads = draw(cloud, view, "cpu", torch.float32)
    torch.testing.assert_close(images[0], view["background"].double().expand_as(images[0]), atol=0, rtol=0)
    assert all((image == 0).all() for image in images[1:])
    assert all((grad == 0).all() for grad in grads.values())


def test_finite_differences_agree_with_the_fast_gradient(make_cloud, make_view):
    # Directional derivatives in double of the specification, of wide Gaussians that cross no threshold.
    cloud = make_cloud(4, size=0.5, radius=0.2, seed=2)
    cloud["opacities"] *= 0.5
    view = make_view(1, 12, 12)
    _, grads = draw(cloud, view, "cpu", torch.float32)
    random, step = torch.Generator().manual_seed(3), 1e-5
    images = rasterize(**{k: v.double() for k, v in cloud.items()}, **view, normals=True, backend="reference")
    weights = [torch.randn(image.shape, generator=random, dtype=torch.float64) for image in images[:4]]

    def loss(moved):
        drawn = rasterize(**moved, **view, normals=True, backend="reference")
        return sum((image * weight).sum() for image, weight in zip(drawn, weights, strict=False))

    for name in cloud:
        start = {k: v.double() for k, v in cloud.items()}
        along = torch.randn(start[name].shape, generator=random, dtype=torch.float64)
        ahead, back = (loss(start | {name: start[name] + sign * step * along}) for sign in (1, -1))
        expected = (ahead - back) / (2 * step)
        assert (grads[name] * along).sum().item() == pytest.approx(expected.item(), rel=1e-3), name


def test_same_bytes_whatever_the_number_of_threads(make_cloud, make_view):
    cloud, view = make_cloud(700, coefficients=4, size=0.05), make_view(3, 70, 70)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(draw(cloud, view, "cpu", torch.float32))
    finally:
        torch.set_num_threads(before)
    for images, grads in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(images, results[0][0], strict=True))
        assert all(torch.equal(grad, results[0][1][name]) for name, grad in grads.items())


def test_order_of_rows_does_not_matter(make_cloud, make_view):
    cloud, view = make_cloud(90), make_view()
    shuffled = {name: tensor.flip(0) for name, tensor in cloud.items()}
    for a, b in zip(rasterize(**cloud, **view)[:3], rasterize(**shuffled, **view)[:3], strict=True):
        assert torch.equal(a, b)


def test_cameras_do_not_disturb_one_another(make_cloud, make_view):
    cloud, view = make_cloud(90), make_view(3)
    together = rasterize(**cloud, **view)
    per_camera = ("camera_from_world", "focal_px", "center_px")
    for k in range(3):
        alone = rasterize(**cloud, **view | {name: view[name][k : k + 1] for name in per_camera})
        assert torch.equal(alone.color[0], together.color[k])
        assert torch.equal(alone.radii_px[0], together.radii_px[k])


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


def test_gradients_add_up_over_cameras(make_cloud, make_view):
    cloud = {name: tensor.requires_grad_() for name, tensor in make_cloud(50).items()}
    view = make_view(2)
    per_camera = ("camera_from_world", "focal_px", "center_px")
    both = torch.autograd.grad(rasterize(**cloud, **view).color.square().sum(), list(cloud.values()))
    one = [
        torch.autograd.grad(
            rasterize(**cloud, **view | {name: view[name][k : k + 1] for name in per_camera}).color.square().sum(),
            list(cloud.values()),
        )
        for k in range(2)
    ]
    for total, a, b in zip(both, *one, strict=True):
        torch.testing.assert_close(total, a + b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["means", "quats", "scales", "opacities", "sh"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_finite(make_cloud, make_view, name, value):
    cloud = make_cloud(20)
    cloud[name].view(-1)[-1] = value
    with pytest.raises(NonFinite, match=name):
        rasterize(**cloud, **make_view())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    exponent=st.integers(-30, 25),
    which=st.sampled_from(["means", "scales", "quats", "opacities"]),
)
def test_extreme_numbers_stay_finite(seed, exponent, which):
    random = torch.Generator().manual_seed(seed)
    n = int(torch.randint(1, 40, (), generator=random))
    cloud = {
        "means": torch.randn(n, 3, generator=random),
        "quats": torch.randn(n, 4, generator=random),
        "scales": torch.rand(n, 3, generator=random) * 0.1,
        "opacities": torch.rand(n, generator=random),
        "sh": torch.randn(n, 1, 3, generator=random),
    }
    cloud[which] = cloud[which] * (10.0**exponent if which != "opacities" else 10.0 ** -abs(exponent))
    cloud = {name: tensor.requires_grad_() for name, tensor in cloud.items()}
    pose = torch.eye(4)[None]
    pose[0, 2, 3] = 2.0
    drawn = rasterize(
        **cloud,
        camera_from_world=pose,
        focal_px=torch.full((1, 2), 30.0),
        center_px=torch.full((1, 2), 8.0),
        height=16,
        width=19,
        background=torch.zeros(3),
    )
    assert all(torch.isfinite(image).all() for image in drawn[:3])
    assert 0 <= drawn.alpha.min() <= drawn.alpha.max() <= 1
    (drawn.color.sum() + drawn.alpha.sum() + drawn.depth.sum()).backward()
    assert all(tensor.grad.isnan().sum() == 0 for tensor in cloud.values())


def test_what_it_cannot_do_is_refused(make_cloud, make_view):
    cloud, view = make_cloud(5), make_view()
    with pytest.raises(Unsupported, match="reference"):
        rasterize(**{name: tensor.double() for name, tensor in cloud.items()}, **view, backend="cpu")
    with pytest.raises(Unsupported, match="background"):
        rasterize(**cloud, **view | {"background": torch.zeros(3, requires_grad=True)})
    with pytest.raises(BadInput, match="mix"):
        rasterize(**cloud | {"means": cloud["means"].double()}, **view)


def test_nothing_is_kept_alive(make_cloud, make_view):
    cloud = {name: tensor.requires_grad_() for name, tensor in make_cloud(5).items()}
    gc.disable()
    try:
        drawn = rasterize(**cloud, **make_view(), normals=True)
        alive = [weakref.ref(drawn.color), weakref.ref(drawn.normal)]
        del drawn
        assert all(reference() is None for reference in alive)  # no cycle that would wait for the collector
    finally:
        gc.enable()
