"""Convolutions in groups of few channels, straight from their sums: groups.cu."""

from typing import Any

import numpy as np

from minigan.backends.base import Array
from minigan.backends.geometry import ConvGeometry
from minigan.backends.gpu.engine import Engine
from minigan.backends.gpu.groups_plan import GroupsPlan, is_narrow, plan_groups
from minigan.backends.gpu.launch import contiguous, vector_of
from minigan.backends.gpu.plan import Kernel


class GroupKernels(Engine):
    """The three kernels of the family for narrow groups, called by `conv.py`."""

    def narrow_conv2d(self, x: Array, w: Array, b: Array | None, g: ConvGeometry, slope: float) -> Array:
        y = self.empty((len(x), *g.output_shape), x.dtype)
        self._sum_taps("conv2d", x, w, g, y, b, float(slope))
        return y

    def narrow_input_grad(self, dy: Array, w: Array, b: Array | None, g: ConvGeometry) -> Array:
        dx = self.empty((len(dy), *g.input_shape), dy.dtype)
        self._sum_taps("conv2d_input_grad", dy, w, g, dx, b)
        return dx

    def narrow_weight_grad_parts(self, x: Array, dy: Array, g: ConvGeometry) -> Array:
        """Parts of dw, (splits, its size): each block's, to be added up."""
        x, dy = contiguous(x), contiguous(dy)
        plan = self.groups_plan("conv2d_weight_grad", g, len(x), x, dy)
        size = g.R * g.S * g.C // g.groups * g.K
        parts = self.empty((plan.splits, size), x.dtype)
        self.launch(
            "groups",
            "grouped_conv2d_weight_grad",
            plan.grid,
            x,
            dy,
            *sizes_of(g, len(x)),
            *(plan.lanes, plan.apart, plan.splits, parts),
            dtype=x.dtype,
            shared=plan.shared_bytes(x.itemsize),
            settings=plan.settings,
        )
        return parts

    def groups_plan(self, kernel: Kernel, g: ConvGeometry, images: int, *arrays: Array) -> GroupsPlan:
        """The layout for arrays that begin where these do."""
        return self._plan_of(kernel, g, images, arrays[0].dtype, vector_of(*arrays, together=0) > 1)

    def narrow_algorithm(self, kernel: Kernel, g: ConvGeometry, images: int, dtype: np.dtype[Any]) -> str | None:
        """A name for what these kernels do; None for a convolution that is not theirs."""
        if not is_narrow(g):
            return None
        plan = self._plan_of(kernel, g, images, dtype, True)
        split = f" in {plan.splits} parts" if plan.splits > 1 else ""
        return f"{'fp64' if dtype == np.float64 else 'fp32'} {'depthwise' if g.groups == g.C else 'direct'}{split}"

    def narrow_reason(self, g: ConvGeometry) -> str | None:
        """Why it is these kernels; None if it is not."""
        if not is_narrow(g):
            return None
        return (
            f"groups of {g.C // g.groups} channels and {g.K // g.groups} filters would leave a product's tiles empty, "
            "so each thread sums some neighbors itself, without rounding a factor"
        )

    def _sum_taps(self, kernel: Kernel, x: Array, w: Array, g: ConvGeometry, y: Array, *finish: Any) -> None:
        x, w = contiguous(x), contiguous(w)
        if not y.size:
            return  # CUDA launches no empty grid
        plan = self.groups_plan(kernel, g, len(x), x, w, y)
        self.launch(
            "groups",
            f"grouped_{kernel}",
            plan.grid,
            x,
            w,
            *sizes_of(g, len(x)),
            *(plan.lanes, plan.apart, y, *finish),
            dtype=x.dtype,
            settings=plan.settings,
        )

    def _plan_of(
        self, kernel: Kernel, g: ConvGeometry, images: int, dtype: np.dtype[Any], aligned: bool
    ) -> GroupsPlan:  # fmt: skip
        wide = 16 // dtype.itemsize
        return plan_groups(kernel, g, images, wide=wide, aligned=aligned, multiprocessors=self.multiprocessors)


def sizes_of(g: ConvGeometry, images: int) -> tuple[int, ...]:
    """GEOMETRY_ARGUMENTS, and the channels and filters of a group."""
    ends = g.padding[0][0], g.padding[1][0], g.C // g.groups, g.K // g.groups
    return (images, g.H, g.W, g.C, g.P, g.Q, g.K, g.R, g.S, *g.stride, *ends)
