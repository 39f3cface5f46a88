"""Matrix products on the convolutions' microkernel, and the sums that go with them.

Why not OpenBLAS, which NumPy would bring: its threads go on spinning for milliseconds after a product and take the
second core from the kernel that follows, and on the skinny matrices of a network it is no faster.

In a small network it is the calls that take the time. So a layer's forward pass is one, with the activation after it,
and its backward pass is one: through the activation, and then all three gradients.
"""

from typing import Any

import numpy as np

from minigan.backends.base import Array
from minigan.backends.cpu.activation import leaky_gradient
from minigan.backends.cpu.engine import Engine, contiguous, expect, flat, folded
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.microkernel import product_tile, put_tile, strip, strip_transposed, tile_rows
from minigan.backends.cpu.simd import TILE_ROWS, copy, fill, load_rows, tile_columns
from minigan.backends.reference.fused import FusedKernels

# Multiply-adds of a product that OpenBLAS does on the calling thread alone; there NumPy's short call is the fastest.
OPENBLAS_WORK = 1 << 18
# Columns for which a tile would be nearly empty, and numbers of the other factor from which on that counts.
THIN, THIN_NUMBERS = 3, 1 << 15
# A matrix of so few columns is read in place by a product of so few rows: there packing it would not pay. Wider ones
# have rows so far apart that they crowd each other out of the cache.
FEW_ROWS, NARROW = 256, 1000


@kernel
def multiply_panel(
    a, step, depth, sources, source, source_at, source_row, start, y, targets, slope, first, here, block
):
    """One panel's tiles: y[row_first:row_last, first : first + here], see `multiply`.

    A function of its own, whose loop over the tiles names no array anew: each new name is counted as a reference
    (atomically), and a call between two tiles empties all registers. Both would take longer than a short tile.

    Args:
        sources, targets: where rows begin in a and in y, of a whole tile; then in a those of the last tile.
        start: what each row begins with.
        block: row_first, row_last, the length of a row in a and in y, whether to add.
    """
    row_first, row_last, row_size, width, accumulate = block
    segments, columns = np.zeros(1, np.int64), len(start)
    for row in range(row_first, row_last, TILE_ROWS):
        count, at = min(TILE_ROWS, row_last - row), row * width + first
        segments[0] = row * row_size
        rows = load_rows(sources, 0 if count == TILE_ROWS else TILE_ROWS)
        tile = product_tile(a, rows, segments, depth, step, source, source_at, source_row, start, 0)
        put_tile(tile, y, targets, 0, at, count, here, columns, accumulate)
    if slope != 1:
        for row in range(row_first, row_last):
            y_row = y[row * width + first : row * width + first + here]
            for j in range(here):
                y_row[j] = y_row[j] if y_row[j] > 0 else slope * y_row[j]


