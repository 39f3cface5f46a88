"""Matrix products on the convolutions' microkernel, and the sums that go with them.

Why not OpenBLAS, which NumPy would bring: its threads go on spinning for milliseconds after a product and take the
second core from the kernel that follows, and on the skinny matrices of a network it is no faster.
"""

import numpy as np

from minigan.backends.base import Array
from minigan.backends.cpu.engine import Engine, flat
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.microkernel import close_table, product_tile, put_tile
from minigan.backends.cpu.simd import TILE_ROWS, load_rows, tile_columns

# Rows that a thread takes at a time: their share of a stays in the cache while all panels of b go by.
ROW_BLOCK = 96


@kernel
def multiply(part, parts, a, packed, bias, y, rows, depth, width, row_size, step, columns, by_rows, accumulate):
    """y (rows, width) = a . b + bias, or y += a . b; threads share out the rows or the panels."""
    panels = -(-width // columns)
    row_first, row_last, panel_first, panel_last = 0, rows, 0, panels
    if by_rows:
        tiles = -(-rows // TILE_ROWS)
        row_first = tiles * part // parts * TILE_ROWS
        row_last = min(tiles * (part + 1) // parts * TILE_ROWS, rows)
    else:
        panel_first, panel_last = panels * part // parts, panels * (part + 1) // parts
    sources, targets = np.empty(ROW_BLOCK, np.int64), np.empty(ROW_BLOCK, np.int64)
    segments = np.zeros(1, np.int64)
    spill, spill_rows = np.empty(TILE_ROWS * columns, a.dtype), np.arange(TILE_ROWS) * columns
    for block in range(row_first, row_last, ROW_BLOCK):
        count = min(ROW_BLOCK, row_last - block)
        for m in range(count):
            sources[m], targets[m] = (block + m) * row_size, (block + m) * width
        close_table(sources, count)
        for panel in range(panel_first, panel_last):
            for t in range(0, count, TILE_ROWS):
                tile = product_tile(a, load_rows(sources, t), segments, depth, step, packed,
                                    panel * depth * columns, columns, bias, panel * columns)
                put_tile(tile, y, targets, t, panel * columns, min(TILE_ROWS, count - t),
                         min(columns, width - panel * columns), columns, spill, spill_rows, accumulate)


@kernel
def sum_channels(part, parts, x, sums, rows, channels):
    """One part's sums over its rows of x (rows, channels), in double precision.

    Short blocks are summed in x's own precision, which is fast, and their sums in double, which is accurate.
    """
    block_rows = max(1, 4096 // channels)
    block = np.empty(channels, x.dtype)
    total = np.zeros(channels)
    for first in range(rows * part // parts, rows * (part + 1) // parts, block_rows):
        last = min(first + block_rows, rows * (part + 1) // parts)
        block[:] = 0
        for i in range(first, last):
            for c in range(channels):
                block[c] += x[i * channels + c]
        for c in range(channels):
            total[c] += block[c]
    for c in range(channels):
        sums[part, c] = total[c]


class DenseKernels(Engine):
    """Overrides of `reference.dense.DenseKernels`."""

    def matmul(
        self,
        a: Array,
        b: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        bias: Array | None = None,
        add_to: Array | None = None,
    ) -> Array:
        rows, depth = a.shape[::-1] if transpose_a else a.shape
        width = b.shape[0] if transpose_b else b.shape[1]
        columns = tile_columns(a.itemsize)
        packed = self.packed(b, depth, width, transpose=transpose_b)
        y = np.empty((rows, width), dtype=a.dtype) if add_to is None else add_to
        parts = self.parts(rows * depth * width // PRODUCTS_PER_NUMBER)
        panels = -(-width // columns)
        by_rows = -(-rows // TILE_ROWS) >= panels
        self.team.run(
            multiply, flat(a), packed, self.padded_bias(bias, width, columns, a.dtype), flat(y), rows, depth, width,
            1 if transpose_a else depth, rows if transpose_a else 1, columns, by_rows, add_to is not None, parts=parts,
        )
        return y
