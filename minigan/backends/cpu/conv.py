"""The convolution family: a method for each plan that `plan.py` chooses; those of groups are in `conv_groups.py`."""

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from minigan.backends.base import Array, Shape, expect
from minigan.backends.cpu.bfloat16 import FLOAT32, flat_bits, is_bfloat16, takes_bfloat16
from minigan.backends.cpu.blocks import SIDE
from minigan.backends.cpu.conv_groups import GroupConvKernels
from minigan.backends.cpu.correlate import correlate, correlate_weights
from minigan.backends.cpu.depthwise_plan import DepthwisePlan, DepthwiseWeightsPlan
from minigan.backends.cpu.engine import contiguous, flat
from minigan.backends.cpu.groups_plan import GroupsPlan, GroupWeightsPlan
from minigan.backends.cpu.image_lanes_plan import PileImagesPlan, PileWeightsPlan
from minigan.backends.cpu.microkernel import pack, pack_transposed
from minigan.backends.cpu.overlap import overlap_add, sum_overlaps
from minigan.backends.cpu.overlap_plan import InPlacePlan, OverlapPlan
from minigan.backends.cpu.phases_plan import PhasesPlan
from minigan.backends.cpu.plan import DensePlan, Plan, SplitPlan, choose
from minigan.backends.cpu.simd import tile_columns
from minigan.backends.cpu.tile_units import TILES, Unit
from minigan.backends.cpu.tiles import correlate_tiles, correlate_weight_tiles, pack_taps, pair_images
from minigan.backends.cpu.tiles_plan import TilesPlan, WeightTilesPlan
from minigan.backends.cpu.weights_plan import WeightsPlan
from minigan.backends.cpu.winograd import convolve, convolve_back, convolve_weights
from minigan.backends.cpu.winograd_groups_plan import WinogradGroupsPlan
from minigan.backends.cpu.winograd_plan import BY_IMAGES, WinogradPlan
from minigan.backends.geometry import ConvGeometry
from minigan.backends.workspace import InPlace


