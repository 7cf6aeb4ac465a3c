"""Distances on a grid: formulas, interpolation, and what densities and silhouettes say of a shape."""

import math

import pytest
import torch

from maquette.core import BadInput, turntable
from maquette.core.camera import orbit
from maquette.core.errors import NonFinite
from maquette.representations import sdf_grid
from maquette.representations.gaussians import GaussianCloud
from maquette.representations.sdf_grid import SdfGrid, from_density, from_gaussians, from_silhouettes, sample
from maquette.representations.tets import TetField, grid_to_mesh


def radii(grid):
    return torch.linalg.vector_norm(grid_to_mesh(grid).vertices, dim=-1)


def test_formulas_are_distances():
    draw = torch.Generator().manual_seed(0)
    points = (torch.randn(200, 3, generator=draw) * 0.4).double().requires_grad_()
    for distance in (
        lambda p: sdf_grid.sphere(p, 0.4),
        lambda p: sdf_grid.torus(p, 0.3, 0.1),
        lambda p: sdf_grid.box(p, (0.3, 0.2, 0.4)),
    ):
        slope = torch.autograd.grad(distance(points).sum(), points)[0]
        assert torch.allclose(slope.norm(dim=-1), torch.ones(200).double())  # |grad d| = 1 almost everywhere
    places = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0.5, 0.6, 0.4]])
    assert sdf_grid.box(places, (0.3, 0.2, 0.4)).tolist() == pytest.approx([-0.2, 0.2, math.hypot(0.2, 0.4)])
    assert sdf_grid.torus(torch.tensor([[0.0, 0, 0], [0, 0.1, 0.3]]), 0.3, 0.1).tolist() == pytest.approx([0.2, 0.0])


def test_interpolation_is_exact_for_linear_functions_and_clamps_outside():
    grid = sample(lambda p: p @ torch.tensor([1.0, -2, 0.5]).double() + 0.1, resolution=5, dtype=torch.float64)
    points = (torch.rand(50, 3, generator=torch.Generator().manual_seed(0)).double() * 2 - 1) * 0.6
    assert torch.allclose(grid.at(points), points @ torch.tensor([1.0, -2, 0.5]).double() + 0.1)
    far = torch.tensor([[9.0, 0, 0]]).double()
    assert grid.at(far) == pytest.approx(float(grid.at(torch.tensor([[0.6, 0, 0]]).double())))
    corner = grid.points[-1, -1, -1]
    assert torch.allclose(grid.at(corner[None]), grid.values[-1, -1, -1])


@pytest.mark.parametrize("steepness", [10.0, 200.0])
def test_the_surface_of_a_density_is_where_it_crosses_the_level(steepness):
    def density(p):
        return torch.nn.functional.softplus(steepness * (1 - p.norm(dim=-1) / 0.25))

    level = float(density(torch.tensor([[0.2, 0, 0]])))
    grid = from_density(density, resolution=32, level=level)
    assert grid.step < 1.2 / 32 * 0.6  # the box of the ball, not the whole cube
    error = (radii(grid) - 0.2) / grid.step
    assert error.abs().max() < 0.2
    clamped = (level - density(grid.points.reshape(-1, 3))).clamp(-1, 1).view(grid.values.shape)  # what Magic3D does
    stairs = radii(SdfGrid(clamped, grid.origin, grid.step)) / grid.step
    assert steepness < 20 or error.std() < stairs.std() / 4
    near = grid.values.abs() < 0.5 * grid.step
    truth = grid.points.norm(dim=-1) - 0.2
    assert (grid.values - truth)[near].abs().max() < 0.3 * grid.step
    assert torch.allclose(TetField(grid).mesh().vertices, grid_to_mesh(grid).vertices, atol=1e-2 * grid.step)


def test_without_a_level_it_is_the_mean_of_what_there_is():
    """40 (1 - r / 0.4) has the mean 40 / 4 over its ball, and that at r = 0.3."""
    grid = from_density(lambda p: 40 * (1 - p.norm(dim=-1) / 0.4).clamp(min=0), resolution=24)
    assert radii(grid).mean() == pytest.approx(0.3, abs=0.1 * grid.step)


def test_densities_without_a_surface_are_refused():
    with pytest.raises(BadInput, match="choose another level"):
        from_density(lambda p: torch.zeros(len(p)), resolution=8)
    with pytest.raises(BadInput, match="all"):
        from_density(lambda p: torch.ones(len(p)), resolution=8, level=0.5)
    with pytest.raises(NonFinite):
        from_density(lambda p: torch.full((len(p),), math.nan), resolution=8)
    with pytest.raises(BadInput, match="2 or more"):
        SdfGrid(torch.zeros(1, 3, 3), torch.zeros(3), 0.1)


def test_one_gaussian_has_the_radius_of_its_level():
    """exp(-r^2 / 2 s^2) = t at r = s sqrt(-2 ln t)."""
    one = GaussianCloud(
        means=torch.zeros(1, 3), log_scales=torch.full((1, 3), math.log(0.15)), quats=torch.tensor([[1.0, 0, 0, 0]]),
        logit_opacities=torch.full((1,), 12.0), sh=torch.zeros(1, 1, 3),
    )  # fmt: skip
    for level in (0.3, 0.7):
        grid = from_gaussians(one, level=level, resolution=32)
        assert radii(grid).mean() == pytest.approx(0.15 * math.sqrt(-2 * math.log(level)), rel=0.02)
        assert radii(grid).std() < 0.1 * grid.step
    with pytest.raises(BadInput, match="another level"):
        from_gaussians(one, level=1.5)


def discs(camera, radius):
    """Exact silhouettes of a ball around the origin."""
    origins, directions = camera.rays()
    closest = torch.linalg.cross(origins, directions).norm(dim=-1)
    return (closest < radius).float()


def test_the_hull_of_the_silhouettes_of_a_ball_is_nearly_the_ball():
    camera = orbit(torch.tensor([0.0, 60, 120, 180, 240, 300, 0, 0]), torch.tensor([0.0, 0, 0, 0, 0, 0, 89, -89]))
    grid = from_silhouettes(discs(camera, 0.4), camera, resolution=32)
    seen = radii(grid)
    pixel = 2.2 / float(camera.focal_px[0, 0])
    assert seen.min() > 0.4 - pixel
    assert seen.max() < 0.4 * 1.35  # corners that no view looks past
    assert grid.values.min() == pytest.approx(-0.4, abs=0.05)


def test_hulls_of_empty_and_full_pictures():
    camera = turntable(3, size=16)
    assert (from_silhouettes(torch.zeros(3, 16, 16), camera, resolution=4).values > 0).all()
    assert (from_silhouettes(torch.ones(3, 16, 16), camera, resolution=4).values < 0).all()
