"""Optical depth to the outside: closed forms of slabs, and what no direction can see."""

import math

import pytest
import torch

from maquette.representations.field_surface import depth_from_outside, depth_grid


def test_a_slab_is_as_deep_as_the_nearer_side():
    density = torch.zeros(41, 21, 41, dtype=torch.float64)
    density[1:-1, 5:16, 1:-1] = 3.0
    column = depth_from_outside(density, 0.1)[20, :, 20]
    rows = torch.arange(21)
    inside = 0.3 * (torch.minimum(rows - 5, 15 - rows) + 0.5)  # half a cell belongs to the soft border
    assert torch.allclose(column[5:16], inside[5:16].double())
    assert (column[:5] == 0).all() and (column[16:] == 0).all()


def test_depth_does_not_depend_on_the_axes():
    inside = torch.rand(7, 7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    density = torch.nn.functional.pad(inside, (1,) * 6)
    depth = depth_from_outside(density, 0.1)
    assert torch.allclose(depth_from_outside(density.permute(2, 0, 1), 0.1), depth.permute(2, 0, 1))
    assert torch.allclose(depth_from_outside(density.flip(0, 2), 0.1), depth.flip(0, 2))
    assert torch.allclose(depth_from_outside(2 * density, 0.1), 2 * depth)


def test_a_tunnel_along_a_diagonal_is_outside_and_a_cave_is_not():
    density = torch.full((15, 15, 15), 10.0)
    diagonal = torch.arange(15)
    density[diagonal, diagonal, diagonal] = 0
    density[3, 7, 11] = 0
    density[[0, -1]] = density[:, [0, -1]] = density[:, :, [0, -1]] = 0
    depth = depth_from_outside(density, 0.1)
    assert (depth[diagonal, diagonal, diagonal] == 0).all()
    assert depth[3, 7, 11] == pytest.approx(2.0)  # three cells of stone above it and half of its own, one soft border


def test_the_grid_has_the_field_where_it_is():
    def ball(points, directions):
        assert torch.allclose(directions.norm(dim=-1), torch.ones(len(points)))
        return 10.0 * ((points - torch.tensor([0.1, 0.2, -0.1])).norm(dim=-1) < 0.2), points

    grid = depth_grid(ball, 0.5, 41)
    at = (torch.tensor([0.1, 0.2, -0.1]) - grid.origin) / grid.step
    deepest = torch.tensor(divmod(int(grid.density.flatten().argmax()), 41 * 41))
    assert abs(int(deepest[0]) - float(at[0])) < 1.01
    assert float(grid.density.max()) == pytest.approx(2.0, abs=0.25 * math.sqrt(3))
    assert grid.density.shape == (41, 41, 41) and grid.step == pytest.approx(0.025)
