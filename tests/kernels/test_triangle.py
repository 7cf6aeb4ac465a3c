"""The triangle z-buffer: twins agree, coverage is exact area, and pixels land where the camera says."""

import math

import pytest
import torch

from maquette.core import Camera, look_at, orbit, turntable
from maquette.kernels.triangle import rasterize

IDENTITY = {
    "camera_from_world": torch.eye(4)[None],
    "focal_px": torch.ones(1, 2),
    "center_px": torch.zeros(1, 2),
}  # the point (x, y, 1) falls on pixel position (x, y)


def seen_by(camera: Camera, vertices, faces, **options):
    return rasterize(
        vertices, faces, camera_from_world=camera.camera_from_world, focal_px=camera.focal_px,
        center_px=camera.center_px, height=camera.height, width=camera.width, **options,
    )  # fmt: skip


def soup(seed, count=60):
    """Triangles of all sizes, some behind the camera, some through its near plane, some without area."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(count, 1, 3, generator=generator)
    spread = torch.rand(count, 1, 1, generator=generator) ** 3 * 2
    corners = centers + spread * torch.randn(count, 3, 3, generator=generator)
    corners[0] = corners[0, :1]
    corners[1, 2] = (corners[1, 0] + corners[1, 1]) / 2
    return corners.reshape(-1, 3), torch.arange(count * 3).reshape(count, 3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 31), (40, 23)])
@pytest.mark.parametrize("seed", [0, 1])
def test_twins_agree(height, width, seed):
    vertices, faces = soup(seed)
    camera = orbit(torch.tensor([0.0, 130.0, -20.0]), torch.tensor([10.0, -35.0, 90.0])).resized(height, width)
    index, depth, barycentric = seen_by(camera, vertices, faces)
    truth = seen_by(camera.to(torch.float64), vertices.double(), faces, backend="reference")
    assert torch.equal(index, truth[0])
    tolerance = 5e-4  # faces seen edge-on amplify the rounding of float32 pixel positions
    assert torch.allclose(depth.double(), truth[1], rtol=tolerance)
    assert torch.allclose(barycentric.double(), truth[2], atol=tolerance)


def test_barycentric_coordinates_give_back_the_point_under_the_pixel():
    vertices, faces = soup(3)
    camera = turntable(3, size=50)
    index, depth, barycentric = seen_by(camera, vertices, faces)
    hit = index >= 0
    points = (vertices[faces[index.long()]] * barycentric[..., None]).sum(-2)
    for k in range(3):
        pixels, distance = camera[k].project(points[k][hit[k]])
        rows, columns = torch.nonzero(hit[k], as_tuple=True)
        assert torch.allclose(pixels[0], torch.stack([columns, rows], -1) + 0.5, atol=2e-2)
        assert torch.allclose(distance[0], depth[k][hit[k]], rtol=1e-4)
    assert torch.allclose(barycentric.sum(-1), hit.float(), atol=1e-5)


def test_a_tilted_plane_has_the_depth_of_the_plane():
    vertices = torch.tensor([[-3.0, -3, -1], [3, -3, 1], [3, 3, 1], [-3, 3, -1]])  # z = x / 3
    camera = orbit(0.0, 0.0, radius=2.0, size=33)
    _, depth, _ = seen_by(camera, vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]))
    x = (torch.arange(33) + 0.5 - 16.5) / camera.focal_px[0, 0]  # ray (x, ., 1): z = 2 - d and x d = 3 z
    assert torch.allclose(depth[0], (6 / (3 + x)).expand(33, 33), rtol=1e-5)


def test_an_edge_shared_by_two_faces_leaves_no_hole_and_no_seam():
    torch.manual_seed(0)
    steps = torch.linspace(-2, 66, 18)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1) + 0.7 * torch.randn(18, 18, 2)
    vertices = torch.cat([grid, torch.ones(18, 18, 1)], -1).reshape(-1, 3)
    i = torch.arange(18 * 18).reshape(18, 18)
    a, b, c, d = (part.reshape(-1) for part in (i[:-1, :-1], i[1:, :-1], i[1:, 1:], i[:-1, 1:]))
    faces = torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])
    index, depth, _ = rasterize(vertices, faces, **IDENTITY, height=64, width=64)
    assert (index >= 0).all()
    assert torch.allclose(depth, torch.ones(()))


def test_a_mesh_whose_vertices_lie_on_pixel_centres_leaves_no_hole():
    """Every corner and every diagonal meets pixel centres to the last bit; found by chance at 25 pixels of 40,000."""
    generator = torch.Generator().manual_seed(1)
    side = 41
    steps = torch.arange(side) * 5 + 0.5
    inner = torch.zeros(side, side, 1)
    inner[1:-1, 1:-1] = 1
    shift = torch.randint(-2, 3, (side, side, 2), generator=generator) * inner
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1) + shift
    depth = 0.5 + torch.rand(side, side, 1, generator=generator)  # division by depth and back rounds
    vertices = torch.cat([grid * depth, depth], -1).reshape(-1, 3)
    i = torch.arange(side * side).reshape(side, side)
    a, b, c, d = (part.reshape(-1) for part in (i[:-1, :-1], i[1:, :-1], i[1:, 1:], i[:-1, 1:]))
    faces = torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])
    index, _, _ = rasterize(vertices, faces, **IDENTITY, height=200, width=200)
    assert (index[0, 1:, 1:] >= 0).all()  # the outer edge itself may round to the outside


def test_coverage_is_the_area_and_winding_does_not_matter():
    triangle = torch.tensor([[10.0, 10, 1], [210, 60, 1], [80, 190, 1]])
    for face in ([0, 1, 2], [2, 1, 0]):
        index, _, _ = rasterize(triangle, torch.tensor([face]), **IDENTITY, height=256, width=256)
        area = abs((200 * 180) - (50 * 70)) / 2
        assert (index == 0).sum().item() == pytest.approx(area, rel=5e-3)


def test_the_pixel_of_a_point_is_where_row_and_column_say():
    dot = torch.tensor([[5.1, 2.1, 1], [5.9, 2.1, 1], [5.5, 2.9, 1]])  # column 5, row 2
    index, _, _ = rasterize(dot, torch.tensor([[0, 1, 2]]), **IDENTITY, height=8, width=8)
    assert torch.nonzero(index[0] == 0).tolist() == [[2, 5]]


def test_the_nearer_face_wins_whatever_the_order():
    square = torch.tensor([[-9.0, -9, 0], [9, -9, 0], [0, 9, 0]])
    vertices = torch.cat([square, square + torch.tensor([0, 0, 0.5])])
    camera = look_at(torch.tensor([[0.0, 0, 3]]), torch.zeros(3), size=4)
    for faces in ([[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]]):
        index, depth, _ = seen_by(camera, vertices, torch.tensor(faces))
        assert (index == faces.index([3, 4, 5])).all()
        assert torch.allclose(depth, torch.tensor(2.5))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_what_cannot_be_seen_leaves_no_trace(backend):
    camera = orbit(0.0, 0.0, size=8)
    behind = torch.tensor([[-1.0, -1, 5], [1, -1, 5], [0, 1, 5]])
    through = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [0, 1, 5]])  # one corner behind the camera: dropped whole
    broken = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [0, math.nan, 0]])
    for vertices in (behind, through, broken):
        index, depth, barycentric = seen_by(camera, vertices, torch.tensor([[0, 1, 2]]), backend=backend)
        assert (index == -1).all()
        assert not depth.any()
        assert not barycentric.any()
    nothing = seen_by(camera, torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64), backend=backend)
    assert [tuple(part.shape) for part in nothing] == [(1, 8, 8), (1, 8, 8), (1, 8, 8, 3)]
    assert (nothing[0] == -1).all()


@pytest.mark.parametrize("face", [[0, 1, 3], [-1, 0, 1]])
def test_indices_out_of_range_are_refused(face):
    with pytest.raises(ValueError, match="expected 0 to 2"):
        rasterize(torch.zeros(3, 3), torch.tensor([face]), **IDENTITY, height=2, width=2)


def test_the_bytes_do_not_depend_on_the_number_of_threads():
    import numba

    vertices, faces = soup(5)
    camera = turntable(5, size=32)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = seen_by(camera, vertices, faces)
    finally:
        numba.set_num_threads(before)
    for one, other in zip(alone, seen_by(camera, vertices, faces), strict=True):
        assert torch.equal(one, other)
