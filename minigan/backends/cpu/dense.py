"""Matrix products on the convolutions' microkernel, and the sums that go with them.

Why not OpenBLAS, which NumPy would bring: its threads go on spinning for milliseconds after a product and take the
second core from the kernel that follows, and on the skinny matrices of a network it is no faster.
"""

from typing import Any

import numpy as np

from minigan.backends.base import Array
from minigan.backends.cpu.engine import Engine, flat, folded
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.microkernel import close_table, product_tile, put_tile, strip, strip_transposed
from minigan.backends.cpu.simd import TILE_ROWS, fill, load_rows, tile_columns
from minigan.backends.reference.dense import DenseKernels as ReferenceDense

# Multiply-adds of a product that OpenBLAS does on the calling thread alone; there NumPy's short call is the fastest.
OPENBLAS_WORK = 1 << 18
# Columns for which a tile would be nearly empty.
THIN = 3
# A matrix of so few columns is read in place by a product of so few rows: there packing it would not pay. Wider ones
# have rows so far apart that they crowd each other out of the cache.
FEW_ROWS, NARROW = 256, 512


@kernel
def multiply(
    part,
    parts,
    a,
    b,
    bias,
    y,
    rows,
    depth,
    width,
    row_size,
    step,
    transposed,
    in_place,
    columns,
    by_rows,
    accumulate,
    scratch,
):
    """y (rows, width) = a . b + bias, or y += a . b + bias; threads share out the rows or the panels.

    Args:
        row_size, step: from one row of a to the next, and from one number of a row to the next.
        transposed: b is (width, depth).
        in_place: a whole panel of b is read where it lies, unless transposed.
    """
    row_first, row_last, panel_first, panel_last = 0, rows, 0, -(-width // columns)
    if by_rows:
        tiles = -(-rows // TILE_ROWS)
        row_first = tiles * part // parts * TILE_ROWS
        row_last = min(tiles * (part + 1) // parts * TILE_ROWS, rows)
    else:
        panel_first, panel_last = panel_last * part // parts, panel_last * (part + 1) // parts
    count = row_last - row_first
    sources, targets = np.empty(count + TILE_ROWS, np.int64), np.empty(count + TILE_ROWS, np.int64)
    for m in range(count):
        sources[m], targets[m] = (row_first + m) * row_size, (row_first + m) * width
    close_table(sources, count)
    segments = np.zeros(1, np.int64)
    packed = scratch[part * depth * columns : (part + 1) * depth * columns]
    for panel in range(panel_first, panel_last):
        first, here = panel * columns, min(columns, width - panel * columns)
        source, source_at, source_row = packed, 0, columns
        if transposed:
            strip_transposed(b, first * depth, depth, packed, 0, depth, here, columns)
        elif here < columns or not in_place:
            strip(b, first, width, packed, 0, depth, here, columns)
        else:
            source, source_at, source_row = b, first, width
        for t in range(0, count, TILE_ROWS):
            tile = product_tile(
                a, load_rows(sources, t), segments, depth, step, source, source_at, source_row, bias, first
            )
            put_tile(tile, y, targets, t, first, min(TILE_ROWS, count - t), here, columns, accumulate)


@kernel
def multiply_thin(part, parts, a, columns_of_b, bias, y, transposed, accumulate):
    """The same for so few columns that a's one pass through memory is all that counts."""
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
def sum_channels(part, parts, x, sums):
    """One part's sums over its rows of x, in double precision.

    Short blocks are summed in x's own precision, which is fast, and their sums in double, which is accurate.
    """
    rows, channels = x.shape
    row_first, row_last = rows * part // parts, rows * (part + 1) // parts
    block_rows = max(16, 4096 // channels)
    block, total = np.empty(channels, x.dtype), np.zeros(channels)
    for first in range(row_first, row_last, block_rows):
        fill(block, 0, channels)
        for i in range(first, min(first + block_rows, row_last)):
            row = x[i]
            for c in range(channels):
                block[c] += row[c]
        for c in range(channels):
            total[c] += block[c]
    for c in range(channels):
        sums[part, c] = total[c]


class DenseKernels(Engine, ReferenceDense):
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
        work = rows * depth * width
        if work < OPENBLAS_WORK and depth > 1:  # an outer product is nothing to OpenBLAS, and slow without it
            return super().matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b, bias=bias, add_to=add_to)
        y = self.empty((rows, width), a.dtype) if add_to is None else add_to
        columns = tile_columns(a.itemsize)
        panels = -(-width // columns)
        padded_bias = self.padded_bias(bias, panels * columns, a.dtype)
        if width <= THIN:
            columns_of_b = flat(b if transpose_b else b.T).reshape(width, depth)
            self.team.run(
                multiply_thin,
                flat(a).reshape(a.shape),
                columns_of_b,
                padded_bias,
                y,
                transpose_a,
                add_to is not None,
                parts=self.parts(rows * depth),
            )
        else:
            parts = self.parts_of_product(work)
            scratch = self.workspace.take("panels", parts * depth * columns, a.dtype)
            row_size, step = (1, rows) if transpose_a else (depth, 1)
            self.team.run(
                multiply,
                flat(a),
                flat(b),
                padded_bias,
                flat(y),
                rows,
                depth,
                width,
                row_size,
                step,
                transpose_b,
                rows <= FEW_ROWS and width <= NARROW,
                columns,
                panels < 2 * parts,
                add_to is not None,
                scratch,
                parts=parts,
            )
        return y

    def channel_sum(self, dy: Array, *, add_to: Array) -> None:
        channels, parts = dy.shape[-1], self.parts(dy.size)
        rows = folded(dy)
        sums = np.empty((parts, rows.shape[1]))
        self.team.run(sum_channels, rows, sums, parts=parts)
        add_to += sums.reshape(-1, channels).sum(axis=0).astype(dy.dtype)

    def padded_bias(self, b: Array | None, width: int, dtype: np.dtype[Any]) -> Array:
        """What the rows of a tile start from: b repeated for each pixel of a group, or zeros."""
        bias = np.zeros(width, dtype)
        if b is not None:
            whole = width // len(b) * len(b)
            bias[:whole].reshape(-1, len(b))[:] = b
        return bias
