"""Triangles with gradients: twins, finite differences, exact coverage, and silhouettes that nothing hides."""

import math

import pytest
import torch

from maquette.core import orbit
from maquette.kernels.triangle import antialias, interpolate, rasterize
from maquette.kernels.triangle.edges import edges_of, sorted_edges

FLAT = {"camera_from_world": torch.eye(4)[None], "focal_px": torch.ones(1, 2), "center_px": torch.zeros(1, 2)}
DOUBLE = {name: value.double() for name, value in FLAT.items()}


def lens(camera):
    return {"camera_from_world": camera.camera_from_world, "focal_px": camera.focal_px, "center_px": camera.center_px}


def torus(rings=9, sides=6, major=0.3, minor=0.13):
    """Closed, hides a part of itself, and its faces are larger than a pixel."""
    i, j = torch.meshgrid(torch.arange(rings), torch.arange(sides), indexing="ij")
    u, v = i.double() / rings * 2 * math.pi, j.double() / sides * 2 * math.pi
    radius = major + minor * v.cos()
    vertices = torch.stack([radius * u.cos(), minor * v.sin(), -radius * u.sin()], -1).reshape(-1, 3)
    at = lambda a, b: ((a % rings) * sides + b % sides).reshape(-1)  # noqa: E731
    a, b, c, d = at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)
    return vertices, torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])


def disc(corners=24, radius=20.3, middle=(31.7, 32.2)):
    """A polygon on the screen, as a fan of triangles at depth 1."""
    angle = torch.arange(corners).double() / corners * 2 * math.pi + 0.1
    rim = torch.stack([angle.cos(), angle.sin()], -1) * radius
    points = torch.cat([torch.zeros(1, 2).double(), rim]) + torch.tensor(middle).double()
    k = torch.arange(corners)
    faces = torch.stack([torch.zeros_like(k), k + 1, (k + 1) % corners + 1], 1)
    return torch.cat([points, torch.ones(corners + 1, 1).double()], -1), faces


def coverage(vertices, faces, size=64, backend="cpu"):
    """Antialiased alpha of flat things, drawn anew from their positions."""
    index, depth, _ = rasterize(vertices.detach(), faces, **DOUBLE, height=size, width=size, backend="reference")
    alpha = (index >= 0).double()[..., None]
    return antialias(alpha, vertices, faces, index, depth, **DOUBLE, backend=backend)[0, ..., 0]


@pytest.fixture(scope="module")
def scene():
    vertices, faces = torus()
    camera = orbit(torch.tensor([20.0, 100.0]).double(), torch.tensor([25.0, 60.0]).double(), size=20)
    index, depth, _ = rasterize(vertices, faces, **lens(camera), height=20, width=20, backend="reference")
    draw = torch.Generator().manual_seed(0)
    attributes = torch.randn(len(vertices), 2, generator=draw).double()
    images = torch.randn(2, 20, 20, 3, generator=draw).double()
    return {"vertices": vertices, "faces": faces, "index": index, "depth": depth, "lens": lens(camera)} | {
        "attributes": attributes, "images": images, "draw": draw
    }  # fmt: skip


def operation(scene, which, backend):
    if which == "interpolate":
        first = scene["attributes"]
        return first, lambda x, v: interpolate(x, v, scene["faces"], scene["index"], **scene["lens"], backend=backend)
    given = (scene["faces"], scene["index"], scene["depth"])
    return scene["images"], lambda x, v: antialias(x, v, *given, **scene["lens"], backend=backend)


@pytest.mark.parametrize("which", ["interpolate", "antialias"])
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_gradients_are_finite_differences(scene, which, backend):
    first, draw = operation(scene, which, backend)
    given = [first.clone().requires_grad_(), scene["vertices"].clone().requires_grad_()]
    weights = torch.randn(draw(*given).shape, generator=scene["draw"]).double()
    gradients = torch.autograd.grad((draw(*given) * weights).sum(), given)
    assert gradients[1].abs().max() > 1  # silhouettes and planes do move
    for which_one in (0, 1):
        direction = torch.randn(given[which_one].shape, generator=scene["draw"]).double()
        sides = []
        for sign in (1e-6, -1e-6):
            moved = [x.detach() + sign * direction if k == which_one else x.detach() for k, x in enumerate(given)]
            sides.append((draw(*moved) * weights).sum())
        slope = (sides[0] - sides[1]) / 2e-6
        assert slope == pytest.approx(float((gradients[which_one] * direction).sum()), rel=1e-5)


@pytest.mark.parametrize("which", ["interpolate", "antialias"])
def test_twins_agree(scene, which):
    answers = []
    for backend in ("reference", "cpu"):
        first, draw = operation(scene, which, backend)
        given = [first.clone().requires_grad_(), scene["vertices"].clone().requires_grad_()]
        image = draw(*given)
        answers.append((image, *torch.autograd.grad(image.square().sum(), given)))
    for one, other in zip(*answers, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)
    assert not torch.equal(answers[0][0], first) or which == "interpolate"


