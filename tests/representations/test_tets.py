"""Marching tetrahedra and DMTet: closed surfaces of known genus, volumes, and gradients that move them."""

import itertools
import math

import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core import BadInput
from maquette.core.errors import NonFinite
from maquette.representations import examine, sdf_grid
from maquette.representations.mesh import Mesh
from maquette.representations.sdf_grid import SdfGrid, sample
from maquette.representations.smoothness import laplacian, normal_consistency
from maquette.representations.tets import (
    TetField,
    grid_to_mesh,
    kuhn_tets,
    marching_tetrahedra,
    sign_changes,
)
from maquette.representations.topology import edges


def volume(vertices, faces):
    a, b, c = vertices[faces].unbind(1)
    return (a * torch.linalg.cross(b, c)).sum() / 6


def as_trimesh(mesh):
    return trimesh.Trimesh(mesh.vertices.detach().numpy(), mesh.faces.numpy(), process=False)


def ball(resolution, radius=0.35, half_size=0.5, dtype=torch.float64):
    return sample(lambda p: sdf_grid.sphere(p, radius), resolution=resolution, half_size=half_size, dtype=dtype)


def noise(seed, side=6):
    values = torch.randn(side, side, side, generator=torch.Generator().manual_seed(seed)).double()
    return SdfGrid(values, torch.full((3,), -0.5).double(), 1 / (side - 1))


@pytest.mark.parametrize(
    ("resolution", "vertices", "faces", "enclosed", "area"),
    [(8, 386, 768, 0.168319, 1.48865), (16, 1730, 3456, 0.176763, 1.52683), (24, 3974, 7944, 0.178330, 1.53378)],
)
def test_a_ball_has_the_published_numbers(resolution, vertices, faces, enclosed, area):
    """Counts and sizes of a sphere of radius 0.35 on a Kuhn grid; truth is 0.179594 and 1.539380."""
    solid = as_trimesh(grid_to_mesh(ball(resolution)))
    assert (len(solid.vertices), len(solid.faces)) == (vertices, faces)
    assert solid.volume == pytest.approx(enclosed, abs=1e-6)
    assert solid.area == pytest.approx(area, abs=1e-5)
    assert solid.is_watertight and solid.is_winding_consistent and solid.euler_number == 2


@pytest.mark.parametrize(
    ("distance", "enclosed", "euler"),
    [
        (lambda p: sdf_grid.torus(p, 0.3, 0.12), 2 * math.pi**2 * 0.3 * 0.12**2, 0),
        (lambda p: sdf_grid.box(p, (0.3, 0.2, 0.25)), 0.6 * 0.4 * 0.5, 2),
    ],
)
def test_a_torus_has_a_hole_and_a_box_has_none(distance, enclosed, euler):
    solid = as_trimesh(grid_to_mesh(sample(distance, resolution=32)))
    assert solid.is_watertight and solid.is_winding_consistent
    assert solid.euler_number == euler
    assert solid.volume == pytest.approx(enclosed, rel=0.03)


@pytest.mark.parametrize("field", [False, True])
@pytest.mark.parametrize("shift", [0.0, 1e-9, -1e-9, 1e-5])
def test_sides_that_lie_on_grid_points_make_no_faces_without_area(shift, field):
    """All sides of the box go through grid points of the 16 cells a side, or miss them by less than anyone sees."""
    half_sides = tuple(side / 16 + shift for side in (5, 3, 4))
    grid = sample(lambda p: sdf_grid.box(p, half_sides), resolution=16, half_size=0.5, dtype=torch.float64)
    mesh = TetField(grid).mesh() if field else grid_to_mesh(grid)
    health = examine(Mesh(mesh.vertices.detach(), mesh.faces))
    assert health.degenerate_faces == health.duplicate_faces == health.components - 1 == 0
    assert health.is_watertight and health.is_manifold and health.is_wound_consistently
    assert health.volume == pytest.approx(float(volume(*marching(grid, 1))), rel=1e-3)
    if not field:
        assert len(mesh.faces) < 3000 and len(mesh.faces.unique()) == len(mesh.vertices)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([-1.0, 1.0]))
def test_zeros_anywhere_leave_a_closed_surface_that_meets_itself_nowhere(seed, sign):
    """A third of the distances of a noise is 0: sheets touch at points, along edges and at whole faces."""
    values, draw = noise(seed).values, torch.Generator().manual_seed(seed)
    values[torch.rand(values.shape, generator=draw) < 1 / 3] = 0.0
    values = torch.nn.functional.pad(sign * values, (1,) * 6, value=1.0)
    grid = SdfGrid(values, torch.zeros(3).double(), 0.2)
    found = edges(grid_to_mesh(grid).faces.numpy())
    assert (found.faces == 2).all() and (found.balance == 0).all()
    plain = marching_tetrahedra(grid.points.reshape(-1, 3), values.reshape(-1), kuhn_tets(tuple(values.shape)))
    mesh = grid_to_mesh(grid)
    assert len(mesh.faces) <= len(plain[1])
    assert volume(mesh.vertices, mesh.faces) == pytest.approx(float(volume(*plain)), abs=1e-4)


def test_a_vertex_on_a_grid_point_passes_on_gradients_of_all_its_edges():
    values = (ball(8).points[..., 0] - 0.25).requires_grad_()
    mesh = grid_to_mesh(SdfGrid(values, ball(8).origin, ball(8).step))
    assert torch.allclose(mesh.vertices[:, 0], torch.tensor(0.25).double())
    mesh.vertices[:, 0].sum().backward()
    assert values.grad.sum() == pytest.approx(-len(mesh.vertices))


