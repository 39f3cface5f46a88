"""The one inner loop that all convolutions and products share.

    tile[m, j] = bias[j] + sum over segments, over i < run:   a[rows[m] + segment + i * step] * panel[..., j]

Both factors are read in the order in which they lie in memory. `a` is an image or a matrix, read in place: where a
row of the tile begins, and where each contiguous run within it begins, are plain tables of offsets, and what they
hold is all that distinguishes the three convolutions:

    kernel               a row of the tile is     a segment is           a step along the run is      columns are
    conv2d               an output pixel          a row of the filter    one channel of one tap       K
    conv2d_input_grad    a pixel of one phase     a row of taps          one channel of one tap       C
    conv2d_weight_grad   a tap and channel        a row of an image      one pixel                    K
    matmul               a row                    (one)                  one column                   N

`panel` is the other factor cut into strips as wide as a tile, each strip contiguous ("packed"), zeros filling the
last one up.
"""

import numpy as np

from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.simd import (
    TILE_ROWS,
    TILE_VECTORS,
    add_corner,
    add_tile,
    copy,
    copy_row,
    fill,
    load_rows,
    outer,
    store_corner,
    store_tile,
    tile_from_row,
    transpose_square,
)


@kernel(inline=True)
def product_tile(a, rows, segments, run, step, panel, panel_at, panel_row, bias, bias_at):
    return add_products(tile_from_row(bias, bias_at), a, rows, segments, run, step, panel, panel_at, panel_row)


@kernel(inline=True)
def add_products(tile, a, rows, segments, run, step, panel, panel_at, panel_row):
    for s in range(len(segments)):
        a_at = segments[s]
        for _ in range(run):
            tile = outer(tile, a, rows, a_at, panel, panel_at)
            a_at += step
            panel_at += panel_row
    return tile


@kernel(inline=True)
def put_tile(tile, y, table, row, index, count, width, columns, accumulate):
    """Stores the tile's first `count` rows and `width` columns at y[table[row + m] + index + j].

    No loop in here: Numba would count references to the arrays around one, for each tile.
    """
    rows = load_rows(table, row)
    if count == TILE_ROWS and width == columns:
        if accumulate:
            add_tile(tile, y, rows, index)
        else:
            store_tile(tile, y, rows, index)
    elif accumulate:
        add_corner(tile, y, rows, index, count, width)
    else:
        store_corner(tile, y, rows, index, count, width)


@kernel(inline=True)
def tile_rows(columns):
    """Offsets of the rows of one tile in memory of its own."""
    rows = np.empty(TILE_ROWS, np.int64)
    for m in range(TILE_ROWS):
        rows[m] = m * columns
    return rows


@kernel(inline=True)
def close_table(table, count):
    """Fills a table of offsets up to whole tiles: a tile always has all its rows, only some need not be stored."""
    for i in range(count, -(-count // TILE_ROWS) * TILE_ROWS):
        table[i] = table[count - 1]


@kernel(inline=True)
def strip(b, at, row, packed, to, depth, width, columns):
    """Copies b[at + i * row + j], for i < depth and j < width, into a strip with `columns` columns."""
    for i in range(depth):
        if width == columns:
            copy_row(packed, to + i * columns, b, at + i * row)
        else:
            fill(packed, to + i * columns, columns)
            copy(packed, to + i * columns, b, at + i * row, width)


@kernel(inline=True)
def strip_transposed(b, at, row, packed, to, depth, width, columns):
    """Copies b[at + j * row + i], for i < depth and j < width, into a strip with `columns` columns."""
    lanes = columns // TILE_VECTORS
    for first in range(0, columns, lanes):
        squares = depth // lanes * lanes if first + lanes <= width else 0
        for i in range(0, squares, lanes):
            transpose_square(packed, to + i * columns + first, columns, b, at + first * row + i, row)
        for i in range(squares, depth):
            for j in range(first, first + lanes):
                packed[to + i * columns + j] = b[at + j * row + i] if j < width else 0


@kernel
def pack(part, parts, b, packed, depth, width, columns):
    """Copies b (depth, width) into strips (panels, depth, columns)."""
    first, last = depth * part // parts, depth * (part + 1) // parts
    for panel in range(-(-width // columns)):
        strip(
            b,
            first * width + panel * columns,
            width,
            packed,
            (panel * depth + first) * columns,
            last - first,
            min(columns, width - panel * columns),
            columns,
        )


@kernel
def pack_transposed(part, parts, b, packed, taps, depth, width, columns):
    """Copies slices of b (any, width, depth), transposed and stacked, into strips (panels, len(taps) * depth, columns).

    Args:
        taps: the slices' indices, in order.
    """
    jobs = -(-width // columns) * len(taps)
    for job in range(jobs * part // parts, jobs * (part + 1) // parts):
        panel, t = job // len(taps), job % len(taps)
        strip_transposed(
            b,
            (taps[t] * width + panel * columns) * depth,
            depth,
            packed,
            job * depth * columns,
            depth,
            min(columns, width - panel * columns),
            columns,
        )


@kernel
def spin_tiles(_part, _parts, a, b, depth, columns, repeats):
    """The microkernel alone, on operands that stay in the first-level cache: the limit that benchmarks compare with."""
    rows, segments = tile_rows(depth), np.zeros(1, np.int64)
    zeros, y, targets = np.zeros(columns, a.dtype), np.empty(TILE_ROWS * columns, a.dtype), tile_rows(columns)
    for _ in range(repeats):
        tile = product_tile(a, load_rows(rows, 0), segments, depth, 1, b, 0, columns, zeros, 0)
        store_tile(tile, y, load_rows(targets, 0), 0)
