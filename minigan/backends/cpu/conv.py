"""The convolution family on one microkernel; `plan.py` says what is computed how, `correlate.py` has the loops."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigan.backends.base import Array
from minigan.backends.cpu.correlate import correlate, correlate_weights
from minigan.backends.cpu.dense import DenseKernels
from minigan.backends.cpu.engine import expect, flat
from minigan.backends.cpu.microkernel import pack, pack_transposed
from minigan.backends.cpu.overlap import overlap_add, sum_overlaps
from minigan.backends.cpu.plan import (
    OverlapPlan,
    Plan,
    algorithm,
    has_few_pixels,
    is_dense,
    overlap_grid,
    plan_forward,
    plan_input_grad,
    plan_overlap,
    plan_weight_grad,
    turned_round,
)
from minigan.backends.cpu.simd import TILE_ROWS, tile_columns
from minigan.backends.cpu.winograd import convolve, convolve_back, convolve_weights
from minigan.backends.cpu.winograd_plan import WinogradPlan, choose_winograd
from minigan.shapes import ConvGeometry


class ConvKernels(DenseKernels):
    """Overrides of `reference.conv.ConvKernels`."""

    exact: bool

    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:
        g, n = geometry, len(x)
        expect("x", x, (n, *g.input_shape), w.dtype)
        expect("w", w, g.weight_shape, x.dtype)
        if is_dense(g):
            y = self.matmul(x.reshape(n, -1), w.reshape(-1, g.K), bias=b)
            return y.reshape(n, 1, 1, g.K)
        parts = self.parts_of_product(n * g.flops // 2)
        if fast := self._winograd("conv2d", g, n, x.itemsize, parts):
            y = self.empty((n, *g.output_shape), x.dtype)
            bias = self.padded_bias(b, g.K, x.dtype)
            self._run_winograd(convolve, fast, parts, x, w, bias, y)
            return y
        columns = tile_columns(x.itemsize)
        if overlap := plan_overlap("conv2d", g, n, columns, x.itemsize, parts):
            turned = w[::-1, ::-1].transpose(2, 0, 1, 3)
            return self._overlap_add(x, self._packed(turned, g.C, g.R * g.S * g.K), b, overlap, parts)
        plan = plan_forward(g, n, columns, x.itemsize, parts)
        return self._correlate(x, self._packed(w, g.R * g.S * g.C, g.K), b, plan, parts)

    def conv2d_input_grad(self, dy: Array, w: Array, geometry: ConvGeometry, *, b: Array | None = None) -> Array:
        g, n = geometry, len(dy)
        expect("dy", dy, (n, *g.output_shape), w.dtype)
        expect("w", w, g.weight_shape, dy.dtype)
        if is_dense(g):
            bias = None if b is None else np.tile(b, g.H * g.W)
            dx = self.matmul(dy.reshape(n, g.K), w.reshape(-1, g.K), transpose_b=True, bias=bias)
            return dx.reshape(n, *g.input_shape)
        columns = tile_columns(dy.itemsize)
        parts = self.parts_of_product(n * g.flops // 2)
        if fast := self._winograd("conv2d_input_grad", g, n, dy.itemsize, parts):
            dx = self.empty((n, *g.input_shape), dy.dtype)
            bias = self.padded_bias(b, g.C, dy.dtype)
            self._run_winograd(convolve_back, fast, parts, dy, w, bias, dx)
            return dx
        if has_few_pixels(g, n):
            return self._overlap_few(dy, w, b, g, parts)
        if overlap := plan_overlap("conv2d_input_grad", g, n, columns, dy.itemsize, parts):
            transposed = w.reshape(-1, g.K).T
            return self._overlap_add(dy, self._packed(transposed, g.K, g.R * g.S * g.C), b, overlap, parts)
        plan = plan_input_grad(g, n, columns, dy.itemsize, parts)
        packed = self.workspace.take("packed", plan.packed_size, dy.dtype)
        for phase, taps in zip(plan.phases, plan.taps, strict=True):
            if len(taps):
                self.team.run(
                    pack_transposed,
                    flat(w),
                    packed[phase.packed_at :],
                    taps,
                    g.K,
                    g.C,
                    columns,
                    parts=self.parts(len(taps) * g.K * g.C),
                )
        return self._correlate(dy, packed, b, plan, parts)

    def conv2d_weight_grad(self, x: Array, dy: Array, geometry: ConvGeometry, *, add_to: Array) -> None:
        g, n = geometry, len(x)
        expect("x", x, (n, *g.input_shape), add_to.dtype)
        expect("dy", dy, (n, *g.output_shape), x.dtype)
        expect("add_to", add_to, g.weight_shape, x.dtype)
        if is_dense(g):
            self.matmul(x.reshape(n, -1), dy.reshape(n, g.K), transpose_a=True, add_to=add_to.reshape(-1, g.K))
            return
        parts = self.parts_of_product(n * g.flops // 2)
        if fast := self._winograd("conv2d_weight_grad", g, n, x.itemsize, parts):
            self._run_winograd(convolve_weights, fast, parts, x, dy, add_to)
            return
        if turned := turned_round(g, TILE_ROWS, tile_columns(x.itemsize)):
            dw = np.zeros(turned.weight_shape, x.dtype)
            self._correlate_weights(dy, x, turned, dw, parts)
            add_to += dw[::-1, ::-1].transpose(0, 1, 3, 2)
        else:
            self._correlate_weights(x, dy, g, add_to, parts)

    def algorithm(self, kernel: str, geometry: ConvGeometry, images: int, dtype: np.dtype[Any]) -> str:
        return algorithm(
            kernel,
            geometry,
            images,
            rows=TILE_ROWS,
            columns=tile_columns(dtype.itemsize),
            itemsize=dtype.itemsize,
            threads=self.parts_of_product(images * geometry.flops // 2),
            exact=self.exact,
        )

    def _winograd(self, kernel: str, g: ConvGeometry, images: int, itemsize: int, parts: int) -> WinogradPlan | None:
        if self.exact:
            return None
        return choose_winograd(kernel, g, images, TILE_ROWS, tile_columns(itemsize), itemsize, parts)

    def _run_winograd(self, kernel: Callable[..., None], plan: WinogradPlan, parts: int, *arrays: Array) -> None:
        scratch = self.workspace.take("winograd", parts * plan.grid.scratch_size, arrays[0].dtype)
        self.team.run(kernel, plan.scheme, *map(flat, arrays), plan.grid, scratch, parts=parts)

    def _packed(self, b: Array, depth: int, width: int) -> Array:
        """A matrix (depth, width) in strips."""
        columns = tile_columns(b.itemsize)
        packed = self.workspace.take("packed", depth * -(-width // columns) * columns, b.dtype)
        self.team.run(pack, flat(b), packed, depth, width, columns, parts=self.parts(depth * width))
        return packed

    def _correlate(self, x: Array, packed: Array, b: Array | None, plan: Plan, parts: int) -> Array:
        grid = plan.grid
        y = self.empty((grid.images, grid.target_height, grid.target_width, grid.target_channels), x.dtype)
        bias = self.padded_bias(b, -(-grid.target_channels // grid.columns) * grid.columns, x.dtype)
        scratch = self.workspace.take("images", parts * plan.scratch_size, x.dtype)
        self.team.run(
            correlate, flat(x), packed, bias, flat(y), plan.table, grid, scratch, plan.scratch_size, parts=parts
        )
        return y

    def _correlate_weights(self, x: Array, dy: Array, g: ConvGeometry, dw: Array, parts: int) -> None:
        plan = plan_weight_grad(g, len(x), TILE_ROWS, tile_columns(x.itemsize), x.itemsize, parts)
        self.team.run(
            correlate_weights,
            flat(x),
            flat(dy),
            flat(dw),
            plan.grid,
            self.workspace.take("images", parts * plan.image_scratch, x.dtype),
            plan.image_scratch,
            self.workspace.take("panels", parts * plan.panel_scratch, x.dtype),
            plan.panel_scratch,
            parts=parts,
        )

    def _overlap_add(self, x: Array, packed: Array, b: Array | None, plan: OverlapPlan, parts: int) -> Array:
        grid = plan.grid
        y = self.empty((grid.images, grid.target_height, grid.target_width, grid.target_channels), x.dtype)
        start = self.padded_bias(b, grid.target_width * grid.target_channels + grid.columns, x.dtype)
        scratch = self.workspace.take("images", parts * plan.scratch_size, x.dtype)
        self.team.run(overlap_add, flat(x), packed, start, flat(y), grid, scratch, plan.scratch_size, parts=parts)
        return y

    def _overlap_few(self, dy: Array, w: Array, b: Array | None, g: ConvGeometry, parts: int) -> Array:
        products = self.matmul(dy.reshape(-1, g.K), w.reshape(-1, g.K), transpose_b=True)
        dx = self.empty((len(dy), *g.input_shape), dy.dtype)
        grid = overlap_grid("conv2d_input_grad", g, len(dy), tile_columns(dy.itemsize), 1)
        start = self.padded_bias(b, g.W * g.C + grid.columns, dy.dtype)
        self.team.run(sum_overlaps, flat(products), start, flat(dx), grid, parts=parts)
        return dx
