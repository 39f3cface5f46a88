"""Dense layers: when which product of `multiply.py`, and the sums that go with them.

In a small network the calls take most of the time. So a layer's forward pass, including its activation, is one call,
and so is its backward pass: through the activation, then all three gradients.
"""

from typing import Any

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.cpu.bfloat16 import bits, takes_bfloat16
from minigan.backends.cpu.dense_gradients import THIN, dense_gradients, sum_channels
from minigan.backends.cpu.engine import FLOAT64, Engine, contiguous, flat, folded
from minigan.backends.cpu.multiply import multiply, multiply_thin, multiply_turned
from minigan.backends.cpu.processor import Processor
from minigan.backends.cpu.products import multiply_tiles
from minigan.backends.cpu.products_plan import ProductPlan, choose_product
from minigan.backends.cpu.simd import TILE_ROWS, tile_columns, vector_lanes
from minigan.backends.cpu.tile_units import TILES, Unit
from minigan.backends.reference.fused import FusedKernels
from minigan.backends.workspace import InPlace

# Multiply-adds of a product that OpenBLAS does on the calling thread alone; there NumPy's short call is the fastest.
OPENBLAS_WORK = 1 << 18
# With at most so many rows, which are at least so long, the other factor is not worth packing.
FEW_ROWS, LONG = 64, 256
# Numbers of the other factor from which on it counts that a tile would be nearly empty.
THIN_NUMBERS = 1 << 15

PACKED = np.dtype(np.uint16)


