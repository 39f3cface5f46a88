"""Convolutions in groups: one method for each of their plans, for `conv.py`, which asks `plan.py` for one."""

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np

from minigan.backends.base import Array
from minigan.backends.constants import Held
from minigan.backends.cpu.bfloat16 import FLOAT32, NarrowArrays, flat_bits
from minigan.backends.cpu.dense import DenseKernels
from minigan.backends.cpu.depthwise import correlate_depthwise, put_depthwise, sum_depthwise
from minigan.backends.cpu.depthwise_plan import DepthwisePlan, DepthwiseWeightsPlan
from minigan.backends.cpu.engine import flat
from minigan.backends.cpu.groups import copy_channels, correlate_group_weights, correlate_groups, pack_groups
from minigan.backends.cpu.groups_plan import GroupsPlan, GroupWeightsPlan
from minigan.backends.cpu.image_lanes import correlate_pile_weights, correlate_piles
from minigan.backends.cpu.image_lanes_plan import PileImagesPlan, PileWeightsPlan
from minigan.backends.cpu.overlap_plan import OverlapGrid
from minigan.backends.cpu.phases_plan import Grid
from minigan.backends.cpu.simd import TILE_ROWS, VECTOR_BYTES, vector_lanes
from minigan.backends.cpu.winograd_groups import convolve_groups, put_group_weights, sum_group_weights
from minigan.backends.cpu.winograd_groups_plan import WinogradGroupsPlan
from minigan.backends.geometry import ConvGeometry


