"""The compiled loops of a dense layer's backward pass: through the activation, then all three gradients."""

import numpy as np

from minigan.backends.cpu.activation import leaky_gradient
from minigan.backends.cpu.halves import arithmetic, load
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.multiply import multiply
from minigan.backends.cpu.simd import fill

# Columns for which a tile would be nearly empty.
THIN = 3


@kernel(inline=True)
def sum_columns(x, row_first, row_last, first, last, totals):
    """The sums of x[row_first:row_last, first:last] over the rows.

    Short blocks are summed in single precision, or x's own, which is fast, and their sums in double, which is accurate.
    """
    wide = last - first
    block_rows = max(16, 4096 // max(1, wide))
    block = np.empty(wide, arithmetic(x))
    fill(totals, 0, wide)
    for block_first in range(row_first, row_last, block_rows):
        fill(block, 0, wide)
        for i in range(block_first, min(block_first + block_rows, row_last)):
            row = x[i, first:last]
            for c in range(wide):
                block[c] += load(row, c)
        for c in range(wide):
            totals[c] += block[c]


@kernel
def sum_channels(part, parts, x, sums):
    """One part's sums over its rows of x, in double precision."""
    rows, channels = x.shape
    sum_columns(x, rows * part // parts, rows * (part + 1) // parts, 0, channels, sums[part])


@kernel
def thin_gradients(part, parts, dy, x, w, dw, dx):
    """dw += x' . dy and dx = dy . w' for so few columns that a tile would be nearly empty: a row of x at a time."""
    (rows, depth), width = x.shape, dy.shape[1]
    first, last = depth * part // parts, depth * (part + 1) // parts
    column = np.empty(last - first, x.dtype)
    for k in range(width):
        if dw.size:
            fill(column, 0, len(column))
            for i in range(rows):
                row, factor = x[i, first:last], dy[i, k]
                for c in range(len(column)):
                    column[c] += factor * row[c]
            for c in range(len(column)):
                dw[first + c, k] += column[c]
        if dx.size:
            for c in range(len(column)):
                column[c] = w[first + c, k]
            for i in range(rows):
                row, factor = dx[i, first:last], dy[i, k]
                for c in range(len(column)):
                    product = factor * column[c]
                    row[c] = row[c] + product if k else product


@kernel(inline=True)
def take_back(part, dy, y, slope, cotangents):
    """dy taken back through a LeakyReLU, in a part's own scratch; dy itself if slope is 1."""
    if slope == 1:
        return dy
    dz = cotangents[part]
    leaky_gradient(0, 1, dy.reshape(dy.size), y.reshape(y.size), slope, dz.reshape(dz.size))
    return dz


@kernel(inline=True)
def sum_share(part, parts, dy, db):
    """db += the sums of dy over its rows, of this part's share of the columns."""
    first, last = len(db) * part // parts, len(db) * (part + 1) // parts
    totals = np.empty(last - first)
    sum_columns(dy, 0, len(dy), first, last, totals)
    for k in range(first, last):
        db[k] += totals[k - first]


@kernel
def dense_gradients(part, parts, dy, x, w, y, slope, dw, db, dx, columns, panels, cotangents):
    """dw += x' . dz, db += the sums of dz and dx = dz . w', with dz = dy taken back through the activation.

    Each part takes all of dy back by itself: that costs less than to wait for another's share.

    Args:
        dw, db, dx: empty where they are not wanted.
        panels: (parts, ...), scratch.
        cotangents: (parts, *dy.shape), scratch; empty if slope is 1.
    """
    dy = take_back(part, dy, y, slope, cotangents)
    sum_share(part, parts, dy, db)
    if dy.shape[1] <= THIN:
        thin_gradients(part, parts, dy, x, w, dw, dx)
        return
    one, no_bias = x.dtype.type(1), np.empty(0, x.dtype)
    yes, no = parts > 0, parts < 0  # not constants, for each of which Numba would compile `multiply` anew
    if dw.size:
        multiply(part, parts, x, dy, no_bias, dw, yes, no, yes, one, columns, panels)
    if dx.size:
        multiply(part, parts, dy, w, no_bias, dx, no, yes, no, one, columns, panels)