class DenseKernels(Engine, FusedKernels):
    """Overrides of `reference.dense.DenseKernels`, and of what is fused with them."""

    unit: Unit | None  # for products of float32 numbers

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
        if add_to is not None and not add_to.flags.carray:
            with InPlace(contiguous, add_to) as (sums,):
                self.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b, bias=bias, add_to=sums)
            return add_to
        rows, depth = a.shape[::-1] if transpose_a else a.shape
        width = b.shape[0] if transpose_b else b.shape[1]
        if rows * depth * width < OPENBLAS_WORK and depth > 1 and width > THIN:  # an outer product is slow in OpenBLAS
            return super().matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b, bias=bias, add_to=add_to)
        if rows == 1 < width:
            # A vector times a matrix, which has its path the other way round.
            column = None if add_to is None else add_to.reshape(width, 1)
            column = self.matmul(b, a, transpose_a=not transpose_b, transpose_b=not transpose_a, add_to=column)
            if bias is not None:
                column += bias[:, None]
            return column.reshape(1, width) if add_to is None else add_to
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
        if is_thin(x, w.shape[1]) or self._gains_by_tiles(x, w, dw=add_to is not None, dx=need_dx):
            return super().dense_leaky_relu_grad(dy, x, w, y, slope=slope, add_to=add_to, need_dx=need_dx)
        expect("y", y, dy.shape, dy.dtype)
        return self._gradients(dy, x, w, y, slope=slope, add_to=add_to, need_dx=need_dx)

    def dense_grad(
        self, dy: Array, x: Array, w: Array, *, add_to: tuple[Array, Array | None] | None, need_dx: bool = True
    ) -> Array | None:
        if is_thin(x, w.shape[1]) or self._gains_by_tiles(x, w, dw=add_to is not None, dx=need_dx):
            return super().dense_grad(dy, x, w, add_to=add_to, need_dx=need_dx)
        return self._gradients(dy, x, w, dy, slope=1, add_to=add_to, need_dx=need_dx)

    @takes_bfloat16
    def channel_sum(self, dy: Array, *, add_to: Array) -> None:
        channels, parts = dy.shape[-1], self.parts(dy.size)
        rows = folded(dy)
        sums = self.empty((parts, rows.shape[1]), FLOAT64)
        self.team.run(sum_channels, bits(rows), sums, parts=parts)
        add_to += sums.reshape(-1, channels).sum(axis=0).astype(add_to.dtype)

    def padded_bias(self, b: Array | None, width: int, dtype: np.dtype[Any]) -> Array:
        """The values that rows of a tile start from: b repeated for each pixel of a group, or zeros."""
        bias = self.empty((width,), dtype)
        bias.fill(0)
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
        (rows, width), depth = y.shape, len(a) if transpose_a else a.shape[1]
        processor = self.processor(y.dtype, rows * depth * width)
        plan = choose_product(
            rows, depth, width, processor, self.unit, transpose_a=transpose_a, transpose_b=transpose_b, accumulate=add
        )
        if plan is not None:
            self._multiply_tiles(a, b, y, bias, slope, plan)
            return
        if rows <= FEW_ROWS and depth >= LONG and transpose_b and not (transpose_a or add):
            self._multiply_turned(a, b, y, bias)
            return
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

    def processor(self, dtype: np.dtype[Any], multiply_adds: int) -> Processor:
        """The processor as plans see it, with as many threads as so much work is worth."""
        size = dtype.itemsize
        return Processor(TILE_ROWS, tile_columns(size), vector_lanes(size), size, self.parts_of_product(multiply_adds))

    def _gains_by_tiles(self, x: Array, w: Array, *, dw: bool, dx: bool) -> bool:
        """Tells whether each wanted product of a backward pass is faster by bfloat16 numbers, in a call of its own."""
        (rows, depth), width = x.shape, w.shape[1]
        processor = self.processor(x.dtype, rows * depth * width)
        plans = [choose_product(depth, rows, width, processor, self.unit, transpose_a=True, accumulate=True)] * dw
        plans += [choose_product(rows, width, depth, processor, self.unit, transpose_b=True)] * dx
        return bool(plans) and None not in plans

    def _multiply_tiles(
        self, a: Array, b: Array, y: Array, bias: Array | None, slope: float, plan: ProductPlan
    ) -> None:
        self.team.run(
            multiply_tiles,
            plan.unit,
            TILES,
            flat(a),
            flat(b),
            np.empty(0, y.dtype) if bias is None else contiguous(bias),
            y.dtype.type(slope),
            flat(y),
            plan.product,
            self._scratch("groups", plan.threads, plan.groups_size, PACKED),
            self._scratch("blocks", plan.threads, plan.panels_size, PACKED),
            parts=plan.threads,
        )

    def _scratch(self, name: str, threads: int, size: int, dtype: np.dtype[Any]) -> Array:
        """A row of scratch memory for each thread."""
        return self.workspace.take(name, threads * size, dtype).reshape(threads, size)

    def _multiply_turned(self, a: Array, b: Array, y: Array, bias: Array | None) -> None:
        rows, depth = a.shape
        columns, parts = tile_columns(a.itemsize), self.parts_of_product(y.size * depth)
        panels = self.workspace.take("panels", parts * -(-rows // columns) * columns * depth, a.dtype)
        self.team.run(
            multiply_turned,
            contiguous(a),
            contiguous(b),
            np.empty(0, a.dtype) if bias is None else contiguous(bias),
            y,
            columns,
            panels.reshape(parts, -1),
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
        sums = (np.empty((0, 0), x.dtype) if dw is None else dw, np.empty(0, x.dtype) if db is None else db)
        if sums[0].flags.carray and sums[1].flags.carray:  # as a network's are
            self._run_gradients(dy, x, w, y, slope, *sums, dx, products)
        else:
            with InPlace(contiguous, *sums) as (dw, db):
                self._run_gradients(dy, x, w, y, slope, dw, db, dx, products)
        return dx

    def _run_gradients(
        self,
        dy: Array,
        x: Array,
        w: Array,
        y: Array,
        slope: float,
        dw: Array,
        db: Array,
        dx: Array | None,
        products: int,
    ) -> None:
        rows, width = dy.shape
        parts = self.parts_of_product(products * rows * w.size)
        cotangents = self._scratch("cotangents", parts, dy.size if slope != 1 else 0, x.dtype)
        arrays = [contiguous(each) for each in (dy, x, w, y)]
        results = (dw, db, np.empty((0, 0), x.dtype) if dx is None else dx)
        self.team.run(
            dense_gradients,
            *arrays,
            x.dtype.type(slope),
            *results,
            tile_columns(x.itemsize),
            self._scratch("panels", parts, max(rows, width) * tile_columns(x.itemsize), x.dtype),
            cotangents.reshape(parts, -1, width),
            parts=parts,
        )


def is_thin(x: Array, width: int) -> bool:
    """Tells whether reading x once takes most of the time of a product with so few columns."""
    return width <= THIN and x.size >= THIN_NUMBERS
