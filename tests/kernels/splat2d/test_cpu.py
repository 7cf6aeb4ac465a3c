"""The fast twin against the specification, and what only it promises: the same bytes whoever does the work."""

import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import BadInput, NonFinite, Unsupported
from maquette.kernels.splat2d import Rasterized, rasterize

NAMES = Rasterized._fields
PER_CAMERA = ("camera_from_world", "focal_px", "center_px")


def draw(surfels, view, backend, dtype, used=range(6)):
    """Images and gradients of a loss that looks at all of them, as doubles."""
    surfels = {name: tensor.detach().to(dtype).requires_grad_() for name, tensor in surfels.items()}
    images = rasterize(**surfels, **view, backend=backend)
    random = torch.Generator().manual_seed(3)
    loss = torch.zeros((), dtype=dtype)
    for k in used:
        weight = torch.randn(images[k].shape, generator=random, dtype=torch.float64).to(dtype)
        loss = loss + (images[k] * weight).sum() * (1e4 if NAMES[k] == "distortion" else 1)
    loss.backward()
    grads = {name: torch.zeros_like(t) if t.grad is None else t.grad for name, t in surfels.items()}
    return [image.detach().double() for image in images], {name: grad.double() for name, grad in grads.items()}


def assert_twins(surfels, view, used=range(6), close=2e-3):
    """Equal up to float32, but for the few pixels where rounding moves an alpha across 1/255 or an end."""
    fast, fast_grads = draw(surfels, view, "cpu", torch.float32, used)
    slow, slow_grads = draw(surfels, view, "reference", torch.float64, used)
    for name, a, b in zip(NAMES, fast, slow, strict=True):
        assert torch.isfinite(a).all(), name
        # Depths of rays that graze a disc depend on its tilt so much that float32 shows.
        tolerance = (1e-3 if "depth" in name else 2e-4) * b.abs().clamp(min=1)
        tolerance = 1e-3 * b.abs() + 1e-8 if name == "distortion" else tolerance
        wrong = (a - b).abs() > tolerance
        assert wrong.double().mean() < 1e-3 if wrong.numel() else True, name
    for name, grad in fast_grads.items():
        assert torch.isfinite(grad).all(), name
        error = (grad - slow_grads[name]).norm() / slow_grads[name].norm().clamp(min=1e-9)
        assert error < close, f"{name}: {error:.1e}"


@pytest.mark.parametrize(
    ("n", "height", "width", "cameras"),
    [(1, 16, 16, 1), (60, 37, 53, 2), (250, 33, 17, 3), (17, 5, 3, 1), (120, 1, 70, 2)],
)
def test_twins(make_surfels, make_view, n, height, width, cameras):
    view = make_view(cameras, height, width)
    view["background"] = torch.rand(cameras, 3, generator=torch.Generator().manual_seed(0))
    assert_twins(make_surfels(n, seed=n), view)


@pytest.mark.parametrize("used", range(6), ids=NAMES)
def test_gradients_flow_from_each_image_alone(make_surfels, make_view, used):
    assert_twins(make_surfels(40, size=0.08), make_view(), (used,))


def test_dots_smaller_than_a_pixel(make_surfels, make_view):
    assert_twins(make_surfels(200, size=2e-3), make_view())


def test_colors_of_each_camera(make_surfels, make_view):
    surfels = make_surfels(40)
    surfels["colors"] = torch.rand(2, 40, 3, generator=torch.Generator().manual_seed(0))
    assert_twins(surfels, make_view(2))


def test_dense_and_opaque(make_surfels, make_view):
    surfels = make_surfels(300, size=0.1)
    surfels["opacities"] = surfels["opacities"].clamp(min=0.9) + 0.05  # many capped, all pixels end early
    assert_twins(surfels, make_view(1, 40, 40))


def test_camera_inside_the_cloud(make_surfels, make_view):
    assert_twins(make_surfels(150), make_view(2, 32, 32, radius=0.3, fov_deg=70.0))


def test_discs_that_reach_behind_the_camera(make_surfels, make_view):
    surfels = make_surfels(20, size=0.6)
    surfels["opacities"] *= 0.3
    assert_twins(surfels, make_view(1, 24, 24, radius=0.8, fov_deg=70.0))


def test_degenerate_discs(make_surfels, make_view):
    surfels = make_surfels(64)
    surfels["scales"][:8] = 0.0
    surfels["scales"][8:16, 0] = 3.0  # needles far longer than the image
    surfels["scales"][16:24] = 1e-8
    surfels["opacities"][24:30] = 0.0
    surfels["opacities"][30:36] = 1.0
    surfels["quats"][36:44] *= 1e-3
    view = make_view(1, 31, 45)
    assert_twins(surfels, view)
    with_none = rasterize(**{name: tensor[:8] for name, tensor in surfels.items()}, **view)
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


