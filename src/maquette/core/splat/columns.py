"""Rows of a table as columns of lanes and back: sixteen splats at a time go through a kernel."""

import numpy as np

from maquette.core.lanes import WIDTH, compiled, inlined, load, load_columns, store, take

ROW = 16
"""float32 of a splat, and of its partial gradients: one cache line."""
ROWS_PER_JOB = 8 * WIDTH
TINY = np.float32(1.17549435e-38)


def jobs(rows: int) -> int:
    """How many jobs the kernels that go through all rows have."""
    return -(-rows // ROWS_PER_JOB)


@inlined
def take_rows(counter, rows):
    """First row of the next job and the one after its last; with nothing between them when no job is left."""
    first = take(counter) * ROWS_PER_JOB
    return first, min(first + ROWS_PER_JOB, rows)


@compiled
def copy_columns(source, width, first, rows, scratch):
    """Copy sixteen rows of a flat table into columns; rows past the end repeat the last."""
    for k in range(WIDTH):
        row = min(first + k, rows - 1) * width
        for j in range(width):
            scratch[j * WIDTH + k] = source[row + j]


@compiled
def copy_rows(scratch, width, first, rows, target):
    """The reverse; rows past the end are dropped."""
    for k in range(min(WIDTH, rows - first)):
        row = (first + k) * width
        for j in range(width):
            target[row + j] = scratch[j * WIDTH + k]


@inlined
def read3(source, first, rows, scratch):
    """Sixteen rows of three numbers."""
    copy_columns(source, 3, first, rows, scratch)
    return load(scratch, 0), load(scratch, 16), load(scratch, 32)


@inlined
def read4(source, first, rows, scratch):
    """Sixteen rows of four numbers."""
    copy_columns(source, 4, first, rows, scratch)
    return load(scratch, 0), load(scratch, 16), load(scratch, 32), load(scratch, 48)


@inlined
def write2(a, b, first, rows, scratch, target):
    """Sixteen rows of two numbers."""
    store(scratch, 0, a)
    store(scratch, 16, b)
    copy_rows(scratch, 2, first, rows, target)


@inlined
def write3(a, b, c, first, rows, scratch, target):
    """Sixteen rows of three numbers."""
    store(scratch, 0, a)
    store(scratch, 16, b)
    store(scratch, 32, c)
    copy_rows(scratch, 3, first, rows, target)


@inlined
def write4(a, b, c, d, first, rows, scratch, target):
    """Sixteen rows of four numbers."""
    store(scratch, 0, a)
    store(scratch, 16, b)
    store(scratch, 32, c)
    store(scratch, 48, d)
    copy_rows(scratch, 4, first, rows, target)


@inlined
def write_opacities(by_log, opacities, first, rows, scratch, target):
    """The gradients of sixteen opacities from those of their logarithms."""
    store(scratch, 0, by_log)
    copy_rows(scratch, 1, first, rows, target)
    for k in range(min(WIDTH, rows - first)):
        target[first + k] /= max(opacities[first + k], TINY)


@inlined
def sum_over_tiles(partials, slot_first, slot_count, here, count, zero, table):
    """The partial gradients of sixteen splats, each summed over its tiles in their order, as columns.

    `here` is the first of them in the lists; only `count` of them are there.
    """
    for k in range(WIDTH):
        total = zero
        if k < count:
            slot = slot_first[here + k]
            for tile in range(slot, slot + slot_count[here + k]):
                total = total + load(partials, tile * ROW)
        store(table, k * ROW, total)
    return load_columns(table, 0)
