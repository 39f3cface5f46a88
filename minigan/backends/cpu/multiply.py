"""Matrix products on the convolutions' microkernel.

Why not OpenBLAS, which NumPy would bring: its threads go on spinning for milliseconds after a product and take the
second core from the kernel that follows, and on the skinny matrices of a network it is no faster.
"""

from typing import Any, NamedTuple

import numpy as np

from minigan.backends.cpu.activation import weakened
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.microkernel import (
    add_products,
    product_tile,
    put_tile,
    strip,
    strip_transposed,
    tile_rows,
)
from minigan.backends.cpu.simd import (
    TILE_ROWS,
    TILE_VECTORS,
    copy,
    fill,
    load_rows,
    narrow_tile_from_row,
    store_tile,
    transpose_square,
)

# A matrix of so few columns is read in place by a product of so few rows: there packing it would not pay. Wider ones
# have rows so far apart that they crowd each other out of the cache.
FEW_ROWS, NARROW = 256, 1000


class Left(NamedTuple):
    """The left factor of a product."""

    values: Any
    sources: Any  # offsets of a whole tile's rows from its first one, then those of the last tile's
    depth: int
    row_size: int  # from one row to the next
    step: int  # along a row


class Panel(NamedTuple):
    """The right factor's columns of one panel."""

    values: Any
    at: int  # where they begin
    row_size: int  # from one row to the next


class Result(NamedTuple):
    """A panel's part of a product."""

    values: Any
    targets: Any  # offsets of a tile's rows
    width: int  # of the whole product
    first: int  # column
    columns: int
    accumulate: bool
    slope: Any  # of a LeakyReLU; 1 for no activation


@kernel
def multiply_panel(left, panel, start, result, row_first, row_last):
    """One panel's tiles, from row_first to row_last, see `multiply`.

    A function of its own, whose loop over the tiles names no array anew: each new name is counted as a reference
    (atomically), and a call between two tiles empties all registers. Both would take longer than a short tile.

    Args:
        start: what each row begins with.
    """
    a, sources, b, y, targets = left.values, left.sources, panel.values, result.values, result.targets
    segments, columns = np.zeros(1, np.int64), len(start)
    for row in range(row_first, row_last, TILE_ROWS):
        count, at = min(TILE_ROWS, row_last - row), row * result.width + result.first
        segments[0] = row * left.row_size
        rows = load_rows(sources, 0 if count == TILE_ROWS else TILE_ROWS)
        tile = product_tile(a, rows, segments, left.depth, left.step, b, panel.at, panel.row_size, start, 0)
        put_tile(tile, y, targets, 0, at, count, result.columns, columns, result.accumulate)
    if result.slope != 1:
        for row in range(row_first, row_last):
            at = row * result.width + result.first
            y_row = y[at : at + result.columns]
            for j in range(result.columns):
                y_row[j] = y_row[j] if y_row[j] > 0 else weakened(y_row[j], result.slope)