class GroupConvKernels(DenseKernels, NarrowArrays):
    """Memory for packed weights and for results, and the kernels of plans in groups."""

    held: Held

    def _once(self, w: Array, kind: Hashable, size: int, dtype: np.dtype[Any], fill: Callable[[Array], None]) -> Array:
        """The weights packed by `fill`: into scratch, or if they are constants into memory that stays with them."""

        def filled(packed: Array) -> Array:
            fill(packed)
            return packed

        if w in self.held.constants:
            return self.held.constants.form(w, kind, lambda: filled(self.zeros(size, dtype)))
        return filled(self.workspace.take(f"packed {dtype}", size, dtype))

    def _images(self, grid: Grid | OverlapGrid, dtype: np.dtype[Any]) -> Array:
        """Memory for the images that a pass computes."""
        return self.empty((grid.images, grid.target_height, grid.target_width, grid.target_channels), dtype)

    def _slice(self, array: Array, group: int, width: int) -> Array:
        """The channels of a group, in memory of their own."""
        own, channels = self.empty((*array.shape[:-1], width), array.dtype), array.shape[-1]
        places = (group * width, channels, flat_bits(own), 0, width, width, own.size // width)
        self.team.run(copy_channels, flat_bits(array), *places, parts=self.parts(own.size))
        return own

    def _slices(self, w: Array, groups: int) -> Iterator[Array]:
        """The weights of each group in turn."""
        return (self._slice(w, group, w.shape[-1] // groups) for group in range(groups))

    def _put_slice(self, array: Array, group: int, own: Array) -> None:
        """Writes a group's channels into an array that has those of all."""
        width, channels = own.shape[-1], array.shape[-1]
        places = (0, width, flat_bits(array), group * width, channels, width, own.size // width)
        self.team.run(copy_channels, flat_bits(own), *places, parts=self.parts(own.size))

    def _packed_groups(
        self,
        w: Array,
        g: ConvGeometry,
        plan: DepthwisePlan | GroupsPlan | PileImagesPlan,
        depth: int,
        columns: int,
    ) -> Array:
        """Packs the weights of each strip of outputs, so many channels of each tap."""
        size = len(plan.weights) * len(plan.taps) * depth * columns

        def fill(packed: Array) -> None:
            lanes = vector_lanes(w.itemsize)
            places = (plan.taps, depth, plan.weights, plan.weight_step, plan.tap_size, columns, lanes)
            self.team.run(pack_groups, flat(w), packed, *places, parts=self.parts(size))

        return self._once(w, (plan.name, g, plan.weight_step), size, w.dtype, fill)

    def _convolve_groups(self, x: Array, w: Array, b: Array | None, slope: float, plan: WinogradGroupsPlan) -> Array:
        grid = plan.grid
        y = self.empty((grid.images, grid.rows_out, grid.columns_out, grid.channels_out), x.dtype)
        self.team.run(
            convolve_groups,
            plan.scheme,
            plan.kind,
            flat_bits(x),
            flat(w),
            plan.weights,
            plan.taps,
            (plan.weight_step, plan.tap_size),
            self.padded_bias(b, grid.channels_out, w.dtype),
            w.dtype.type(slope),
            flat_bits(y),
            grid,
            plan.depth,
            plan.blocks,
            self.workspace.take("winograd", plan.threads * grid.scratch_size, FLOAT32),
            parts=plan.threads,
        )
        return y

    def _convolve_group_weights(self, x: Array, dy: Array, dw: Array, plan: WinogradGroupsPlan) -> None:
        grid, strips = plan.grid, len(plan.weights)
        rows = -(-plan.depth // TILE_ROWS) * TILE_ROWS
        size = strips * plan.shares * grid.points * rows * grid.columns
        sums = self.workspace.take("packed float32", size, FLOAT32)
        self.team.run(
            sum_group_weights,
            plan.scheme,
            plan.kind,
            flat_bits(x),
            flat_bits(dy),
            sums,
            grid,
            plan.depth,
            plan.blocks,
            plan.shares,
            self.workspace.take("winograd", plan.threads * grid.scratch_size, FLOAT32),
            parts=plan.threads,
        )
        parts = min(plan.threads, strips)
        self.team.run(put_group_weights, plan.scheme, sums, flat(dw), grid, plan.depth, plan.shares, parts=parts)

    def _correlate_depthwise(
        self, x: Array, w: Array, b: Array | None, slope: float, g: ConvGeometry, plan: DepthwisePlan
    ) -> Array:
        grid, dtype, columns = plan.grid, w.dtype, plan.grid.columns
        packed = self._packed_groups(w, g, plan, 1, columns)
        y = self._images(grid, x.dtype)
        self.team.run(
            correlate_depthwise,
            plan.window,
            flat(self.cast(x, dtype)),
            packed,
            self.padded_bias(b, len(plan.weights) * columns, dtype),
            dtype.type(slope),
            flat_bits(y),
            plan.table,
            grid,
            plan.window.columns,
            int(plan.streams and is_aligned(y)),
            parts=plan.threads,
        )
        return y

    def _sum_depthwise(self, x: Array, dy: Array, dw: Array, plan: DepthwiseWeightsPlan) -> None:
        grid, dtype = plan.grid, dw.dtype
        size = plan.shares * grid.taps_down * grid.taps_across * plan.row
        sums = self.workspace.take(f"packed {dtype}", size, dtype)
        self.team.run(
            sum_depthwise,
            plan.window,
            flat(self.cast(x, dtype)),
            flat(self.cast(dy, dtype)),
            sums,
            grid,
            plan.window.columns,
            plan.shares,
            plan.row,
            plan.lines,
            parts=plan.threads,
        )
        self.team.run(put_depthwise, sums, flat(dw), plan.shares, plan.row, grid.channels, parts=1)

    def _correlate_groups(
        self, x: Array, w: Array, b: Array | None, slope: float, g: ConvGeometry, plan: GroupsPlan
    ) -> Array:
        grid, dtype, columns = plan.grid, w.dtype, plan.grid.columns
        packed = self._packed_groups(w, g, plan, int(plan.bundles[0, 3]), columns)
        y = self._images(grid, x.dtype)
        self.team.run(
            correlate_groups,
            plan.kind,
            flat(self.cast(x, dtype)),
            packed,
            self.padded_bias(b, grid.target_channels + columns, dtype),
            dtype.type(slope),
            flat_bits(y),
            plan.table,
            grid,
            plan.channels,
            plan.step,
            plan.bundles,
            plan.lanes,
            self._scratch("images", plan.threads, plan.scratch_size, dtype),
            parts=plan.threads,
        )
        return y

    def _correlate_group_weights(self, x: Array, dy: Array, dw: Array, plan: GroupWeightsPlan) -> None:
        self.team.run(
            correlate_group_weights,
            plan.kind,
            flat(self.cast(x, dw.dtype)),
            flat(self.cast(dy, dw.dtype)),
            flat(dw),
            plan.grid,
            plan.step,
            plan.bundles,
            plan.lanes,
            self._scratch("images", plan.threads, plan.image_scratch, dw.dtype),
            self._scratch("panels", plan.threads, plan.panel_scratch, dw.dtype),
            parts=plan.threads,
        )

    def _correlate_piles(
        self, x: Array, w: Array, b: Array | None, slope: float, g: ConvGeometry, plan: PileImagesPlan
    ) -> Array:
        grid, sizes, dtype = plan.grid, plan.sizes, w.dtype
        packed = self._packed_groups(w, g, plan, sizes.depth, sizes.columns)
        y = self.empty((sizes.images, grid.target_height, grid.target_width, grid.target_channels), dtype)
        self.team.run(
            correlate_piles,
            plan.shape,
            flat(self.cast(x, dtype)),
            packed,
            self.padded_bias(b, grid.target_channels + sizes.columns, dtype),
            dtype.type(slope),
            flat(y),
            plan.table,
            grid,
            sizes,
            plan.bundles,
            plan.strips,
            self._scratch("images", plan.threads, plan.scratch_size, dtype),
            self._scratch("pixels", plan.threads, plan.room_size, dtype),
            parts=plan.threads,
        )
        return self.cast(y, x.dtype)

    def _correlate_pile_weights(self, x: Array, dy: Array, dw: Array, plan: PileWeightsPlan) -> None:
        self.team.run(
            correlate_pile_weights,
            plan.shape,
            flat(self.cast(x, dw.dtype)),
            flat(self.cast(dy, dw.dtype)),
            flat(dw),
            plan.grid,
            plan.sizes,
            plan.bundles,
            plan.strips,
            self._scratch("images", plan.threads, plan.image_scratch, dw.dtype),
            self._scratch("panels", plan.threads, plan.panel_scratch, dw.dtype),
            parts=plan.threads,
        )


def is_aligned(array: Array) -> bool:
    """Tells whether an array, of floats and not of halves, begins where a vector may be stored as a whole."""
    return array.dtype.kind == "f" and int(array.ctypes.data) % VECTOR_BYTES == 0
