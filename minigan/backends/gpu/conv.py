"""The convolution family as implicit matrix products: conv.cu.

A layer whose filter covers the whole image is a dense layer, and a dense layer is a convolution of images of one pixel.
So all matrix products of a network are these three kernels. Groups of many channels are a product each, in one launch;
groups of few channels have kernels of their own, see `groups.py`.
"""

from typing import Any, NamedTuple

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.geometry import ConvGeometry
from minigan.backends.gpu.groups import GroupKernels
from minigan.backends.gpu.groups_plan import is_narrow, one_group
from minigan.backends.gpu.launch import THREADS, aligned, contiguous, vector_of
from minigan.backends.gpu.plan import THIN, Kernel, ProductPlan, dense, folded, is_thin, plan_product
from minigan.backends.reference.fused import FusedKernels
from minigan.backends.workspace import InPlace

ONE_BY_ONE = (("VECTOR", 1), ("WIDE", 0))


class Finish(NamedTuple):
    """The operations on a product's sums before they are written.

    Attributes:
        bias: repeated along the columns.
        slope: of a LeakyReLU after the bias; 1 for none.
        add: to what is in the result.
    """

    bias: Array | None = None
    slope: float = 1.0
    add: bool = False


class ConvKernels(GroupKernels, FusedKernels):
    """Overrides of `reference.conv.ConvKernels`, on which `dense.py` builds."""

    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry) -> Array:
        return self.conv2d_leaky_relu(x, w, b, geometry, slope=1.0)

    def conv2d_leaky_relu(self, x: Array, w: Array, b: Array | None, geometry: ConvGeometry, *, slope: float) -> Array:
        expect("x", x, (len(x), *geometry.input_shape), w.dtype)
        expect("w", w, geometry.weight_shape, x.dtype)
        if is_narrow(geometry):
            return self.narrow_conv2d(x, w, b, geometry, slope)
        y = self.empty((len(x), *geometry.output_shape), x.dtype)
        if len(x):  # CUDA launches no empty grid
            self.product("conv2d", x, w, y, folded(geometry), len(x), Finish(b, slope))
        return y

    def conv2d_input_grad(self, dy: Array, w: Array, geometry: ConvGeometry, *, b: Array | None = None) -> Array:
        expect("dy", dy, (len(dy), *geometry.output_shape), w.dtype)
        expect("w", w, geometry.weight_shape, dy.dtype)
        if is_narrow(geometry):
            return self.narrow_input_grad(dy, w, b, geometry)
        g, n = folded(geometry), len(dy)
        dx = self.empty((n, *geometry.input_shape), dy.dtype)
        if not n:
            return dx
        if is_thin(g, n):
            self._sum_overlaps(dy, w, b, g, dx)
        else:
            self.product("conv2d_input_grad", dy, w, dx, g, n, Finish(b))
        return dx

    def conv2d_weight_grad(self, x: Array, dy: Array, geometry: ConvGeometry, *, add_to: Array) -> None:
        expect("x", x, (len(x), *geometry.input_shape), add_to.dtype)
        expect("dy", dy, (len(x), *geometry.output_shape), x.dtype)
        expect("add_to", add_to, geometry.weight_shape, x.dtype)
        if not len(x):
            return
        with InPlace(contiguous, add_to) as (sums,):
            if is_narrow(geometry):
                self._sum_parts(self.narrow_weight_grad_parts(x, dy, geometry), sums, (None, 1, 1.0, 1))
                return
            self.product("conv2d_weight_grad", x, dy, sums, folded(geometry), len(x), Finish(add=True))

    def algorithm(self, kernel: str, geometry: ConvGeometry, images: int, dtype: np.dtype[Any]) -> str:
        narrow = self.narrow_algorithm(kernel, geometry, images, dtype)  # type: ignore[arg-type]  # as below
        if narrow is not None:
            return narrow
        g = folded(geometry)
        if kernel == "conv2d_input_grad" and is_thin(g, images):
            return "overlap-add"
        plan = self._plan(kernel, g, images, dtype, (True, True))  # type: ignore[arg-type]  # one of the three names
        return plan.name() + ("" if g.groups == 1 else f" for each of {g.groups} groups")

    def reason(self, kernel: str, geometry: ConvGeometry, images: int, dtype: np.dtype[Any]) -> str:
        narrow = self.narrow_reason(geometry)
        if narrow is not None:
            return narrow
        g = folded(geometry)
        if kernel == "conv2d_input_grad" and is_thin(g, images):
            return f"an image of at most {THIN} channels would leave a product's columns empty, so windows are added up"
        plan = self._plan(kernel, g, images, dtype, (True, True))  # type: ignore[arg-type]  # one of the three names
        product = "one matrix product" if g.groups == 1 else "one matrix product for each group"
        tile = f"{product} in tiles of {plan.tile.rows}x{plan.tile.columns}"
        return f"{tile}, its depth cut into {plan.splits} parts to occupy the GPU" if plan.splits > 1 else tile

    def product(
        self,
        kernel: Kernel,
        left: Array,
        right: Array,
        result: Array,
        g: ConvGeometry,
        images: int,
        finish: Finish,
        *,
        products: int = 1,
    ) -> None:
        """Launches one of the three kernels.

        Args:
            left, right: x and w; dy and w; or x and dy.
            result: y, dx or dw.
            g: of each product; of a convolution in groups, which are a product each, the whole.
            products: one after the other in each array.
        """
        left, right, dtype = contiguous(left), contiguous(right), left.dtype
        plan = self._plan(kernel, g, images, dtype, (aligned(left, 16), aligned(right, 16)), products)
        each, nexts = one_group(g), next_offsets(kernel, g, (left, right, result), products)
        bias, biases = finish.bias, 1 if finish.bias is None else finish.bias.size
        end = (float(finish.slope), int(finish.add))
        parts = self.empty((plan.splits, result.size), dtype) if plan.splits > 1 else None
        self.launch(
            "conv",
            kernel,
            plan.grid,
            left,
            right,
            *(images, g.H, g.W, each.C, g.P, g.Q, each.K, g.R, g.S, *g.stride, g.padding[0][0], g.padding[1][0]),
            *(g.groups, *map(np.int64, (*nexts, result.size))),
            *(result, bias, -(-biases // g.groups), *end, plan.splits, parts),
            dtype=dtype,
            block=plan.tile.threads,
            shared=plan.shared_bytes(kernel),
            settings=plan.settings,
        )
        if parts is not None:
            self._sum_parts(parts, result, (bias, biases, *end))

    def _sum_parts(self, parts: Array, result: Array, end: tuple[Any, ...]) -> None:
        """The sum of a cut product's parts; `groups` threads share each result where these are few."""
        vector = vector_of(parts, result, together=result.size)
        results, groups = result.size // vector, 1
        while 2 * groups <= min(len(parts), THREADS // 32) and results * groups < THREADS * 8 * self.multiprocessors:
            groups *= 2
        self.launch.elementwise(
            "combine",
            "sum_parts",
            results * groups,
            *(parts, result, np.int64(result.size), len(parts), groups, *end),
            dtype=result.dtype,
            shared=THREADS * vector * result.itemsize,
            settings=(("VECTOR", vector), ("WIDE", int(result.size >= 1 << 32))),
        )

    def _plan(
        self,
        kernel: Kernel,
        g: ConvGeometry,
        images: int,
        dtype: np.dtype[Any],
        straight: tuple[bool, bool],
        products: int = 1,
    ) -> ProductPlan:
        return plan_product(
            kernel,
            one_group(g),
            images,
            products=products * g.groups,
            grouped=g.groups > 1,
            precision=self.precision if dtype == np.float32 else "fp64",
            multiprocessors=self.multiprocessors,
            shared=self.shared_bytes,
            aligned=straight,
        )

    def _sum_overlaps(self, dy: Array, w: Array, b: Array | None, g: ConvGeometry, dx: Array) -> None:
        """dx of few channels: each window's own gradient, then the sum of those that overlap."""
        windows = self.empty((len(dy) * g.P * g.Q, g.R * g.S * g.C), dy.dtype)
        self.product("conv2d_input_grad", dy, w, windows, dense(windows.shape[1], g.K), len(windows), Finish())
        sizes = (len(dx), g.H, g.W, g.C, g.P, g.Q, g.R, g.S, *g.stride, g.padding[0][0], g.padding[1][0])
        self.launch(
            "combine",
            "sum_overlaps",
            (-(-dx.size // (g.C * THREADS)),),
            windows,
            *sizes,
            dx,
            b,
            dtype=dx.dtype,
            settings=ONE_BY_ONE,
        )


def next_offsets(kernel: Kernel, g: ConvGeometry, arrays: tuple[Array, Array, Array], products: int) -> tuple[int, ...]:
    """The numbers of left, right and result between one product and the next; groups lie side by side."""
    if g.groups == 1:
        return tuple(array.size // products for array in arrays)
    deep, wide = g.C // g.groups, g.K // g.groups
    return (wide, wide, deep) if kernel == "conv2d_input_grad" else (deep, wide, wide)