def test_the_other_sign_turns_the_faces():
    grid = ball(10)
    solid = volume(*marching(grid, 1))
    assert solid > 0
    assert volume(*marching(grid, -1)) == pytest.approx(float(-solid))


def marching(grid, sign):
    tets = kuhn_tets(tuple(grid.values.shape))
    return marching_tetrahedra(grid.points.reshape(-1, 3), sign * grid.values.reshape(-1), tets)


def test_tetrahedra_fill_the_box_and_are_positive():
    tets = kuhn_tets((3, 4, 2))
    points = torch.cartesian_prod(*(torch.arange(side).double() for side in (3, 4, 2)))
    p = points[tets]
    sizes = torch.linalg.det(p[:, 1:] - p[:, :1]) / 6
    assert torch.allclose(sizes, torch.full((36,), 1 / 6).double())
    assert sizes.sum() == pytest.approx(2 * 3 * 1)


def test_every_sign_of_one_tetrahedron_gives_one_or_two_triangles_that_face_outward():
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]).double()
    for signs in itertools.product((-1.0, 1.0), repeat=4):
        sdf = torch.tensor(signs).double()
        vertices, faces = marching_tetrahedra(points, sdf, torch.arange(4)[None])
        inside = int((sdf < 0).sum())
        assert len(faces) == [0, 1, 2, 1, 0][inside]
        if inside in (0, 4):
            continue
        towards = points[sdf > 0].mean(0) - points[sdf < 0].mean(0)
        assert ((Mesh(vertices, faces).face_normals() @ towards) > 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_any_numbers_give_a_closed_surface_that_encloses_a_positive_volume(seed):
    field = TetField(noise(seed))
    with torch.no_grad():
        field.offsets.uniform_(-3, 3, generator=torch.Generator().manual_seed(seed))
    solid = as_trimesh(field.mesh())
    assert solid.is_watertight and solid.is_winding_consistent
    with torch.no_grad():
        field.offsets.zero_()
    assert as_trimesh(field.mesh()).volume > 0


def test_offsets_stay_within_half_a_cell():
    field = TetField(ball(8))
    with torch.no_grad():
        field.offsets.fill_(1e6)
    moved = field.mesh().vertices - grid_to_mesh(ball(8)).vertices
    assert torch.allclose(moved, torch.full((3,), 0.5 / 8).double())


def test_the_gradient_of_the_volume_is_that_of_finite_differences_and_of_the_area():
    field = TetField(ball(8))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        field.offsets.copy_(0.3 * torch.randn(field.offsets.shape, generator=draw))

    def enclosed():
        mesh = field.mesh()
        return volume(mesh.vertices, mesh.faces)

    enclosed().backward()
    for parameter in (field.sdf, field.offsets):
        direction = torch.randn(parameter.shape, generator=draw).double()
        slope = 0.0
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-6 * direction
                slope += sign * float(enclosed()) / 2e-6
                parameter -= sign * 1e-6 * direction
        assert slope == pytest.approx(float((parameter.grad * direction).sum()), rel=1e-5)
    # Every distance one cell larger: the surface moves in by a cell, and a cell times the area is lost.
    area = as_trimesh(field.mesh()).area
    assert float(field.sdf.grad.sum()) == pytest.approx(-area / 8, rel=0.08)


def test_the_price_of_a_change_of_sign():
    sdf = torch.full((2, 2, 2), 0.3).double()
    sdf[0] = -0.3
    sdf.requires_grad_()
    price = sign_changes(sdf)
    assert price.detach() == pytest.approx(2 * math.log(1 + math.exp(0.3)))
    slope = torch.autograd.grad(price, sdf)[0]
    assert (slope[0] < 0).all() and (slope[1] > 0).all()  # a step against it takes both towards 0 and beyond
    assert sign_changes(torch.ones(3, 3, 3)) == 0


def test_smoothness_of_planes_and_balls():
    flat = sample(lambda p: p[:, 1] - 0.013, resolution=6, dtype=torch.float64)
    mesh = grid_to_mesh(flat)
    assert normal_consistency(mesh) == pytest.approx(0, abs=1e-12)
    rough, smooth = (grid_to_mesh(ball(n)) for n in (8, 32))
    assert normal_consistency(smooth) < normal_consistency(rough)
    assert laplacian(smooth) < laplacian(rough) / 10
    square = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2], [0, 2, 3]]))
    assert laplacian(square) == pytest.approx((2 * 8 / 9 + 2 * 1 / 2) / 4)
    folded = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), torch.tensor([[0, 1, 2], [1, 0, 3]]))
    assert normal_consistency(folded) == pytest.approx(1.0)


def test_a_surface_at_the_border_is_closed_there():
    field = TetField(ball(8, radius=0.9))
    solid = as_trimesh(field.mesh())
    assert solid.is_watertight
    assert solid.volume < 1
    assert field.grid().values.min() < 0


def test_nothing_inside_is_an_error():
    with pytest.raises(BadInput, match="both signs"):
        TetField(ball(4, radius=-1.0)).mesh()
    broken = SdfGrid(torch.full((3, 3, 3), math.nan), torch.zeros(3), 1.0)
    with pytest.raises(NonFinite):
        TetField(broken)
