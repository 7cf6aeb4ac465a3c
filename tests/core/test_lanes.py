"""Sixteen numbers at once against numpy."""

import numpy as np

from maquette.core.lanes import (
    any_lane,
    bits,
    compiled,
    exp2,
    fma,
    larger,
    load,
    load_columns,
    lowest_bit,
    magnitude,
    smaller,
    sqrt,
    store,
    store_columns,
    sums,
    take,
    where,
)  # fmt: skip


@compiled
def several(a, b, out):
    x, y = load(a, 0), load(b, 0)
    store(out, 0, (x + 1.5) * y - 2 / y)
    store(out, 16, where(x < y, x, -y))
    store(out, 32, sums((x, y, larger(x, y), smaller(x, 0.0))))
    store(out, 48, sqrt(magnitude(fma(x, y, 1))))
    store(out, 64, exp2(x))
    return bits((x <= y) & (x > -3.0)), any_lane(x >= 1e9), any_lane(x > -1e9), lowest_bit(bits(x < 1e9) & 96)


@compiled
def through_columns(table, out):
    store_columns(out, 0, load_columns(table, 0))


@compiled
def flipped(table, out):
    columns = load_columns(table, 0)
    store(out, 0, columns[0])
    store(out, 16, columns[15])


@compiled
def draw_twice(counter):
    return take(counter), take(counter)


def test_arithmetic():
    draw = np.random.default_rng(0)
    a = -20 * draw.random(16).astype(np.float32)
    b = 5 * draw.normal(size=16).astype(np.float32)
    out = np.zeros(80, np.float32)
    mask, none, some, lowest = several(a, b, out)
    np.testing.assert_array_equal(out[:16], (a + np.float32(1.5)) * b - 2 / b)
    np.testing.assert_array_equal(out[16:32], np.where(a < b, a, -b))
    expected = [a.sum(), b.sum(), np.maximum(a, b).sum(), np.minimum(a, 0).sum()] + [0] * 12
    np.testing.assert_allclose(out[32:48], expected, rtol=1e-6)
    np.testing.assert_allclose(out[48:64], np.sqrt(np.abs(a * b + 1)), rtol=1e-6)
    np.testing.assert_allclose(out[64:], 2.0 ** a.astype(np.float64), rtol=3e-7)
    assert mask == int((((a <= b) & (a > -3)) * 2 ** np.arange(16)).sum())
    assert (none, some, lowest) == (False, True, 5)


def test_columns():
    table, out = np.arange(256, dtype=np.float32), np.zeros(256, np.float32)
    through_columns(table, out)
    np.testing.assert_array_equal(out, table)
    flipped(table, out)
    np.testing.assert_array_equal(out[:16], table[::16])
    np.testing.assert_array_equal(out[16:32], table[15::16])


def test_counter():
    counter = np.array([7])
    assert draw_twice(counter) == (7, 8)
    assert counter[0] == 9