@kernel
def multiply(part, parts, a, b, bias, y, transpose_a, transpose_b, accumulate, slope, columns, panels):
    """y = a . b + bias, then through the activation, or y += a . b + bias; threads share out the tiles of y.

    Of a sum, which is a gradient, each takes rows, as the optimizer's step will: they are in its cache then.

    Args:
        bias: (N,), or (0,) for none.
        slope: of a LeakyReLU; 1 for no activation.
        panels: (parts, depth * columns), scratch.
    """
    rows, width = y.shape
    depth = len(a) if transpose_a else a.shape[1]
    row_size, step = (1, rows) if transpose_a else (depth, 1)
    in_place = not transpose_b and rows <= FEW_ROWS and width <= NARROW
    left = Left(a.reshape(a.size), list_sources(rows, row_size), depth, row_size, step)
    targets, start, packed = tile_rows(width), np.zeros(columns, a.dtype), panels[part]
    flat_b, flat_y = b.reshape(b.size), y.reshape(y.size)
    top, down, panels_across = 0, -(-rows // TILE_ROWS), -(-width // columns)
    if accumulate:
        top, down = down * part // parts, down * (part + 1) // parts - down * part // parts
        part, parts = 0, 1
    tiles = down * panels_across
    tile, last = tiles * part // parts, tiles * (part + 1) // parts
    while tile < last:
        panel, t = tile // down, tile % down
        here_down = min(down - t, last - tile)
        tile += here_down
        first = panel * columns
        here = min(columns, width - first)
        source = Panel(packed, 0, columns)
        if transpose_b:
            strip_transposed(flat_b, first * depth, depth, packed, 0, depth, here, columns)
        elif here < columns or not in_place:
            strip(flat_b, first, width, packed, 0, depth, here, columns)
        else:
            source = Panel(flat_b, first, width)
        if len(bias):
            copy(start, 0, bias, first, here)
        result = Result(flat_y, targets, width, first, here, accumulate, slope)
        t += top
        multiply_panel(left, source, start, result, t * TILE_ROWS, min((t + here_down) * TILE_ROWS, rows))


@kernel(inline=True)
def list_sources(rows, row_size):
    """The `sources` of a factor with so many rows."""
    sources = np.zeros(2 * TILE_ROWS, np.int64)
    for m in range(TILE_ROWS):
        sources[m] = m * row_size
        sources[TILE_ROWS + m] = m * row_size if m < rows % TILE_ROWS else 0  # any, as it is not stored
    return sources


@kernel
def multiply_thin(part, parts, a, columns_of_b, bias, y, transposed, accumulate):
    """The same product for so few columns that reading a once takes most of the time."""
    width, depth = columns_of_b.shape
    rows = len(y)
    row_first, row_last = rows * part // parts, rows * (part + 1) // parts
    sums = np.empty(row_last - row_first, a.dtype)
    for n in range(width):
        column = columns_of_b[n]
        if transposed:
            fill(sums, 0, len(sums))
            for i in range(depth):
                row, factor = a[i, row_first:row_last], column[i]
                for m in range(len(sums)):
                    sums[m] += factor * row[m]
        else:
            for m in range(len(sums)):
                row, total = a[row_first + m], a.dtype.type(0)
                for i in range(depth):
                    total += row[i] * column[i]
                sums[m] = total
        for m in range(len(sums)):
            total = sums[m] + bias[n]
            y[row_first + m, n] = y[row_first + m, n] + total if accumulate else total


@kernel
def multiply_turned(part, parts, a, b, bias, y, columns, panels):
    """y = a . b' + bias for an a of few rows: the tiles' rows are b's, read where they lie, and a is what is packed.

    Packing b would cost as much as a product with a few rows. The tiles are of y's transpose, and squares of them are
    turned round in registers on their way to memory.

    Args:
        bias: (N,), or (0,) for none.
        panels: (parts, all rows of a in whole panels), scratch.
    """
    (rows, depth), width = a.shape, len(b)
    lanes = columns // TILE_VECTORS
    group = lanes  # rows of b whose products are turned round together: whole tiles and whole squares
    while group % TILE_ROWS:
        group += lanes
    packed, flat_a, flat_b, flat_y = panels[part], a.reshape(a.size), b.reshape(b.size), y.reshape(y.size)
    for first in range(0, rows, columns):
        here = min(columns, rows - first)
        strip_transposed(flat_a, first * depth, depth, packed, first * depth, depth, here, columns)
    sources, targets = list_sources(width, depth), tile_rows(columns)
    tiles, squares = np.empty(group * columns, a.dtype), np.empty(columns * group, a.dtype)

    groups = -(-width // group)
    for at in range(groups * part // parts * group, groups * (part + 1) // parts * group, group):
        wide = min(group, width - at)
        for first in range(0, rows, columns):
            here = min(columns, rows - first)
            multiply_group(flat_b, at, wide, depth, sources, packed, first * depth, columns, tiles, targets, here)
            for i in range(0, here, lanes):
                for j in range(0, group, lanes):
                    transpose_square(squares, i * group + j, group, tiles, j * columns + i, columns)
            for i in range(here):
                to = (first + i) * width + at
                copy(flat_y, to, squares, i * group, wide)
                for j in range(wide if len(bias) else 0):
                    flat_y[to + j] += bias[at + j]


@kernel
def multiply_group(b, at, wide, depth, sources, packed, packed_at, columns, tiles, targets, here):
    """tiles (wide, columns) = b[at : at + wide] . one panel; a function of its own, as `multiply_panel` is."""
    segments, zeros = np.empty(1, np.int64), np.zeros(columns, b.dtype)
    if here * TILE_VECTORS <= columns:
        for row in range(0, wide, TILE_ROWS):
            segments[0] = (at + row) * depth
            rows = load_rows(sources, 0 if wide - row >= TILE_ROWS else TILE_ROWS)
            narrow = narrow_tile_from_row(zeros, 0)
            narrow = add_products(narrow, b, rows, segments, depth, 1, packed, packed_at, columns)
            store_tile(narrow, tiles, load_rows(targets, 0), row * columns)
    else:
        for row in range(0, wide, TILE_ROWS):
            segments[0] = (at + row) * depth
            rows = load_rows(sources, 0 if wide - row >= TILE_ROWS else TILE_ROWS)
            tile = product_tile(b, rows, segments, depth, 1, packed, packed_at, columns, zeros, 0)
            store_tile(tile, tiles, load_rows(targets, 0), row * columns)