def test_single_precision_is_close_to_double(scene):
    floats = {name: value.float() for name, value in scene["lens"].items()}
    for which in ("interpolate", "antialias"):
        first, draw = operation(scene, which, "cpu")
        if which == "interpolate":
            image = interpolate(first.float(), scene["vertices"].float(), scene["faces"], scene["index"], **floats)
        else:
            given = (scene["vertices"].float(), scene["faces"], scene["index"], scene["depth"].float())
            image = antialias(first.float(), *given, **floats)
        assert image.dtype == torch.float32
        assert torch.allclose(image.double(), draw(first, scene["vertices"]), atol=2e-4)


def test_points_seen_lie_on_their_rays_at_the_depth_of_the_rasteriser(scene):
    points = interpolate(scene["vertices"], scene["vertices"], scene["faces"], scene["index"], **scene["lens"])
    for k, pose in enumerate(scene["lens"]["camera_from_world"]):
        hit = scene["index"][k] >= 0
        there = points[k][hit] @ pose[:3, :3].T + pose[:3, 3]
        assert torch.allclose(there[:, 2], scene["depth"][k][hit])
        pixel = there[:, :2] / there[:, 2:] * scene["lens"]["focal_px"][k] + scene["lens"]["center_px"][k]
        assert torch.allclose(pixel, hit.nonzero().flip(1).double() + 0.5)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_an_upright_box_covers_pixels_as_it_does(backend):
    left, top, right, bottom = 5.3, 4.9, 14.75, 11.4
    corners = torch.tensor([[left, top, 1], [right, top, 1], [right, bottom, 1], [left, bottom, 1]]).double()
    alpha = coverage(corners, torch.tensor([[0, 1, 2], [0, 2, 3]]), size=20, backend=backend)
    places = torch.arange(20).double()
    across = (torch.minimum(places + 1, torch.tensor(right)) - places.clamp(min=left)).clamp(0, 1)
    down = (torch.minimum(places + 1, torch.tensor(bottom)) - places.clamp(min=top)).clamp(0, 1)
    assert torch.allclose(alpha[7], across)
    assert torch.allclose(alpha[:, 9], down)


def test_the_area_of_a_polygon_and_its_gradient():
    vertices, faces = disc()
    corners = len(vertices) - 1
    area = corners / 2 * 20.3**2 * math.sin(2 * math.pi / corners)
    vertices.requires_grad_()
    alpha = coverage(vertices, faces)
    assert float(alpha.detach().sum()) == pytest.approx(area, rel=2e-3)
    (gradient,) = torch.autograd.grad(alpha.sum(), vertices)
    outward = vertices.detach() - vertices.detach()[:1]
    growth = float((gradient * outward)[:, :2].sum())
    assert growth == pytest.approx(2 * area, rel=2e-2)  # d area / d scale
    assert gradient[:, :2].sum(0).abs().max() < 0.05 * 20.3  # moving all of it changes nothing
    assert gradient[0].abs().max() == 0  # the middle is no silhouette


def test_drawing_anew_after_a_step_agrees_with_the_gradient():
    """Not with the same visibility as before, as in the test above, but with a new one, over a whole pixel."""
    vertices, faces = disc()
    weights = torch.linspace(0, 1, 64).double()[None] ** 2 + torch.linspace(0, 1, 64).double()[:, None]
    steps, step = 40, torch.tensor([1 / 40, 0.6 / 40, 0]).double()
    values, slopes = [], []
    for k in range(steps + 1):
        moved = (vertices + k * step).requires_grad_()
        value = (coverage(moved, faces) * weights).sum()
        slopes.append(float((torch.autograd.grad(value, moved)[0] * step).sum()))
        values.append(float(value.detach()))
    predicted = sum((a + b) / 2 for a, b in zip(slopes, slopes[1:], strict=False))
    assert values[-1] - values[0] == pytest.approx(predicted, rel=0.02)


