"""The color of a mesh at points on it and next to it."""

import math
from dataclasses import replace

import pytest
import torch

from maquette.core import BadInput
from maquette.representations.mesh import Mesh
from maquette.representations.surface import nearby_color, spread_over, surface_color


def test_samples_are_even_and_each_face_has_one(shapes):
    cube = shapes.cube()
    sliver = torch.tensor([[2.0, 0, 0], [2, 1e-6, 0], [2, 0, 1e-6]])
    mesh = Mesh(torch.cat([cube.vertices, sliver]), torch.cat([cube.faces, torch.tensor([[8, 9, 10]])]))
    face, barycentric = spread_over(mesh, 12_000)
    assert torch.bincount(face).tolist() == pytest.approx([1000] * 12 + [1], abs=1)
    assert barycentric.min() >= 0 and torch.allclose(barycentric.sum(-1), torch.ones(len(face)))
    for corner in range(3):  # the mean of evenly spread points is the middle
        assert barycentric[face == 0][:, corner].mean().item() == pytest.approx(1 / 3, abs=0.003)
        assert barycentric[face == 0][:, corner].square().mean().item() == pytest.approx(1 / 6, abs=0.003)


def test_colors_next_to_a_surface_are_those_of_its_own_side(shapes):
    cube = shapes.cube()
    colors = torch.eye(3).repeat(4, 1)
    painted = replace(cube, face_colors=colors)
    face, barycentric = spread_over(cube, 600)
    normals = cube.face_normals()[face]
    points = (cube.vertices[cube.faces[face]] * barycentric[..., None]).sum(1) + 0.001 * normals
    inner = barycentric.min(1).values > 0.03
    assert torch.equal(nearby_color(painted, points, normals)[inner], surface_color(painted, face, barycentric)[inner])


def test_a_thin_wall_has_two_colors_where_its_sides_differ_in_slope():
    """A roof: two sheets that meet at an edge; close to the edge the normal decides."""
    slope = math.tan(math.radians(60))
    vertices = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0.3, -0.3 * slope, 0], [0.3, -0.3 * slope, 1],
                             [-0.3, -0.3 * slope, 0], [-0.3, -0.3 * slope, 1]])  # fmt: skip
    faces = torch.tensor([[0, 1, 3], [0, 3, 2], [1, 0, 4], [1, 4, 5]])
    roof = Mesh(vertices, faces, face_colors=torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]]))
    normals = roof.face_normals()[[0, 2]].repeat_interleave(50, 0)
    along = torch.linspace(0.1, 0.9, 50).repeat(2)
    points = torch.stack([torch.zeros(100), torch.zeros(100), along], -1)  # on the edge itself
    seen = nearby_color(roof, points, normals)
    assert (seen[:50, 0] == 1).float().mean() > 0.9 and (seen[50:, 2] == 1).float().mean() > 0.9


def test_a_mesh_without_area_has_no_samples():
    with pytest.raises(BadInput, match="no area"):
        spread_over(Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])), 10)
