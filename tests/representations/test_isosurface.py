"""From density to surface: one Gaussian is a ball, shells fill, slits stay, and pinched surfaces come apart."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from maquette.core import BadInput, orbit
from maquette.representations.gaussians import GaussianCloud
from maquette.representations.isosurface import (
    decimate,
    density_grid,
    hollows,
    isosurface,
    outward,
    silhouette_level,
    taubin_smooth,
    untangle,
)


def balls(means, scale, opacity):
    n = len(means)
    return GaussianCloud(
        torch.as_tensor(means, dtype=torch.float32), torch.full((n, 3), math.log(scale)),
        torch.tensor([[1.0, 0, 0, 0]]).repeat(n, 1), torch.full((n,), math.log(opacity / (1 - opacity))),
        torch.zeros(n, 1, 3),
    )  # fmt: skip


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(np.einsum("fi,fi->", a, np.cross(b, c))) / 6


def uses_of_edges(faces):
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return np.unique(edges, axis=0, return_counts=True)[1]


def boxes(*corners, cells=28):
    """Grid cells inside any of the boxes (low, high) of cell numbers."""
    solid = np.zeros((cells,) * 3, bool)
    for low, high in corners:
        solid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return solid


@pytest.mark.parametrize("level", [0.2, 0.5])
def test_one_gaussian_is_a_ball_of_the_radius_that_the_formula_gives(level):
    grid = density_grid(balls([[0.3, -0.2, 5.0]], 0.1, 0.9), 48)
    vertices, faces = isosurface(grid, level)
    radius = np.linalg.norm(vertices - [0.3, -0.2, 5.0], axis=1)
    softened = math.hypot(0.1, 0.4 * grid.step)
    assert radius.mean() == pytest.approx(softened * math.sqrt(2 * math.log(0.9 / level)), rel=2e-3)
    assert radius.std() < 0.02 * grid.step
    assert (uses_of_edges(faces) == 2).all()
    assert volume(vertices, faces) == pytest.approx(4 / 3 * math.pi * radius.mean() ** 3, rel=0.01)


def test_the_level_is_the_one_that_the_silhouettes_ask_for():
    grid = density_grid(balls([[0.0, 0, 0]], 0.1, 0.95), 48)
    wanted = 0.3
    radius = math.hypot(0.1, 0.4 * grid.step) * math.sqrt(2 * math.log(0.95 / wanted))
    camera = orbit(torch.tensor([0.0, 70.0, 200.0]), torch.tensor([0.0, 30.0, -50.0]), size=96)
    origins, directions = camera.rays()
    passes_by = torch.linalg.cross(origins, directions).norm(dim=-1)
    assert silhouette_level(grid, camera, (passes_by < radius).float()) == pytest.approx(wanted, rel=0.13)  # one level


def test_a_lost_gaussian_far_away_costs_no_resolution():
    torch.manual_seed(0)
    body = torch.randn(400, 3) * 0.1
    near = density_grid(balls(body, 0.03, 0.9), 40)
    far = density_grid(balls(torch.cat([body, torch.tensor([[3.0, 3, 3]])]), 0.03, 0.9), 40)
    assert far.step < 1.3 * near.step
    vertices, _ = isosurface(far, 0.3)
    assert np.abs(vertices).max() < 1


def test_crumbs_are_dropped_and_separate_parts_stay():
    torch.manual_seed(0)
    left = torch.randn(600, 3) * 0.08
    right = torch.randn(60, 3) * 0.03 + torch.tensor([0.6, 0, 0])
    crumbs = torch.tensor([[0.0, 0.7, 0], [0.42, 0.15, 0]])  # outside of the box around the rest, and inside
    cloud = GaussianCloud.cat([balls(left, 0.03, 0.9), balls(right, 0.03, 0.9), balls(crumbs, 0.015, 0.9)])
    vertices, _ = isosurface(density_grid(cloud, 64), 0.3)
    assert vertices[:, 1].max() < 0.5
    assert np.linalg.norm(vertices - crumbs[1].numpy(), axis=1).min() > 0.06
    assert vertices[:, 0].max() > 0.6


def test_hollow_shells_fill_also_through_a_gap_but_slits_and_cups_do_not():
    shell = boxes(((6, 6, 6), (22, 22, 22))) & ~boxes(((8, 8, 8), (20, 20, 20)))
    inside = boxes(((8, 8, 8), (20, 20, 20)))
    assert np.array_equal(ndimage.binary_fill_holes(shell | hollows(shell)), shell | inside)
    with_gap = shell & ~boxes(((6, 12, 12), (8, 15, 15)))
    filled = ndimage.binary_fill_holes(with_gap | hollows(with_gap))
    assert filled[inside].mean() > 0.97
    assert not filled[~shell & ~inside].any()
    cup = shell & ~boxes(((6, 8, 8), (8, 20, 20)))  # one side is open
    assert not hollows(cup).any()
    window = boxes(((3, 3, 8), (25, 25, 20))) & ~boxes(((9, 11, 0), (19, 16, 28)), ((9, 10, 12), (19, 17, 16)))
    assert not hollows(window).any()  # wider inside than at its two openings
    slit = boxes(((6, 6, 6), (22, 12, 22)), ((6, 15, 6), (22, 22, 22)))
    assert not hollows(slit).any()


def test_smoothing_takes_away_noise_and_keeps_the_volume():
    vertices, faces = isosurface(density_grid(balls([[0.0, 0, 0]], 0.1, 0.9), 40), 0.3)
    rough = vertices + np.random.default_rng(0).normal(size=vertices.shape) * 0.002
    smooth = taubin_smooth(rough, faces, rounds=6)
    assert np.linalg.norm(smooth, axis=1).std() < 0.6 * np.linalg.norm(rough, axis=1).std()
    assert volume(smooth, faces) == pytest.approx(volume(vertices, faces), rel=0.01)


def test_decimation_keeps_the_budget_the_volume_and_closedness():
    torch.manual_seed(1)
    cloud = balls(torch.randn(200, 3) * 0.15, 0.04, 0.9)
    vertices, faces = isosurface(density_grid(cloud, 64), 0.3)
    fewer_vertices, fewer = decimate(vertices, faces, 1500)
    assert len(faces) > 6000
    assert 1200 < len(fewer) <= 1500
    assert (uses_of_edges(fewer) == 2).all()
    assert volume(fewer_vertices, fewer) == pytest.approx(volume(vertices, faces), rel=0.04)
    kept_vertices, kept = decimate(vertices, faces, 10**6)
    assert len(kept) == len(faces)
    assert len(kept_vertices) == len(vertices)


CUBE = np.array([
    [0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4],
    [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7],
])  # fmt: skip
CORNERS = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]])


def test_surfaces_that_touch_come_apart():
    # A second cube on the diagonal, welded to the first along the edge from corner 2 to corner 6, or in corner 6.
    for welded, shift in (([(0, 2), (4, 6)], [1, 1, 0]), ([(0, 6)], [1, 1, 1])):
        names = np.arange(8, 16)
        for mine, theirs in welded:
            names[mine] = theirs
        vertices, faces = np.concatenate([CORNERS, CORNERS + shift]), np.concatenate([CUBE, names[CUBE]])
        apart, separated = untangle(vertices, faces)
        assert len(apart) == 16
        assert (uses_of_edges(separated) == 2).all()
        assert volume(apart, separated) == pytest.approx(2)
        corners = np.sort(apart[separated].reshape(24, 9), axis=0)
        assert np.array_equal(corners, np.sort(vertices[faces].reshape(24, 9), axis=0))  # no face moved


def test_faces_that_lie_upon_each_other_cancel():
    flap = np.array([[0, 1, 8], [1, 0, 8]])  # a fin without thickness on an edge of the cube
    vertices, faces = np.concatenate([CORNERS, [[0.5, -1, -1]]]), np.concatenate([CUBE, flap])
    clean_vertices, clean = untangle(vertices, faces)
    assert len(clean) == 12
    assert len(clean_vertices) == 8
    assert (uses_of_edges(clean) == 2).all()
    twice_vertices, twice = untangle(vertices, np.concatenate([CUBE, CUBE[:1], CUBE[:1, ::-1]]))
    assert len(twice) == 12
    assert volume(twice_vertices, twice) == pytest.approx(1)


def test_flakes_go():
    tetrahedron = np.array([[8, 10, 9], [8, 9, 11], [9, 10, 11], [10, 8, 11]])
    vertices = np.concatenate([CORNERS, 5 + CORNERS[[0, 1, 3, 4]]])
    clean_vertices, clean = untangle(vertices, np.concatenate([CUBE, tetrahedron]))
    assert len(clean) == 12
    assert clean_vertices.max() == 1


def test_faces_turn_outward():
    assert volume(CORNERS, outward(CORNERS, CUBE)) == pytest.approx(1)
    assert volume(CORNERS, outward(CORNERS, CUBE[:, ::-1])) == pytest.approx(1)


def test_what_has_no_surface_is_refused():
    with pytest.raises(BadInput, match="no visible"):
        density_grid(balls(torch.zeros(0, 3), 0.1, 0.5), 32)
    with pytest.raises(BadInput, match="no visible"):
        density_grid(balls([[0.0, 0, 0]], 0.1, 0.01), 32)
    with pytest.raises(BadInput, match="too faint"):
        density_grid(balls([[0.0, 0, 0]], 0.1, 0.05), 32)
    with pytest.raises(BadInput, match="finite"):
        density_grid(balls([[math.nan, 0, 0], [0, 0, 0]], 0.1, 0.5), 32)
    with pytest.raises(BadInput, match="as dense as"):
        isosurface(density_grid(balls([[0.0, 0, 0]], 0.1, 0.5), 32), 0.9)