@kernel
def multiply(part, parts, a, b, bias, y, transpose_a, transpose_b, accumulate, slope, columns, panels):
    """y = a . b + bias, then through the activation, or y += a . b + bias; threads share out the tiles of y.

    Args:
        bias: (N,), or (0,) for none.
        slope: of a LeakyReLU; 1 for no activation.
        panels: (parts, depth * columns), scratch.
    """
    rows, width = y.shape
    depth = len(a) if transpose_a else a.shape[1]
    row_size, step = (1, rows) if transpose_a else (depth, 1)
    in_place = not transpose_b and rows <= FEW_ROWS and width <= NARROW
    sources, targets = np.zeros(2 * TILE_ROWS, np.int64), tile_rows(width)
    for m in range(TILE_ROWS):
        sources[m] = m * row_size
        sources[TILE_ROWS + m] = m * row_size if m < rows % TILE_ROWS else 0  # any, as it is not stored
    start, packed = np.zeros(columns, a.dtype), panels[part]
    flat_a, flat_b, flat_y = a.reshape(a.size), b.reshape(b.size), y.reshape(y.size)
    down = -(-rows // TILE_ROWS)
    tiles = down * -(-width // columns)
    tile, last = tiles * part // parts, tiles * (part + 1) // parts
    while tile < last:
        panel, t = tile // down, tile % down
        here_down = min(down - t, last - tile)
        tile += here_down
        first = panel * columns
        here = min(columns, width - first)
        source, source_at, source_row = packed, 0, columns
        if transpose_b:
            strip_transposed(flat_b, first * depth, depth, packed, 0, depth, here, columns)
        elif here < columns or not in_place:
            strip(flat_b, first, width, packed, 0, depth, here, columns)
        else:
            source, source_at, source_row = flat_b, first, width
        if len(bias):
            copy(start, 0, bias, first, here)
        block = t * TILE_ROWS, min((t + here_down) * TILE_ROWS, rows), row_size, width, accumulate
        multiply_panel(
            flat_a,
            step,
            depth,
            sources,
            source,
            source_at,
            source_row,
            start,
            flat_y,
            targets,
            slope,
            first,
            here,
            block,
        )


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


@kernel(inline=True)
def sum_columns(x, row_first, row_last, first, last, totals):
    """The sums of x[row_first:row_last, first:last] over the rows.

    Short blocks are summed in x's own precision, which is fast, and their sums in double, which is accurate.
    """
    wide = last - first
    block_rows = max(16, 4096 // max(1, wide))
    block = np.empty(wide, x.dtype)
    fill(totals, 0, wide)
    for block_first in range(row_first, row_last, block_rows):
        fill(block, 0, wide)
        for i in range(block_first, min(block_first + block_rows, row_last)):
            row = x[i, first:last]
            for c in range(wide):
                block[c] += row[c]
        for c in range(wide):
            totals[c] += block[c]


@kernel
def sum_channels(part, parts, x, sums):
    """One part's sums over its rows of x, in double precision."""
    rows, channels = x.shape
    sum_columns(x, rows * part // parts, rows * (part + 1) // parts, 0, channels, sums[part])


@kernel
def dense_gradients(part, parts, dy, x, w, y, slope, dw, db, dx, columns, panels, cotangents):
    """dw += x' . dz, db += the sums of dz and dx = dz . w', with dz = dy taken back through the activation.

    Each part takes all of dy back by itself: that costs less than to wait for another's share.

    Args:
        dw, db, dx: empty where they are not wanted.
        panels: (parts, ...), scratch.
        cotangents: (parts, *dy.shape), scratch; empty if slope is 1.
    """
    if slope != 1:
        dz = cotangents[part]
        leaky_gradient(0, 1, dy.reshape(dy.size), y.reshape(y.size), slope, dz.reshape(dz.size))
        dy = dz
    one, no_bias = x.dtype.type(1), np.empty(0, x.dtype)
    if dw.size:
        multiply(part, parts, x, dy, no_bias, dw, True, False, True, one, columns, panels)
    if dx.size:
        multiply(part, parts, dy, w, no_bias, dx, False, True, False, one, columns, panels)
    first, last = len(db) * part // parts, len(db) * (part + 1) // parts
    totals = np.empty(last - first)
    sum_columns(dy, 0, len(dy), first, last, totals)
    for k in range(first, last):
        db[k] += totals[k - first]


class DenseKernels(Engine, FusedKernels):
    """Overrides of `reference.dense.DenseKernels`, and of what is fused with them."""

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
        if rows * depth * width < OPENBLAS_WORK and depth > 1:  # an outer product is slow in OpenBLAS
            return super().matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b, bias=bias, add_to=add_to)
        y = self.empty((rows, width), a.dtype) if add_to is None else add_to
        if width <= THIN:
            self.team.run(
                multiply_thin,
                contiguous(a),
                flat(b if transpose_b else b.T).reshape(width, depth),
                self.padded_bias(bias, width, a.dtype),
                y,
                transpose_a,
                add_to is not None,
                parts=self.parts(rows * depth),
            )
        else:
            self._multiply(a, b, y, bias, transpose_a=transpose_a, transpose_b=transpose_b, add=add_to is not None)
        return y

    def batched_matmul(self, a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False) -> Array:
        rows, width = a.shape[2 if transpose_a else 1], b.shape[1 if transpose_b else 2]
        products = self.empty((len(a), rows, width), a.dtype)
        products.fill(0)
        for one, other, product in zip(a, b, products, strict=True):
            self.matmul(one, other, transpose_a=transpose_a, transpose_b=transpose_b, add_to=product)
        return products

    def dense_leaky_relu(self, x: Array, w: Array, b: Array | None, *, slope: float) -> Array:
        (rows, depth), width = x.shape, w.shape[1]
        expect("w", w, (depth, width), x.dtype)
        if b is not None:
            expect("b", b, (width,), x.dtype)
        if is_thin(x, width):
            return super().dense_leaky_relu(x, w, b, slope=slope)
        y = self.empty((rows, width), x.dtype)
        self._multiply(x, w, y, b, slope=slope)
        return y

    def dense_leaky_relu_grad(
        self,
        dy: Array,
        x: Array,
        w: Array,
        y: Array,
        *,
        slope: float,
        add_to: tuple[Array, Array | None] | None,
        need_dx: bool = True,
    ) -> Array | None:
        if is_thin(x, w.shape[1]):
            return super().dense_leaky_relu_grad(dy, x, w, y, slope=slope, add_to=add_to, need_dx=need_dx)
        expect("y", y, dy.shape, dy.dtype)
        return self._gradients(dy, x, w, y, slope=slope, add_to=add_to, need_dx=need_dx)

    def dense_grad(
        self, dy: Array, x: Array, w: Array, *, add_to: tuple[Array, Array | None] | None, need_dx: bool = True
    ) -> Array | None:
        if is_thin(x, w.shape[1]):
            return super().dense_grad(dy, x, w, add_to=add_to, need_dx=need_dx)
        return self._gradients(dy, x, w, dy, slope=1, add_to=add_to, need_dx=need_dx)

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

    def _multiply(
        self,
        a: Array,
        b: Array,
        y: Array,
        bias: Array | None,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        add: bool = False,
        slope: float = 1,
    ) -> None:
        depth = len(a) if transpose_a else a.shape[1]
        columns, parts = tile_columns(a.itemsize), self.parts_of_product(y.size * depth)
        self.team.run(
            multiply,
            contiguous(a),
            contiguous(b),
            np.empty(0, a.dtype) if bias is None else contiguous(bias),
            y,
            transpose_a,
            transpose_b,
            add,
            a.dtype.type(slope),
            columns,
            self.workspace.take("panels", parts * depth * columns, a.dtype).reshape(parts, -1),
            parts=parts,
        )

    def _gradients(
        self,
        dy: Array,
        x: Array,
        w: Array,
        y: Array,
        *,
        slope: float,
        add_to: tuple[Array, Array | None] | None,
        need_dx: bool,
    ) -> Array | None:
        (rows, depth), width = x.shape, w.shape[1]
        expect("dy", dy, (rows, width), x.dtype)
        expect("w", w, (depth, width), x.dtype)
        products = (add_to is not None) + need_dx
        if not products:
            return None
        dw, db = (None, None) if add_to is None else add_to
        if dw is not None:
            expect("dw", dw, w.shape, x.dtype)
        if db is not None:
            expect("db", db, (width,), x.dtype)
        dx = self.empty(x.shape, x.dtype) if need_dx else None
        columns, parts = tile_columns(x.itemsize), self.parts_of_product(products * rows * w.size)
        panels = self.workspace.take("panels", parts * max(rows, width) * columns, x.dtype)
        cotangents = self.workspace.take("cotangents", parts * dy.size if slope != 1 else 0, x.dtype)
        self.team.run(
            dense_gradients,
            contiguous(dy),
            contiguous(x),
            contiguous(w),
            contiguous(y),
            x.dtype.type(slope),
            np.empty((0, 0), x.dtype) if dw is None else dw,
            np.empty(0, x.dtype) if db is None else db,
            np.empty((0, 0), x.dtype) if dx is None else dx,
            columns,
            panels.reshape(parts, -1),
            cotangents.reshape(parts, -1, width),
            parts=parts,
        )
        return dx


def is_thin(x: Array, width: int) -> bool:
    """Whether x's one pass through memory is all that counts in a product with so few columns."""
    return width <= THIN and x.size >= THIN_NUMBERS
