"""The convolution family: one method for each plan of `plan.py`, which chooses among them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigan.backends.base import Array, Shape, expect
from minigan.backends.cpu.activation import leaky
from minigan.backends.cpu.correlate import correlate, correlate_weights
from minigan.backends.cpu.dense import DenseKernels
from minigan.backends.cpu.engine import contiguous, flat
from minigan.backends.cpu.microkernel import pack, pack_transposed
from minigan.backends.cpu.overlap import overlap_add, sum_overlaps
from minigan.backends.cpu.overlap_plan import InPlacePlan, OverlapGrid, OverlapPlan
from minigan.backends.cpu.phases_plan import Grid, PhasesPlan
from minigan.backends.cpu.plan import DensePlan, Plan, choose
from minigan.backends.cpu.processor import Processor
from minigan.backends.cpu.simd import TILE_ROWS, tile_columns, vector_lanes
from minigan.backends.cpu.weights_plan import WeightsPlan
from minigan.backends.cpu.winograd import convolve, convolve_back, convolve_weights
from minigan.backends.cpu.winograd_plan import WinogradPlan
from minigan.backends.geometry import ConvGeometry
from minigan.backends.workspace import InPlace


class ConvKernels(DenseKernels):
    """Overrides of `reference.conv.ConvKernels`."""

    exact: bool

    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:
        return self.conv2d_leaky_relu(x, w, b, geometry, slope=1)

    def conv2d_leaky_relu(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry, *, slope: float) -> Array:
        g, n = geometry, len(x)
        expect("x", x, (n, *g.input_shape), w.dtype)
        expect("w", w, g.weight_shape, x.dtype)
        match plan := self.plan("conv2d", g, n, x.dtype):
            case DensePlan():
                y = self.matmul(x.reshape(n, -1), w.reshape(-1, g.K), bias=b).reshape(n, 1, 1, g.K)
            case WinogradPlan():
                y = self._convolve(convolve, x, w, b, plan, (n, *g.output_shape))
            case OverlapPlan():
                turned = w[::-1, ::-1].transpose(2, 0, 1, 3)
                y = self._overlap_add(x, self._packed(turned, g.C, g.R * g.S * g.K), b, plan)
            case PhasesPlan():
                return self._correlate(x, self._packed(w, g.R * g.S * g.C, g.K), b, slope, plan)
            case _:
                raise AssertionError(plan)
        if slope != 1:
            self.team.run(leaky, flat(y), y.dtype.type(slope), flat(y), parts=self.parts(y.size))  # in place
        return y

    def conv2d_input_grad(self, dy: Array, w: Array, geometry: ConvGeometry, *, b: Array | None = None) -> Array:
        g, n = geometry, len(dy)
        expect("dy", dy, (n, *g.output_shape), w.dtype)
        expect("w", w, g.weight_shape, dy.dtype)
        match plan := self.plan("conv2d_input_grad", g, n, dy.dtype):
            case DensePlan():
                bias = None if b is None else np.tile(b, g.H * g.W)
                dx = self.matmul(dy.reshape(n, g.K), w.reshape(-1, g.K), transpose_b=True, bias=bias)
                return dx.reshape(n, *g.input_shape)
            case WinogradPlan():
                return self._convolve(convolve_back, dy, w, b, plan, (n, *g.input_shape))
            case InPlacePlan():
                return self._sum_overlaps(dy, w, b, plan)
            case OverlapPlan():
                transposed = w.reshape(-1, g.K).T
                return self._overlap_add(dy, self._packed(transposed, g.K, g.R * g.S * g.C), b, plan)
            case PhasesPlan():
                return self._correlate(dy, self._packed_phases(w, g, plan), b, 1, plan)
        raise AssertionError(plan)

    def conv2d_weight_grad(self, x: Array, dy: Array, geometry: ConvGeometry, *, add_to: Array) -> None:
        g, n = geometry, len(x)
        expect("x", x, (n, *g.input_shape), add_to.dtype)
        expect("dy", dy, (n, *g.output_shape), x.dtype)
        expect("add_to", add_to, g.weight_shape, x.dtype)
        if not add_to.flags.carray:
            with InPlace(contiguous, add_to) as (sums,):
                self.conv2d_weight_grad(x, dy, geometry, add_to=sums)
            return
        match plan := self.plan("conv2d_weight_grad", g, n, x.dtype):
            case DensePlan():
                self.matmul(x.reshape(n, -1), dy.reshape(n, g.K), transpose_a=True, add_to=add_to.reshape(-1, g.K))
            case WinogradPlan():
                self._run_winograd(convolve_weights, plan, x, dy, add_to)
            case WeightsPlan(turned=None):
                self._correlate_weights(x, dy, add_to, plan)
            case WeightsPlan():
                dw = np.zeros((g.R, g.S, g.K, g.C), x.dtype)
                self._correlate_weights(dy, x, dw, plan)
                add_to += dw[::-1, ::-1].transpose(0, 1, 3, 2)

    def algorithm(self, kernel: str, geometry: ConvGeometry, images: int, dtype: np.dtype[Any]) -> str:
        return self.plan(kernel, geometry, images, dtype).name

    def reason(self, kernel: str, geometry: ConvGeometry, images: int, dtype: np.dtype[Any]) -> str:
        return self.plan(kernel, geometry, images, dtype).reason

    def plan(self, kernel: str, g: ConvGeometry, images: int, dtype: np.dtype[Any]) -> Plan:
        """The plan by which this backend computes one of the three kernels."""
        size, threads = dtype.itemsize, self.parts_of_product(images * g.flops // 2)
        processor = Processor(TILE_ROWS, tile_columns(size), vector_lanes(size), size, threads)
        return choose(kernel, g, images, processor, exact=self.exact)

    def _convolve(
        self, kernel: Callable[..., None], x: Array, w: Array, b: Array | None, plan: WinogradPlan, shape: Shape
    ) -> Array:
        y = self.empty(shape, x.dtype)
        self._run_winograd(kernel, plan, x, w, self.padded_bias(b, shape[-1], x.dtype), y)
        return y

    def _run_winograd(self, kernel: Callable[..., None], plan: WinogradPlan, *arrays: Array) -> None:
        scratch = self.workspace.take("winograd", plan.threads * plan.grid.scratch_size, arrays[0].dtype)
        self.team.run(kernel, plan.scheme, *map(flat, arrays), plan.grid, scratch, parts=plan.threads)

    def _packed(self, b: Array, depth: int, width: int) -> Array:
        """Packs a matrix (depth, width) into strips."""
        columns = tile_columns(b.itemsize)
        packed = self.workspace.take("packed", depth * -(-width // columns) * columns, b.dtype)
        self.team.run(pack, flat(b), packed, depth, width, columns, parts=self.parts(depth * width))
        return packed

    def _packed_phases(self, w: Array, g: ConvGeometry, plan: PhasesPlan) -> Array:
        """Packs the taps of each phase, transposed, into strips."""
        packed = self.workspace.take("packed", plan.packed_size, w.dtype)
        for phase, taps in zip(plan.phases, plan.taps, strict=True):
            if len(taps):
                self.team.run(
                    pack_transposed,
                    flat(w),
                    packed[phase.packed_at :],
                    taps,
                    g.K,
                    g.C,
                    plan.grid.columns,
                    parts=self.parts(len(taps) * g.K * g.C),
                )
        return packed

    def _correlate(self, x: Array, packed: Array, b: Array | None, slope: float, plan: PhasesPlan) -> Array:
        grid = plan.grid
        y = self._images(grid, x.dtype)
        bias = self.padded_bias(b, -(-grid.target_channels // grid.columns) * grid.columns, x.dtype)
        scratch = self._scratch("images", plan.threads, plan.scratch_size, x.dtype)
        self.team.run(
            correlate,
            flat(x),
            packed,
            bias,
            x.dtype.type(slope),
            flat(y),
            plan.table,
            grid,
            scratch,
            parts=plan.threads,
        )
        return y

    def _correlate_weights(self, x: Array, dy: Array, dw: Array, plan: WeightsPlan) -> None:
        self.team.run(
            correlate_weights,
            flat(x),
            flat(dy),
            flat(dw),
            plan.grid,
            self._scratch("images", plan.threads, plan.image_scratch, x.dtype),
            self._scratch("panels", plan.threads, plan.panel_scratch, x.dtype),
            parts=plan.threads,
        )

    def _overlap_add(self, x: Array, packed: Array, b: Array | None, plan: OverlapPlan) -> Array:
        grid = plan.grid
        y = self._images(grid, x.dtype)
        start = self.padded_bias(b, grid.target_width * grid.target_channels + grid.columns, x.dtype)
        scratch = self._scratch("images", plan.threads, plan.scratch_size, x.dtype)
        self.team.run(overlap_add, flat(x), packed, start, flat(y), grid, scratch, parts=plan.threads)
        return y

    def _scratch(self, name: str, threads: int, size: int, dtype: np.dtype[Any]) -> Array:
        """A row of scratch memory for each thread."""
        return self.workspace.take(name, threads * size, dtype).reshape(threads, size)

    def _images(self, grid: Grid | OverlapGrid, dtype: np.dtype[Any]) -> Array:
        """Memory for the images that a pass computes."""
        return self.empty((grid.images, grid.target_height, grid.target_width, grid.target_channels), dtype)

    def _sum_overlaps(self, dy: Array, w: Array, b: Array | None, plan: InPlacePlan) -> Array:
        grid = plan.grid
        products = self.matmul(dy.reshape(-1, grid.channels), w.reshape(-1, grid.channels), transpose_b=True)
        dx = self._images(grid, dy.dtype)
        start = self.padded_bias(b, grid.target_width * grid.target_channels + grid.columns, dy.dtype)
        self.team.run(sum_overlaps, flat(products), start, flat(dx), grid, parts=plan.threads)
        return dx
