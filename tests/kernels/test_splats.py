"""What drawing Gaussians and drawing surfels promise alike: rules at the door, the same bytes whoever does the work."""

import gc
import importlib.util
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import BadInput, MissingExtra, NonFinite, Unsupported

PER_CAMERA = ("camera_from_world", "focal_px", "center_px")


def only(view, k):
    """The `k`-th camera of a view."""
    return view | {name: view[name][k : k + 1] for name in PER_CAMERA}


def test_dense_and_opaque(kind, make_view):
    splats = kind.make(300, size=0.1)
    splats["opacities"] = splats["opacities"].clamp(min=0.9) + 0.05  # many capped, all pixels end early
    kind.assert_twins(splats, make_view(1, 40, 40))


def test_zero_quaternion_means_no_rotation(kind, make_view):
    splats = kind.make(20)
    splats["quats"][:] = 0
    images, grads = kind.draw(splats, make_view(), "cpu", torch.float32)
    assert (grads["quats"] == 0).all()
    splats["quats"][:, 0] = 1
    for a, b in zip(images, kind.draw(splats, make_view(), "cpu", torch.float32)[0], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("where", ["nothing", "behind"])
def test_empty_pictures(kind, make_view, where):
    splats = kind.make(0 if where == "nothing" else 20)
    splats["means"] = splats["means"] * 0.1 + torch.tensor([0.0, 0.0, 9.0])
    view = make_view(1)
    images, grads = kind.draw(splats, view, "cpu", torch.float32)
    assert torch.equal(images[0], view["background"].double().expand_as(images[0]))
    assert all((image == 0).all() for image in images[1:])
    assert all((grad == 0).all() for grad in grads.values())
    assert all((image == 0).all() for image in kind.draw(splats, view, "reference", torch.float64)[0][1:])


def test_finite_differences_agree_with_the_fast_gradient(kind, make_view):
    # Directional derivatives in double of the specification, of wide splats that cross no threshold.
    splats = kind.make(4, size=0.5, radius=0.2, seed=2)
    splats["opacities"] *= 0.5
    view = make_view(1, 12, 12)
    _, grads = kind.draw(splats, view, "cpu", torch.float32)
    random, step = torch.Generator().manual_seed(4), 1e-6
    start = {name: tensor.double() for name, tensor in splats.items()}

    def images(moved):
        return kind.rasterize(**moved, **view, **kind.options, backend="reference")[: len(kind.names)]

    weights = kind.weights(images(start), kind.names)

    def loss(moved):
        return sum((image * weight).sum() for image, weight in zip(images(moved), weights, strict=True))

    for name in splats:
        along = torch.randn(start[name].shape, generator=random, dtype=torch.float64)
        ahead, back = (loss(start | {name: start[name] + sign * step * along}) for sign in (1, -1))
        expected = (ahead - back) / (2 * step)
        assert (grads[name] * along).sum().item() == pytest.approx(expected.item(), rel=kind.close), name


def test_same_bytes_whatever_the_number_of_threads(kind, make_view):
    splats, view = kind.make(700, size=0.05), make_view(3, 70, 70)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(kind.draw(splats, view, "cpu", torch.float32))
    finally:
        torch.set_num_threads(before)
    for images, grads in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(images, results[0][0], strict=True))
        assert all(torch.equal(grad, results[0][1][name]) for name, grad in grads.items())


def test_order_of_rows_does_not_matter(kind, make_view):
    splats, view = kind.make(90), make_view()
    shuffled = {name: tensor.flip(0) for name, tensor in splats.items()}
    both = [kind.rasterize(**rows, **view, **kind.options)[: len(kind.names)] for rows in (splats, shuffled)]
    for a, b in zip(*both, strict=True):
        assert torch.equal(a, b)


def test_cameras_do_not_disturb_one_another_and_their_gradients_add_up(kind, make_view):
    splats, view = {name: tensor.requires_grad_() for name, tensor in kind.make(90).items()}, make_view(3)

    def drawn(seen):
        images = kind.rasterize(**splats, **seen, **kind.options)
        loss = sum(image.square().sum() for image in images[: len(kind.names)])
        return images, torch.autograd.grad(loss, list(splats.values()))

    together, both = drawn(view)
    totals = [torch.zeros_like(grad) for grad in both]
    for k in range(3):
        alone, one = drawn(only(view, k))
        assert all(torch.equal(a[0], b[k]) for a, b in zip(alone, together, strict=True))
        totals = [total + grad for total, grad in zip(totals, one, strict=True)]
    for total, grad in zip(totals, both, strict=True):
        torch.testing.assert_close(total, grad, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_finite(kind, make_view, value):
    for name in kind.make(1):
        splats = kind.make(20)
        splats[name].view(-1)[-1] = value
        with pytest.raises(NonFinite, match=name):
            kind.rasterize(**splats, **make_view())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    exponent=st.integers(-30, 25),
    which=st.sampled_from(["means", "scales", "quats", "opacities"]),
)
def test_extreme_numbers_stay_finite(kind, seed, exponent, which):
    random = torch.Generator().manual_seed(seed)
    splats = kind.make(int(torch.randint(1, 40, (), generator=random)), seed=seed, size=0.05, radius=1.5)
    exponent = min(exponent, kind.largest) if which != "opacities" else -abs(exponent)
    splats[which] = splats[which] * 10.0**exponent
    splats = {name: tensor.requires_grad_() for name, tensor in splats.items()}
    pose = torch.eye(4)[None]
    pose[0, 2, 3] = 2.0
    drawn = kind.rasterize(
        **splats,
        camera_from_world=pose,
        focal_px=torch.full((1, 2), 30.0),
        center_px=torch.full((1, 2), 8.0),
        height=16,
        width=19,
        background=torch.zeros(3),
    )
    images = [image for image in drawn[: len(kind.names)] if image is not None]
    assert all(torch.isfinite(image).all() for image in images)
    assert 0 <= drawn.alpha.min() <= drawn.alpha.max() <= 1
    sum(image.sum() for image in images).backward()
    assert all(tensor.grad.isnan().sum() == 0 for tensor in splats.values())


def test_what_it_cannot_do_is_refused(kind, make_view):
    splats, view = kind.make(5), make_view()
    with pytest.raises(Unsupported, match="reference"):
        kind.rasterize(**{name: tensor.double() for name, tensor in splats.items()}, **view, backend="cpu")
    with pytest.raises(Unsupported, match="background"):
        kind.rasterize(**splats, **view | {"background": torch.zeros(3, requires_grad=True)})
    with pytest.raises(BadInput, match="mix"):
        kind.rasterize(**splats | {"means": splats["means"].double()}, **view)


@pytest.mark.skipif(importlib.util.find_spec("gsplat") is not None, reason="gsplat is installed")
def test_missing_gsplat_names_the_extra(kind, make_view):
    with pytest.raises(MissingExtra, match=r"maquette\[cuda\]"):
        kind.rasterize(**kind.make(3), **make_view(), backend="cuda")


def test_nothing_is_kept_alive(kind, make_view):
    splats = {name: tensor.requires_grad_() for name, tensor in kind.make(5).items()}
    gc.disable()
    try:
        drawn = kind.rasterize(**splats, **make_view(), **kind.options)
        alive = [weakref.ref(image) for image in drawn]
        del drawn
        assert all(reference() is None for reference in alive)  # no cycle that would wait for the collector
    finally:
        gc.enable()