class ConvKernels(GroupConvKernels):
    """Overrides of `reference.conv.ConvKernels`."""

    exact: bool

    @takes_bfloat16
    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:
        return self.conv2d_leaky_relu(x, w, b, geometry, slope=1)

    @takes_bfloat16
    def conv2d_leaky_relu(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry, *, slope: float) -> Array:
        g, n = geometry, len(x)
        expect_activations("x", x, (n, *g.input_shape), w.dtype)
        expect("w", w, g.weight_shape, w.dtype)
        if not n:
            return self.empty((n, *g.output_shape), x.dtype)
        plan = self.plan("conv2d", g, n, w.dtype, packed=w in self.held.constants)
        match plan:
            case DensePlan():
                rows, matrix = x.reshape(n, -1), w.reshape(-1, g.K)
                if slope == 1:
                    y = self.matmul(rows, matrix, bias=b)
                else:
                    y = self.dense_leaky_relu(rows, matrix, b, slope=slope)
                return y.reshape(n, 1, 1, g.K)
            case SplitPlan(one):
                y = self.empty((n, *g.output_shape), x.dtype)
                for group, own in enumerate(self._slices(w, g.groups)):
                    bias = None if b is None else b[group * one.K : (group + 1) * one.K]
                    image = self._slice(x, group, one.C)
                    self._put_slice(y, group, self.conv2d_leaky_relu(image, own, bias, one, slope=slope))
                return y
            case WinogradGroupsPlan():
                return self._convolve_groups(x, w, b, slope, plan)
            case DepthwisePlan():
                return self._correlate_depthwise(x, w, b, slope, g, plan)
            case GroupsPlan():
                return self._correlate_groups(x, w, b, slope, g, plan)
            case PileImagesPlan():
                return self._correlate_piles(x, w, b, slope, g, plan)
            case TilesPlan():
                y = self._correlate_tiles(x, self._packed_tiles(w, g, plan), b, slope, w.dtype, plan)
                return y.reshape(n, *g.output_shape)
            case WinogradPlan():
                y = self.empty((n, *g.output_shape), x.dtype)
                self._run_winograd(convolve, plan, x, w, self.padded_bias(b, g.K, w.dtype), w.dtype.type(slope), y)
                return y
            case OverlapPlan():
                packed = self._packed(w, (g.C, g.R * g.S * g.K), lambda: w[::-1, ::-1].transpose(2, 0, 1, 3))
                return self._overlap_add(x, packed, b, slope, plan)
            case PhasesPlan():
                return self._correlate(x, self._packed(w, (g.R * g.S * g.C, g.K), lambda: w), b, slope, plan)
        raise AssertionError(plan)

    @takes_bfloat16
    def conv2d_input_grad(self, dy: Array, w: Array, geometry: ConvGeometry, *, b: Array | None = None) -> Array:
        g, n = geometry, len(dy)
        expect_activations("dy", dy, (n, *g.output_shape), w.dtype)
        expect("w", w, g.weight_shape, w.dtype)
        if not n:
            return self.empty((n, *g.input_shape), dy.dtype)
        plan = self.plan("conv2d_input_grad", g, n, w.dtype, packed=w in self.held.constants)
        match plan:
            case DensePlan():
                bias = None if b is None else np.tile(b, g.H * g.W)
                dx = self.matmul(dy.reshape(n, g.K), w.reshape(-1, g.K), transpose_b=True, bias=bias)
                return dx.reshape(n, *g.input_shape)
            case SplitPlan(one):
                dx = self.empty((n, *g.input_shape), dy.dtype)
                for group, own in enumerate(self._slices(w, g.groups)):
                    bias = None if b is None else b[group * one.C : (group + 1) * one.C]
                    outputs = self._slice(dy, group, one.K)
                    self._put_slice(dx, group, self.conv2d_input_grad(outputs, own, one, b=bias))
                return dx
            case WinogradGroupsPlan():
                return self._convolve_groups(dy, w, b, 1, plan)
            case DepthwisePlan():
                return self._correlate_depthwise(dy, w, b, 1, g, plan)
            case GroupsPlan():
                return self._correlate_groups(dy, w, b, 1, g, plan)
            case PileImagesPlan():
                return self._correlate_piles(dy, w, b, 1, g, plan)
            case TilesPlan():
                dx = self._correlate_tiles(dy, self._packed_tiles(w, g, plan), b, 1, w.dtype, plan)
                return dx.reshape(n, *g.input_shape)
            case WinogradPlan():
                dx = self.empty((n, *g.input_shape), dy.dtype)
                self._run_winograd(convolve_back, plan, dy, w, self.padded_bias(b, g.C, w.dtype), dx)
                return dx
            case InPlacePlan():
                return self._sum_overlaps(dy, w, b, plan)
            case OverlapPlan():
                packed = self._packed(w, (g.K, g.R * g.S * g.C), lambda: w.reshape(-1, g.K).T)
                return self._overlap_add(dy, packed, b, 1, plan)
            case PhasesPlan():
                return self._correlate(dy, self._packed_phases(w, g, plan), b, 1, plan)
        raise AssertionError(plan)

    @takes_bfloat16
    def conv2d_weight_grad(self, x: Array, dy: Array, geometry: ConvGeometry, *, add_to: Array) -> None:
        g, n = geometry, len(x)
        expect_activations("x", x, (n, *g.input_shape), add_to.dtype)
        expect_activations("dy", dy, (n, *g.output_shape), add_to.dtype)
        expect("add_to", add_to, g.weight_shape, add_to.dtype)
        if not n:
            return
        if not add_to.flags.carray:
            with InPlace(contiguous, add_to) as (sums,):
                self.conv2d_weight_grad(x, dy, geometry, add_to=sums)
            return
        plan = self.plan("conv2d_weight_grad", g, n, add_to.dtype)
        match plan:
            case DensePlan():
                self.matmul(x.reshape(n, -1), dy.reshape(n, g.K), transpose_a=True, add_to=add_to.reshape(-1, g.K))
            case SplitPlan(one):
                for group, sums in enumerate(self._slices(add_to, g.groups)):
                    image, outputs = self._slice(x, group, one.C), self._slice(dy, group, one.K)
                    self.conv2d_weight_grad(image, outputs, one, add_to=sums)
                    self._put_slice(add_to, group, sums)
            case WinogradGroupsPlan():
                self._convolve_group_weights(x, dy, add_to, plan)
            case DepthwiseWeightsPlan():
                self._sum_depthwise(x, dy, add_to, plan)
            case GroupWeightsPlan():
                self._correlate_group_weights(x, dy, add_to, plan)
            case PileWeightsPlan():
                self._correlate_pile_weights(x, dy, add_to, plan)
            case WeightTilesPlan():
                self._correlate_weight_tiles(x, dy, add_to, plan)
            case WinogradPlan():
                self._convolve_weights(x, dy, add_to, plan)
            case WeightsPlan(turned=None):
                self._correlate_weights(x, dy, add_to, plan)
            case WeightsPlan():
                dw = self.empty((g.R, g.S, g.K, g.C), add_to.dtype)
                dw.fill(0)
                self._correlate_weights(dy, x, dw, plan)
                add_to += dw[::-1, ::-1].transpose(0, 1, 3, 2)

    def algorithm(self, kernel: str, geometry: ConvGeometry, images: int, dtype: np.dtype[Any]) -> str:
        return self.plan(kernel, geometry, images, dtype).name

    def reason(self, kernel: str, geometry: ConvGeometry, images: int, dtype: np.dtype[Any]) -> str:
        return self.plan(kernel, geometry, images, dtype).reason

    def plan(self, kernel: str, g: ConvGeometry, images: int, dtype: np.dtype[Any], *, packed: bool = False) -> Plan:
        """The plan by which this backend computes one of the three kernels.

        Args:
            packed: weights are packed only once, and then used again and again.
        """
        processor = self.processor(dtype, images * g.flops // 2)
        return choose(kernel, g, images, processor, exact=self.exact, unit=self.unit, packed=packed)

    def _run_winograd(self, kernel: Callable[..., None], plan: WinogradPlan, *arguments: Any) -> None:
        scratch = self.workspace.take("winograd", plan.threads * plan.grid.scratch_size, FLOAT32)
        flattened = (flat_bits(each) if isinstance(each, np.ndarray) else each for each in arguments)
        self.team.run(kernel, plan.scheme, *flattened, plan.grid, scratch, parts=plan.threads)

    def _convolve_weights(self, x: Array, dy: Array, dw: Array, plan: WinogradPlan) -> None:
        others = plan.threads - 1 if plan.grid.split == BY_IMAGES else 0
        sums = self.empty((others, dw.size), dw.dtype)
        self._run_winograd(convolve_weights, plan, x, dy, dw, sums)
        for each in sums:
            dw += each.reshape(dw.shape)

    def _correlate_tiles(
        self, x: Array, packed: Array, b: Array | None, slope: float, dtype: np.dtype[Any], plan: TilesPlan
    ) -> Array:
        grid, tiling = plan.grid, plan.tiling
        y = self._images(grid, x.dtype)
        self.team.run(
            correlate_tiles,
            plan.unit,
            TILES,
            flat_bits(x),
            packed,
            self.padded_bias(b, -(-grid.target_channels // SIDE) * SIDE, dtype),
            dtype.type(slope),
            flat_bits(y),
            plan.table,
            grid,
            tiling,
            plan.lines,
            plan.targets,
            self._scratch("tiles", plan.threads, plan.scratch_size, packed.dtype),
            parts=plan.threads,
        )
        return y

    def _correlate_weight_tiles(self, x: Array, dy: Array, dw: Array, plan: WeightTilesPlan) -> None:
        packed = self.workspace.take("packed uint16", plan.packed_size, np.dtype(np.uint16))
        self.team.run(pair_images, plan.unit, flat_bits(dy), packed, plan.tiling, parts=self.parts(dy.size))
        self.team.run(
            correlate_weight_tiles,
            plan.unit,
            Unit(plan.unit.name, 1),
            TILES,
            flat_bits(x),
            packed,
            flat(dw),
            plan.tiling,
            plan.windows,
            self._scratch("tiles", plan.threads, plan.scratch_size, packed.dtype),
            parts=plan.threads,
        )

    def _packed(self, w: Array, shape: tuple[int, int], matrix: Callable[[], Array]) -> Array:
        """Packs the weights, as a matrix (depth, width), into strips."""
        (depth, width), columns = shape, tile_columns(w.itemsize)

        def fill(packed: Array) -> None:
            self.team.run(pack, flat(matrix()), packed, depth, width, columns, parts=self.parts(depth * width))

        return self._once(w, ("strips", *shape), depth * -(-width // columns) * columns, w.dtype, fill)

    def _packed_phases(self, w: Array, g: ConvGeometry, plan: PhasesPlan) -> Array:
        """Packs the taps of each phase, transposed, into strips."""

        def pack_phase(packed: Array, taps: Array, parts: int) -> None:
            self.team.run(pack_transposed, flat(w), packed, taps, g.K, g.C, plan.grid.columns, parts=parts)

        return self._packed_taps(w, ("phases", g), w.dtype, plan, g.K * g.C, pack_phase)

    def _packed_tiles(self, w: Array, g: ConvGeometry, plan: TilesPlan) -> Array:
        """Packs the taps of each phase into tiles of bfloat16 numbers."""
        channels, filters = (plan.grid.target_channels, plan.grid.channels)[:: 1 if plan.transposed else -1]
        block, transposed = plan.tiling.packed, plan.transposed

        def pack_phase(packed: Array, taps: Array, parts: int) -> None:
            unit = plan.unit
            self.team.run(pack_taps, unit, flat(w), packed, taps, channels, filters, block, transposed, parts=parts)

        kind = ("tiles", g, plan.unit, transposed, block)
        return self._packed_taps(w, kind, np.dtype(np.uint16), plan, channels * filters, pack_phase)

    def _packed_taps(
        self,
        w: Array,
        kind: Hashable,
        dtype: np.dtype[Any],
        plan: PhasesPlan | TilesPlan,
        numbers: int,
        pack_phase: Callable[[Array, Array, int], None],
    ) -> Array:
        """Packs the weights phase by phase.

        Args:
            numbers: of one tap.
            pack_phase: packs a phase: (memory from its beginning on, its taps, the number of parts).
        """

        def fill(packed: Array) -> None:
            for line, taps in zip(plan.table, plan.taps, strict=True):
                if len(taps):
                    pack_phase(packed[line[-1] :], taps, self.parts(len(taps) * numbers))

        return self._once(w, kind, plan.packed_size, dtype, fill)

    def _correlate(self, x: Array, packed: Array, b: Array | None, slope: float, plan: PhasesPlan) -> Array:
        grid, dtype = plan.grid, packed.dtype
        y = self._images(grid, x.dtype)
        self.team.run(
            correlate,
            flat(self.cast(x, dtype)),
            packed,
            self.padded_bias(b, -(-grid.target_channels // grid.columns) * grid.columns, dtype),
            dtype.type(slope),
            flat_bits(y),
            plan.table,
            grid,
            self._scratch("images", plan.threads, plan.scratch_size, dtype),
            parts=plan.threads,
        )
        return y

    def _correlate_weights(self, x: Array, dy: Array, dw: Array, plan: WeightsPlan) -> None:
        # bfloat16 numbers are widened when they are packed, so they are not read in place.
        grid = plan.grid._replace(in_place=0) if is_bfloat16(dy) else plan.grid
        self.team.run(
            correlate_weights,
            flat(self.cast(x, dw.dtype)),
            flat_bits(dy),
            flat(dw),
            grid,
            self._scratch("images", plan.threads, plan.image_scratch, dw.dtype),
            self._scratch("panels", plan.threads, plan.panel_scratch, dw.dtype),
            parts=plan.threads,
        )

    def _overlap_add(self, x: Array, packed: Array, b: Array | None, slope: float, plan: OverlapPlan) -> Array:
        grid, dtype = plan.grid, packed.dtype
        y = self._images(grid, x.dtype)
        self.team.run(
            overlap_add,
            flat_bits(x),
            packed,
            self.padded_bias(b, grid.target_width * grid.target_channels + grid.columns, dtype),
            dtype.type(slope),
            flat_bits(y),
            grid,
            self._scratch("images", plan.threads, plan.scratch_size, dtype),
            self._scratch("pixels", plan.threads, plan.pixels_size if is_bfloat16(x) else 0, dtype),
            parts=plan.threads,
        )
        return y

    def _sum_overlaps(self, dy: Array, w: Array, b: Array | None, plan: InPlacePlan) -> Array:
        grid, wide = plan.grid, self.cast(dy, w.dtype)
        products = self.matmul(wide.reshape(-1, grid.channels), w.reshape(-1, grid.channels), transpose_b=True)
        dx = self._images(grid, dy.dtype)
        start = self.padded_bias(b, grid.target_width * grid.target_channels + grid.columns, w.dtype)
        self.team.run(sum_overlaps, flat(products), start, flat_bits(dx), grid, parts=plan.threads)
        return dx


def expect_activations(name: str, array: Array, shape: Shape, dtype: np.dtype[Any]) -> None:
    """`expect` for activations, which may also be bfloat16 where parameters are float32."""
    expect(name, array, shape, array.dtype if is_bfloat16(array) and dtype == np.float32 else dtype)
