import math

import pytest
import torch

from maquette.core import BadInput, orbit
from maquette.core.rotation import quat_to_matrix
from maquette.render import render_gaussians, render_mesh
from maquette.representations.discs import OVERLAP, mesh_to_gaussians
from maquette.representations.mesh import Mesh
from maquette.representations.sdf_grid import sample, sphere
from maquette.representations.tets import grid_to_mesh


@pytest.fixture(scope="module")
def ball():
    """Radius 0.35, red above and blue below."""
    mesh = grid_to_mesh(sample(lambda points: sphere(points, 0.35), resolution=24))
    colors = torch.where(mesh.vertices[:, 1:2] > 0, torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.9]))
    return Mesh(mesh.vertices, mesh.faces, vertex_colors=colors)


def test_discs_lie_on_the_surface_and_share_it(ball):
    cloud = mesh_to_gaussians(ball, count=9000)
    assert 9000 <= len(cloud) < 9000 + len(ball.faces)
    radius = cloud.means.norm(dim=-1)
    assert (radius - 0.35).abs().max() < 0.005
    thin = quat_to_matrix(cloud.quats)[..., 2]  # the third axis is the thin one
    outward = (thin * cloud.means / radius[:, None]).sum(-1)
    assert (outward * cloud.scales[:, 0].square()).sum() / cloud.scales[
        :, 0
    ].square().sum() > 0.98  # slivers tilt
    assert torch.allclose(cloud.scales[:, 0], cloud.scales[:, 1]) and (cloud.scales[:, 2] < cloud.scales[:, 0]).all()
    area = (cloud.scales[:, 0] / OVERLAP).square().sum()
    assert area == pytest.approx(4 * math.pi * 0.35**2, rel=0.02)


def test_pictures_of_discs_are_pictures_of_the_mesh(ball):
    camera = orbit(torch.tensor([20.0, 200.0]), 10.0, size=160)
    discs = render_gaussians(mesh_to_gaussians(ball), camera, background=torch.ones(3))
    mesh = render_mesh(ball, camera, background=torch.ones(3))
    assert (discs.alpha - mesh.alpha).abs().mean() < 0.015  # tails of many discs at the rim: a pixel wide
    assert (discs.color - mesh.color).square().mean() < 10**-2.1  # where red meets blue and at the rim
    assert discs.alpha[:, 70:90, 70:90].min() > 0.95  # no gaps


def test_meshes_without_area_are_refused():
    flat = Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]))
    with pytest.raises(BadInput, match="no area"):
        mesh_to_gaussians(flat)
    with pytest.raises(BadInput, match="at least 1"):
        mesh_to_gaussians(flat, count=0)


def test_a_face_without_area_among_others_shows_nothing(ball):
    more = Mesh(ball.vertices, torch.cat([ball.faces, torch.tensor([[0, 0, 1]])]), vertex_colors=ball.vertex_colors)
    cloud = mesh_to_gaussians(more, count=9000)
    assert all(torch.isfinite(x).all() for x in cloud.tensors().values())
