"""Blending pictures on points: twins agree, and hidden, averted and doubtful views keep silent."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core import Camera, normalize, orbit
from maquette.kernels.bake import blend, coverage
from maquette.kernels.bake.reference import DOUBTFUL
from maquette.kernels.triangle import rasterize


def lens(camera: Camera) -> dict:
    return {"camera_from_world": camera.camera_from_world, "focal_px": camera.focal_px, "center_px": camera.center_px}


def plate(z=0.0, half=0.4):
    """A square across the view of the front camera."""
    corners = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * half + torch.tensor([0, 0, z])
    return corners, torch.tensor([[0, 1, 2], [0, 2, 3]])


def depth_of(camera, vertices, faces):
    return rasterize(vertices, faces, **lens(camera), height=camera.height, width=camera.width)[1]


FRONT = orbit(0.0, 0.0, size=64)
TOWARDS = torch.tensor([[0.0, 0.0, 1.0]])


@pytest.mark.parametrize(("views", "points"), [(1, 0), (1, 1), (7, 500)])
def test_twins_agree(views, points):
    generator = torch.Generator().manual_seed(points)
    angles = torch.rand(2, views, generator=generator) * 360
    camera = orbit(angles[0], angles[1] / 4).resized(40, 56)
    soup = torch.randn(30, 3, 3, generator=generator) * 0.3
    depth = depth_of(camera, soup.reshape(-1, 3), torch.arange(90).reshape(30, 3))
    where = torch.randn(points, 3, generator=generator) * 0.4
    where[: points // 20] *= 9  # out of the picture or behind the camera
    normals = normalize(torch.randn(points, 3, generator=generator))
    pictures = torch.rand(views, 40, 56, 4, generator=generator)
    given = {"pictures": pictures, "depth": depth, **lens(camera)}
    color, weight = blend(where, normals, **given)
    exact = {name: value.double() for name, value in given.items()}
    true_color, true_weight = blend(where.double(), normals.double(), **exact, backend="reference")
    # A point within rounding of a pixel border or of the allowance may be judged differently; nothing else may.
    same = (weight - true_weight).abs() <= 1e-4 * true_weight + 1e-9
    assert (~same).sum() <= 0.01 * points
    assert torch.allclose(color[same].double(), true_color[same], atol=1e-4)
    assert points < 500 or (weight > 0).sum() > 150


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_square_view_gives_the_color_of_the_picture_at_the_projection(backend):
    pictures = torch.ones(1, 64, 64, 4)
    columns, rows = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="xy")
    pictures[0, ..., 0], pictures[0, ..., 1] = columns / 64, rows / 64
    where = torch.tensor([[0.0, 0, 0], [0.2, 0, 0], [0, 0.2, 0], [-0.13, -0.07, 0]])
    color, weight = blend(
        where, TOWARDS.expand(4, 3), pictures=pictures, depth=depth_of(FRONT, *plate()), **lens(FRONT), backend=backend
    )
    pixels, _ = FRONT.project(where)
    assert torch.allclose(color[:, :2], pixels[0] / 64, atol=1e-5)  # +X to the right, +Y up: rows fall
    assert color[1, 0] > 0.5 > color[2, 1]
    assert weight[0].item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_who_does_not_see_has_no_say(backend):
    camera = orbit(torch.tensor([0.0, 180.0]), 0.0, size=64)
    pictures = torch.ones(2, 64, 64, 4)
    pictures[0, ..., :3] = torch.tensor([1.0, 0, 0])
    pictures[1, ..., :3] = torch.tensor([0.0, 0, 1])
    depth = depth_of(camera, *plate(z=0.1))
    options = {"pictures": pictures, "depth": depth, **lens(camera), "backend": backend}
    behind = torch.tensor([[0.0, 0, -0.1]])  # hidden from the front by the plate; the back camera sees the plate only
    assert blend(behind, TOWARDS, **options)[1].item() == 0
    on_it = torch.tensor([[0.0, 0, 0.1]])
    assert torch.allclose(blend(on_it, TOWARDS, **options)[0], torch.tensor([[1.0, 0, 0]]))
    assert torch.allclose(blend(on_it, -TOWARDS, **options)[0], torch.tensor([[0.0, 0, 1]]))
    outside = torch.tensor([[5.0, 0, 0.1]])
    assert blend(outside, TOWARDS, **options)[1].item() == 0


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_pixels_at_a_silhouette_only_fill_in(backend):
    depth = depth_of(FRONT, *plate())
    pictures = torch.ones(1, 64, 64, 4)
    edge = torch.tensor([[0.399, 0, 0]])
    options = {"pictures": pictures, "depth": depth, **lens(FRONT), "backend": backend}
    weight = blend(edge, TOWARDS, **options)[1].item()
    assert 0 < weight <= DOUBTFUL
    pictures[..., 3] = 0.5
    assert blend(edge, TOWARDS, **options)[1].item() == pytest.approx(weight / 4, rel=1e-3)
    pictures[..., 3] = 0
    assert blend(edge, TOWARDS, **options)[1].item() == 0


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_what_lies_beside_the_object_does_not_bleed_in(backend):
    pictures = torch.zeros(1, 64, 64, 4)
    pictures[0, :, :32] = torch.tensor([1.0, 0.5, 0, 1])  # the right half is black and transparent
    at_the_border = torch.tensor([[0.0, 0, 0]])
    color, weight = blend(
        at_the_border, TOWARDS, pictures=pictures, depth=depth_of(FRONT, *plate()), **lens(FRONT), backend=backend
    )
    assert torch.allclose(color, torch.tensor([[1.0, 0.5, 0]]), atol=1e-4)
    assert weight.item() == pytest.approx(0.25, abs=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 12), st.sampled_from([1, 7, 16]))
def test_coverage_agrees_with_the_specification(seed, count, size):
    draw = torch.Generator().manual_seed(seed)
    uv = torch.rand(2 * count + 3, 2, generator=draw) * 1.4 - 0.2
    faces = torch.randint(len(uv), (count, 3), generator=draw)
    assert torch.equal(coverage(uv, faces, size), coverage(uv, faces, size, backend="reference"))


def test_coverage_counts_insides_and_no_borders():
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    halves = coverage(square, torch.tensor([[0, 1, 2], [0, 2, 3]]), 8)
    assert torch.equal(halves, 1 - torch.eye(8, dtype=torch.int32))  # the diagonal belongs to neither
    twice = coverage(square, torch.tensor([[0, 1, 2], [2, 1, 0]]), 8)
    assert int(twice.max()) == 2 and int((twice == 2).sum()) == 28
