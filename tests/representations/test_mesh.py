"""The mesh: its door refuses what does not fit, and its normals are those of the shapes we know."""

import math

import pytest
import torch

from maquette.representations.mesh import Mesh


def sphere(rings=24, segments=48):
    """A unit sphere cut open along one meridian, so that the seam has double vertices."""
    polar = torch.linspace(0, math.pi, rings + 1)
    around = torch.linspace(0, 2 * math.pi, segments + 1)
    around[-1] = 0  # the seam: the same position, another vertex
    p, a = torch.meshgrid(polar, around, indexing="ij")
    radius = p.sin()
    radius[-1] = 0  # sin(pi) is not quite
    vertices = torch.stack([radius * a.sin(), p.cos(), radius * a.cos()], dim=-1).reshape(-1, 3)
    i, j = torch.meshgrid(torch.arange(rings), torch.arange(segments), indexing="ij")
    corner = (i * (segments + 1) + j).reshape(-1)
    below = corner + segments + 1
    faces = torch.cat([torch.stack([corner, below, below + 1], 1), torch.stack([corner, below + 1, corner + 1], 1)])
    return Mesh(vertices, faces)


def test_vertex_normals_of_a_sphere_are_its_positions_even_at_the_seam():
    ball = sphere()
    assert (ball.vertex_normals() - ball.vertices).norm(dim=-1).max() < 0.03  # facets, widest near the poles
    seam = ball.vertices.reshape(25, 49, 3)
    assert torch.equal(seam[:, 0], seam[:, -1])
    normals = ball.vertex_normals().reshape(25, 49, 3)
    assert torch.equal(normals[:, 0], normals[:, -1])


def test_winding_decides_the_side_of_the_normal():
    triangle = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2]]))
    turned = Mesh(triangle.vertices, triangle.faces.flip(1))
    assert torch.equal(triangle.face_normals(), torch.tensor([[0.0, 0, 1]]))
    assert torch.equal(turned.face_normals(), torch.tensor([[0.0, 0, -1]]))


def test_degenerate_faces_and_lonely_vertices_have_unit_normals():
    mesh = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [9, 9, 9]]), torch.tensor([[0, 1, 2], [1, 1, 1]]))
    assert torch.equal(mesh.vertex_normals(), torch.tensor([[0.0, 1, 0]]).expand(4, 3))
    assert torch.equal(mesh.face_normals(), torch.zeros(2, 3))


def test_empty_mesh():
    mesh = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    assert mesh.vertex_normals().shape == (0, 3)


@pytest.mark.parametrize("face", [[0, 1, 3], [-1, 0, 1]])
def test_indices_out_of_range_are_refused(face):
    with pytest.raises(ValueError, match="expected 0 to 2"):
        Mesh(torch.zeros(3, 3), torch.tensor([face]))


def test_counts_that_do_not_fit_are_refused():
    face = torch.tensor([[0, 1, 2]])
    with pytest.raises(ValueError, match="no uv"):
        Mesh(torch.zeros(3, 3), face, texture=torch.zeros(2, 2, 3))
    for wrong in ({"vertex_colors": torch.zeros(2, 3)}, {"uv": torch.zeros(4, 2)}, {"face_colors": torch.zeros(3, 3)}):
        with pytest.raises((ValueError, TypeError)):  # ours, or that of the shape checker in tests
            Mesh(torch.zeros(3, 3), face, **wrong)
