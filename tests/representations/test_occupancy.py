"""The occupancy grid: its rule step by step, and the volume of a ball."""

import math

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.representations.occupancy import OccupancyGrid, grown, update


def test_what_a_cell_remembers_follows_the_rule():
    draw = torch.Generator().manual_seed(0)
    grid = OccupancyGrid.full(4, 1.0)
    values = iter([8.0, 2.0, 7.9, 0.0])
    remembered = 0.0
    for expected in (0.8, 0.95 * 0.8, 0.79, 0.95 * 0.79):
        density = next(values)
        asked = lambda points, density=density: torch.full((len(points),), density)  # noqa: E731
        grid = update(grid, asked, step=0.1, generator=draw, every_cell=True)
        remembered = max(0.95 * remembered, density * 0.1)
        assert remembered == pytest.approx(expected)
        assert torch.allclose(grid.thickness, torch.full((4, 4, 4), expected))
        assert grid.mask.all()
    for _ in range(100):
        grid = update(grid, lambda points: points[:, 0] * 0, step=0.1, generator=draw, every_cell=True)
    assert grid.thickness.max() < 0.01  # 0.95 ** 100 of it is left: empty, were the mean not lower still
    low = update(grid, lambda points: (points[:, 0] > 0) * 0.05, step=0.1, generator=draw, every_cell=True)
    assert torch.equal(low.mask, low.thickness > low.thickness.mean())


def test_an_updated_grid_holds_a_ball_and_little_more():
    draw = torch.Generator().manual_seed(0)
    grid = OccupancyGrid.full(32, 0.6)

    def ball(points):
        return (points.norm(dim=-1) < 0.4) * 10.0

    grid = update(grid, ball, step=0.02, generator=draw, every_cell=True)
    volume = float(grid.mask.float().mean()) * 1.2**3
    assert volume == pytest.approx(4 / 3 * math.pi * 0.4**3, rel=0.05)
    asked = []

    def counting(points):
        asked.append(points)
        return ball(points)

    for _ in range(20):
        grid = update(grid, counting, step=0.02, generator=draw)
    assert len(asked[0]) <= 32**3 // 2
    # Random places find the cells that the surface cuts; none of them is left while it is asked again and again.
    assert float(grid.mask.float().mean()) * 1.2**3 >= volume
    inside = asked[-1][asked[-1].norm(dim=-1) < 0.36]
    assert grid.is_occupied(inside).all()


def test_points_find_their_cells_and_those_outside_the_nearest():
    mask = torch.zeros(4, 4, 4, dtype=torch.bool)
    mask[3, 0, 2] = True
    grid = OccupancyGrid(torch.zeros(4, 4, 4), 2.0, mask)
    points = torch.tensor([[1.5, -1.5, 0.5], [9.0, -9.0, 0.1], [-1.5, 1.5, 0.5], [0.9, -1.5, 0.5]])
    assert grid.is_occupied(points).tolist() == [True, True, False, False]


def test_growing_reaches_over_corners():
    mask = torch.zeros(5, 5, 5, dtype=torch.bool)
    mask[2, 2, 2] = True
    assert grown(mask).sum() == 27 and grown(mask, 2).all()


def test_a_grid_without_cells_is_refused():
    with pytest.raises(BadInput):
        OccupancyGrid.full(0, 1.0)