def test_zero_quaternion_means_no_rotation(make_surfels, make_view):
    surfels = make_surfels(20)
    surfels["quats"][:] = 0
    images, grads = draw(surfels, make_view(), "cpu", torch.float32)
    assert (grads["quats"] == 0).all()
    surfels["quats"][:, 0] = 1
    for a, b in zip(images, draw(surfels, make_view(), "cpu", torch.float32)[0], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("where", ["nothing", "behind"])
def test_empty_pictures(make_surfels, make_view, where):
    surfels = make_surfels(0 if where == "nothing" else 20)
    surfels["means"] = surfels["means"] * 0.1 + torch.tensor([0.0, 0.0, 9.0])
    view = make_view(1)
    images, grads = draw(surfels, view, "cpu", torch.float32)
    assert torch.equal(images[0], view["background"].double().expand_as(images[0]))
    assert all((image == 0).all() for image in images[1:])
    assert all((grad == 0).all() for grad in grads.values())
    assert all((image == 0).all() for image in draw(surfels, view, "reference", torch.float64)[0][1:])


def test_finite_differences_agree_with_the_fast_gradient(make_surfels, make_view):
    # Directional derivatives in double of the specification, of wide discs that cross no threshold.
    surfels = make_surfels(4, size=0.5, radius=0.2, seed=2)
    surfels["opacities"] *= 0.5
    view = make_view(1, 12, 12)
    _, grads = draw(surfels, view, "cpu", torch.float32)
    random, step = torch.Generator().manual_seed(3), 1e-6
    start = {name: tensor.double() for name, tensor in surfels.items()}
    shapes = [image.shape for image in rasterize(**start, **view)]
    weights = [torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes]
    weights[-1] *= 1e4

    def loss(moved):
        drawn = rasterize(**moved, **view, backend="reference")
        return sum((image * weight).sum() for image, weight in zip(drawn, weights, strict=True))

    for name in surfels:
        along = torch.randn(start[name].shape, generator=random, dtype=torch.float64)
        ahead, back = (loss(start | {name: start[name] + sign * step * along}) for sign in (1, -1))
        expected = (ahead - back) / (2 * step)
        assert (grads[name] * along).sum().item() == pytest.approx(expected.item(), rel=2e-3), name


def test_same_bytes_whatever_the_number_of_threads(make_surfels, make_view):
    surfels, view = make_surfels(700), make_view(3, 70, 70)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(draw(surfels, view, "cpu", torch.float32))
    finally:
        torch.set_num_threads(before)
    for images, grads in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(images, results[0][0], strict=True))
        assert all(torch.equal(grad, results[0][1][name]) for name, grad in grads.items())


def test_order_of_rows_does_not_matter(make_surfels, make_view):
    surfels, view = make_surfels(90), make_view()
    shuffled = {name: tensor.flip(0) for name, tensor in surfels.items()}
    for a, b in zip(rasterize(**surfels, **view), rasterize(**shuffled, **view), strict=True):
        assert torch.equal(a, b)


def test_cameras_do_not_disturb_one_another_and_their_gradients_add_up(make_surfels, make_view):
    surfels = {name: tensor.requires_grad_() for name, tensor in make_surfels(90).items()}
    view = make_view(3)
    together = rasterize(**surfels, **view)
    both = torch.autograd.grad(sum(image.square().sum() for image in together), list(surfels.values()))
    totals = [torch.zeros_like(grad) for grad in both]
    for k in range(3):
        alone = rasterize(**surfels, **view | {name: view[name][k : k + 1] for name in PER_CAMERA})
        assert all(torch.equal(a[0], b[k]) for a, b in zip(alone, together, strict=True))
        one = torch.autograd.grad(sum(image.square().sum() for image in alone), list(surfels.values()))
        totals = [total + grad for total, grad in zip(totals, one, strict=True)]
    for total, grad in zip(totals, both, strict=True):
        torch.testing.assert_close(total, grad, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["means", "quats", "scales", "opacities", "colors"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_finite(make_surfels, make_view, name, value):
    surfels = make_surfels(20)
    surfels[name].view(-1)[-1] = value
    with pytest.raises(NonFinite, match=name):
        rasterize(**surfels, **make_view())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    exponent=st.integers(-30, 15),
    which=st.sampled_from(["means", "scales", "quats", "opacities"]),
)
def test_extreme_numbers_stay_finite(seed, exponent, which):
    random = torch.Generator().manual_seed(seed)
    n = int(torch.randint(1, 40, (), generator=random))
    surfels = {
        "means": torch.randn(n, 3, generator=random),
        "quats": torch.randn(n, 4, generator=random),
        "scales": torch.rand(n, 2, generator=random) * 0.1,
        "opacities": torch.rand(n, generator=random),
        "colors": torch.rand(n, 3, generator=random),
    }
    surfels[which] = surfels[which] * (10.0**exponent if which != "opacities" else 10.0 ** -abs(exponent))
    surfels = {name: tensor.requires_grad_() for name, tensor in surfels.items()}
    pose = torch.eye(4)[None]
    pose[0, 2, 3] = 2.0
    drawn = rasterize(
        **surfels,
        camera_from_world=pose,
        focal_px=torch.full((1, 2), 30.0),
        center_px=torch.full((1, 2), 8.0),
        height=16,
        width=19,
        background=torch.zeros(3),
    )
    assert all(torch.isfinite(image).all() for image in drawn)
    assert 0 <= drawn.alpha.min() <= drawn.alpha.max() <= 1
    sum(image.sum() for image in drawn).backward()
    assert all(tensor.grad.isnan().sum() == 0 for tensor in surfels.values())


def test_what_it_cannot_do_is_refused(make_surfels, make_view):
    surfels, view = make_surfels(5), make_view()
    with pytest.raises(Unsupported, match="reference"):
        rasterize(**{name: tensor.double() for name, tensor in surfels.items()}, **view, backend="cpu")
    with pytest.raises(Unsupported, match="background"):
        rasterize(**surfels, **view | {"background": torch.zeros(3, requires_grad=True)})
    with pytest.raises(BadInput, match="mix"):
        rasterize(**surfels | {"means": surfels["means"].double()}, **view)


def test_nothing_is_kept_alive(make_surfels, make_view):
    surfels = {name: tensor.requires_grad_() for name, tensor in make_surfels(5).items()}
    gc.disable()
    try:
        drawn = rasterize(**surfels, **make_view())
        alive = [weakref.ref(drawn.color), weakref.ref(drawn.distortion)]
        del drawn
        assert all(reference() is None for reference in alive)  # no cycle that would wait for the collector
    finally:
        gc.enable()
