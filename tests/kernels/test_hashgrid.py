"""The hash encoding: published numbers, twins, finite differences, and invariants of interpolation."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.core.errors import BadInput, Unsupported
from maquette.kernels.hashgrid import GridShape, encode
from maquette.kernels.hashgrid.reference import row

SMALL = GridShape(levels=5, base=4, finest=40, log2_entries=9)  # two dense levels, three hashed


def scene(count=300, shape=SMALL, seed=0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 3, generator=draw, dtype=torch.float64).to(dtype)
    table = torch.randn(shape.entries, 2, generator=draw, dtype=torch.float64).to(dtype)
    weights = torch.randn(count, shape.width, generator=draw, dtype=torch.float64).to(dtype)
    return points.requires_grad_(), table.requires_grad_(), weights


def test_the_published_hash_resolutions_and_table_sizes():
    points = torch.tensor([[0, 0, 0], [1, 2, 3], [10, 20, 30], [100, 200, 300], [4095, 4095, 4095]])
    paper, small = GridShape(), GridShape(log2_entries=14)
    assert row(points, paper, 15).tolist() == [0, 128476, 246440, 110768, 352731]
    assert row(points, small, 15).tolist() == [0, 13788, 680, 12464, 8667]
    sides = [16, 24, 34, 49, 71, 102, 148, 213, 308, 446, 646, 934, 1352, 1956, 2831, 4096]
    assert list(paper.resolutions) == sides
    assert paper.entries * 2 == 12_599_920
    assert GridShape(log2_entries=24).entries * 2 == 297_434_240
    assert GridShape(finest=2048).entries * 2 == 12_196_240
    assert [paper.is_hashed(level) for level in (0, 4, 5, 15)] == [False, False, True, True]
    assert math.isclose(paper.scales[1] + 1, 16 * 1.447269237440378)


def test_a_point_reads_the_grid_points_around_it():
    # x = (.3, .6, .9) on the level of scale 15 lies at (5, 9.5, 14): halfway between two rows of the table.
    shape = GridShape(levels=1, base=16, finest=16, log2_entries=19)
    _, table, _ = scene(shape=shape, dtype=torch.float64)
    point = torch.tensor([[0.3, 0.6, 0.9]], dtype=torch.float64)
    expected = (table[5 + 16 * 9 + 256 * 14] + table[5 + 16 * 10 + 256 * 14]) / 2
    assert torch.allclose(encode(point, table, shape), expected)
    assert torch.allclose(encode(point.float(), table.float(), shape), expected.float(), atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 1023, 2500])
@pytest.mark.parametrize("shape", [SMALL, GridShape(levels=1, base=2, finest=2, log2_entries=3)])
def test_twins_agree_in_values_and_gradients(count, shape):
    points, table, weights = scene(count, shape, seed=count)
    points = (points * 1.2 - 0.1).detach().requires_grad_()  # some outside
    results = []
    for backend in ("cpu", "reference"):
        codes = encode(points, table, shape, backend=backend)
        results.append((codes, *torch.autograd.grad(codes, (points, table), weights)))
    for fast, plain in zip(*results, strict=True):
        assert fast.shape == plain.shape
        assert torch.allclose(fast, plain, rtol=1e-4, atol=2e-4)  # gradients of points are up to 100


def test_finite_differences_agree_with_both():
    points, table, weights = scene(40, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p, t: encode(p, t, SMALL), (points, table), fast_mode=True)
    # The fast twin in float32: the encoding is linear in the table and, inside a cell, nearly so in a coordinate.
    points, table, weights = (tensor.detach().float() for tensor in (points, table, weights))
    points.requires_grad_()
    table.requires_grad_()
    d_points, d_table = torch.autograd.grad(encode(points, table, SMALL), (points, table), weights)
    draw = torch.Generator().manual_seed(1)
    for target, gradient in ((0, d_points), (1, d_table)):
        move = torch.randn(gradient.shape, generator=draw, dtype=torch.float64)
        move = move * 1e-7 if target == 0 else move * 1e-3
        values = []
        for sign in (1, -1):
            moved = [points.detach().double(), table.detach().double()]
            moved[target] = moved[target] + sign * move
            values.append((encode(*moved, SMALL) * weights).sum())
        assert math.isclose(float(values[0] - values[1]) / 2, float((gradient * move).sum()), rel_tol=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-0.5, 1.5, width=32), min_size=3, max_size=3), st.floats(0.5, 2.0))
def test_weights_sum_to_one_and_the_encoding_is_linear_and_continuous(point, factor):
    _, table, _ = scene()
    points = torch.tensor([point])
    ones = encode(points, torch.ones_like(table), SMALL)
    assert torch.allclose(ones, torch.ones_like(ones), atol=1e-5)
    codes = encode(points, table, SMALL)
    assert torch.allclose(encode(points, table * factor, SMALL), codes * factor, atol=1e-4)
    nearby = encode(points + 1e-5, table, SMALL)
    assert (nearby - codes).abs().max() < 1e-5 * 40 * 12 * 3  # scale x spread of the entries x axes


def test_the_bytes_do_not_depend_on_the_number_of_threads():
    points, table, weights = scene(5000)

    def run():
        codes = encode(points, table, SMALL)
        return (codes, *torch.autograd.grad(codes, (points, table), weights))

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = run()
        torch.set_num_threads(4)
        together = [run() for _ in range(3)]
    finally:
        torch.set_num_threads(before)
    for again in together:
        assert all(torch.equal(a, b) for a, b in zip(alone, again, strict=True))


def test_points_that_are_no_numbers_read_inside_the_table():
    _, table, _ = scene()
    points = torch.tensor([[math.nan] * 3, [math.inf] * 3, [-math.inf, 0.5, 1e30]])
    assert torch.isfinite(encode(points, table, SMALL)).all()


def test_bad_tables_shapes_and_types_are_refused():
    points, table, _ = scene(3)
    with pytest.raises(BadInput, match="rows"):
        encode(points, table[1:], SMALL)
    with pytest.raises(BadInput, match="log2_entries"):
        GridShape(log2_entries=40)
    with pytest.raises(Unsupported):
        encode(points.double(), table, SMALL, backend="cpu")