def test_what_lies_in_front_has_the_silhouette_and_what_is_hidden_has_none():
    square = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]).double()
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    near = torch.cat([square * 6.2 + 16, torch.ones(4, 1)], -1)
    far = torch.cat([square * 3.3 + 16, torch.ones(4, 1)], -1) * 2  # half the size of the near one, and behind it
    vertices, faces = torch.cat([near, far]), torch.cat([faces, faces + 4])
    for order in (faces, faces.flip(0)):
        index, depth, _ = rasterize(vertices, order, **DOUBLE, height=32, width=32, backend="reference")
        color = torch.randn(1, 32, 32, 1, generator=torch.Generator().manual_seed(1)).double()
        changed = (antialias(color, vertices, order, index, depth, **DOUBLE) != color)[0, ..., 0]
        assert changed.any()
        assert not changed[12:20, 12:20].any()
    wide = torch.cat([square * 9.3 + 16, torch.ones(4, 1)], -1) * 2
    vertices = torch.cat([near, wide])
    index, depth, _ = rasterize(vertices, faces, **DOUBLE, height=32, width=32, backend="reference")
    color = torch.where(index >= 2, 1.0, torch.where(index >= 0, 3.0, 0.0)).double()[..., None]
    row = antialias(color, vertices, faces, index, depth, **DOUBLE)[0, 16, :, 0]
    assert row[9] == pytest.approx(1 + 2 * 0.2)  # the near one ends at 9.8
    assert row[6] == pytest.approx(0.3)  # the wide one at 6.7


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_of_two_silhouettes_between_two_pixels_the_outer_one_counts(backend):
    square = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]).double() * 6
    near = torch.cat([square + torch.tensor([4.8, 8.0]), torch.ones(4, 1)], -1)  # ends at 10.8
    wide = torch.cat([square + torch.tensor([5.2, 8.0]), torch.ones(4, 1)], -1) * 1.001  # just behind it, at 11.2
    vertices, faces = torch.cat([near, wide]), torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    for order in (faces, faces.flip(0)):
        assert coverage(vertices, order, size=16, backend=backend)[8, 11] == pytest.approx(0.2)
    swapped = torch.cat([vertices[4:], vertices[:4]])
    assert coverage(swapped, faces, size=16, backend=backend)[8, 11] == pytest.approx(0.2)


def test_silhouettes_of_faces_below_a_pixel_are_found():
    """A ball whose faces are a third of a pixel: the last one before the silhouette is a sliver that no pixel sees."""
    vertices, faces = torus(rings=150, sides=90, major=1e-9, minor=0.4)
    camera = orbit(30.0, 20.0, size=48).to(torch.float32)
    vertices = vertices.float()
    index, depth, _ = rasterize(vertices, faces, **lens(camera), height=48, width=48)
    alpha = (index >= 0).float()[..., None]
    seen = antialias(alpha, vertices, faces, index, depth, **lens(camera))[0, ..., 0]
    inside = alpha[0, ..., 0] > 0
    pairs = inside[:, 1:] != inside[:, :-1]
    is_soft = (seen - alpha[0, ..., 0]).abs() > 1e-6
    middle = slice(16, 32)  # rows where the silhouette is upright
    found = (is_soft[:, 1:] | is_soft[:, :-1])[middle][pairs[middle]]
    assert len(found) == 32
    assert found.float().mean() > 0.95
    radius = 0.4 / math.sqrt(2.2**2 - 0.4**2) * float(camera.focal_px[0, 0])
    assert float(seen.sum()) == pytest.approx(math.pi * radius**2, rel=3e-3)


def test_edges_know_their_faces():
    edges = edges_of(torch.tensor([[0, 1, 2], [2, 1, 3]]))
    assert edges.ends.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    assert edges.first.diff().tolist() == [1, 1, 2, 1, 1]
    assert edges.opposite[edges.first[2] : edges.first[3]].tolist() == [0, 3]
    assert edges.face[edges.first[2] : edges.first[3]].tolist() == [0, 1]
    assert len(edges_of(torch.zeros(0, 3, dtype=torch.long)).ends) == 0
    fan = torch.stack([torch.zeros(60).long(), torch.arange(1, 61), torch.arange(2, 62)], 1)  # many at one vertex
    soup = torch.randint(12, (90, 3), generator=torch.Generator().manual_seed(0))  # edges of many faces, and of none
    for faces in (fan, fan.flip(0, 1), soup):
        assert all(torch.equal(one, other) for one, other in zip(edges_of(faces), sorted_edges(faces), strict=True))


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_what_cannot_be_seen_gives_no_gradient_and_no_nan(backend):
    camera = orbit(0.0, 0.0, size=8)
    shown = lens(camera)
    for corner in (5.0, math.nan):
        vertices = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [0, 1, corner]]).requires_grad_()
        faces = torch.tensor([[0, 1, 2]])
        index, depth, _ = rasterize(vertices, faces, **shown, height=8, width=8)
        image = antialias(torch.ones(1, 8, 8, 1), vertices, faces, index, depth, **shown, backend=backend)
        image = image + interpolate(torch.ones(3, 1), vertices, faces, index, **shown, backend=backend)
        assert torch.equal(image, torch.ones(1, 8, 8, 1))
        if corner == 5.0:
            assert torch.autograd.grad(image.sum(), vertices)[0].abs().max() == 0
    none = torch.zeros(0, 3)
    index, depth, _ = rasterize(none, none.long(), **shown, height=8, width=8)
    image = antialias(torch.ones(1, 8, 8, 2), none, none.long(), index, depth, **shown, backend=backend)
    assert torch.equal(image, torch.ones(1, 8, 8, 2))


def test_the_bytes_do_not_depend_on_the_number_of_threads(scene):
    first, draw = operation(scene, "antialias", "cpu")
    answers = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            vertices = scene["vertices"].clone().requires_grad_()
            answers.append(torch.autograd.grad(draw(first, vertices).square().sum(), vertices)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*answers)
