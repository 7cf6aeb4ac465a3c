"""Surfaces learn from silhouettes and normals alone."""

import math

import pytest
import torch
import trimesh

from maquette.core import BadInput, Progress, Result, Scalar, orbit
from maquette.render.surface import render_surface
from maquette.representations import sdf_grid
from maquette.representations.sdf_grid import sample
from maquette.representations.tets import grid_to_mesh
from maquette.training.views_to_tets import TetFit, views_to_tets

AZIMUTHS = torch.tensor([0.0, 60, 120, 180, 240, 300, 0, 0])
ELEVATIONS = torch.tensor([20.0, -20, 20, -20, 20, -20, 80, -80])
CAMERA = orbit(AZIMUTHS, ELEVATIONS, size=32)
TINY = TetFit(cells=14, steps=60)


def seen(distance):
    with torch.no_grad():
        return render_surface(grid_to_mesh(sample(distance, resolution=48)), CAMERA)


def fitted(*args, **options):
    *events, result = views_to_tets(CAMERA, *args, **options)
    assert isinstance(result, Result)
    return result.asset, events


def solid(tets):
    mesh = tets.mesh()
    return trimesh.Trimesh(mesh.vertices.detach().numpy(), mesh.faces.numpy(), process=False)


def test_a_ring_from_its_pictures_keeps_its_hole_and_its_size():
    target = seen(lambda p: sdf_grid.torus(p, 0.32, 0.13))
    tets, events = fitted(target.alpha, target.normal, TINY)
    ring = solid(tets)
    assert ring.is_watertight and ring.euler_number == 0
    assert ring.volume == pytest.approx(2 * math.pi**2 * 0.32 * 0.13**2, rel=0.06)
    losses = [event.value for event in events if isinstance(event, Scalar)]
    assert losses[-1] < losses[0] / 5
    assert sum(isinstance(event, Progress) for event in events) == 60


def test_a_ball_shrinks_from_silhouettes_alone():
    target = seen(lambda p: sdf_grid.sphere(p, 0.36))
    start = sample(lambda p: sdf_grid.sphere(p, 0.46), resolution=14)
    quick = TetFit(steps=60, views=4, rate=(0.1, 0.02))
    ball = solid(fitted(target.alpha, None, quick, start=start)[0])
    assert ball.is_watertight and ball.euler_number == 2
    assert ball.volume == pytest.approx(4 / 3 * math.pi * 0.36**3, rel=0.1)


def test_the_same_seed_gives_the_same_surface():
    target = seen(lambda p: sdf_grid.sphere(p, 0.4))
    config = TetFit(cells=8, steps=3)
    one, other = (fitted(target.alpha, target.normal, config, seed=3)[0] for _ in range(2))
    assert torch.equal(one.sdf, other.sdf) and torch.equal(one.offsets, other.offsets)


def test_pictures_that_do_not_fit_are_refused():
    with pytest.raises(BadInput, match="belong"):
        next(views_to_tets(CAMERA, torch.zeros(3, 32, 32)))
    with pytest.raises(BadInput, match="both signs"):
        list(views_to_tets(CAMERA, torch.zeros(8, 32, 32), None, TINY))
