"""Distances against closed forms and brute force."""

import pytest
import torch

from maquette.core.errors import BadInput
from maquette.evaluation.geometry import chamfer, f_score, nearest, surface_points
from maquette.representations.mesh import Mesh


def test_nearest_agrees_with_brute_force():
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(200, 3, generator=draw), torch.randn(150, 3, generator=draw)
    distance, index = nearest(a, b)
    best = torch.cdist(a.double(), b.double()).min(dim=1)
    assert torch.equal(index, best.indices)
    assert torch.allclose(distance.double(), best.values, atol=1e-6)


def test_chamfer_of_a_shifted_grid():
    line = torch.stack(torch.meshgrid(*[torch.arange(5.0)] * 3, indexing="ij"), dim=-1).reshape(-1, 3)
    assert chamfer(line, line) == 0
    assert chamfer(line, line + torch.tensor([0.25, 0.0, 0.0])) == pytest.approx(0.25)
    # One point far away: 125 points of the one at 0, and the other's single point at its nearest.
    assert chamfer(line, line[:1]) == pytest.approx(line.norm(dim=-1).mean().item() / 2, rel=1e-6)
    assert chamfer(line[:1], line) == pytest.approx(chamfer(line, line[:1]))


def test_f_score():
    a = torch.tensor([[0.0, 0, 0], [1.0, 0, 0]])
    b = torch.tensor([[0.1, 0, 0], [5.0, 0, 0], [6.0, 0, 0], [7.0, 0, 0]])
    assert f_score(a, b, 0.2) == pytest.approx(2 * 0.5 * 0.25 / 0.75)
    assert f_score(a, b, 0.01) == 0.0
    assert f_score(a, a, 0.0) == 1.0


def test_surface_points_follow_area():
    """A unit square beside a square of four times its area: the mean and share of points are those of the surface."""
    one = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    mesh = Mesh(torch.cat([one, one * 2 + torch.tensor([5.0, 0, 1])]), torch.cat([faces, faces + 4]))
    points = surface_points(mesh, 20_000, torch.Generator().manual_seed(0))
    on_large = points[:, 2] == 1
    assert on_large.float().mean().item() == pytest.approx(0.8, abs=0.01)
    large = points[on_large][:, :2] - torch.tensor([5.0, 0.0])
    assert bool(((large >= 0) & (large <= 2)).all())
    assert torch.allclose(large.mean(dim=0), torch.ones(2), atol=0.02)
    assert torch.allclose(large.var(dim=0), torch.full((2,), 4 / 12), atol=0.01)  # uniform on [0, 2]
    assert torch.allclose(torch.cov(large.T)[0, 1], torch.tensor(0.0), atol=0.01)


def test_nothing_to_measure_is_refused():
    flat = Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]))
    with pytest.raises(BadInput, match="no area"):
        surface_points(flat, 10, torch.Generator())
    with pytest.raises(BadInput, match="no points"):
        chamfer(torch.rand(4, 3), torch.zeros(0, 3))
