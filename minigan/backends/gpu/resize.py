"""Upsampling by repetition, and pixels from channels: resize.cu."""

from minigan.backends.base import Array, expect
from minigan.backends.geometry import IntPair
from minigan.backends.gpu.engine import Engine
from minigan.backends.gpu.launch import contiguous


class ResizeKernels(Engine):
    """Overrides of `reference.resize.ResizeKernels`."""

    def upsample_nearest(self, x: Array, *, factor: IntPair) -> Array:
        N, H, W, C = x.shape
        y = self.empty((N, H * factor[0], W * factor[1], C), x.dtype)
        self.vector_pass("resize", "upsample_nearest", (contiguous(x), y), W, C, *factor, over=y, together=C)
        return y

    def upsample_nearest_grad(self, dy: Array, *, factor: IntPair) -> Array:
        N, tall, broad, C = dy.shape
        H, W = tall // factor[0], broad // factor[1]
        expect("dy", dy, (N, H * factor[0], W * factor[1], C), dy.dtype)
        dx = self.empty((N, H, W, C), dy.dtype)
        self.vector_pass("resize", "upsample_nearest_grad", (contiguous(dy), dx), W, C, *factor, over=dx, together=C)
        return dx

    def depth_to_space(self, x: Array, *, factor: IntPair) -> Array:
        N, H, W, deep = x.shape
        C = deep // (factor[0] * factor[1])
        expect("x", x, (N, H, W, factor[0] * factor[1] * C), x.dtype)
        y = self.empty((N, H * factor[0], W * factor[1], C), x.dtype)
        run = factor[1] * C
        self.vector_pass("resize", "depth_to_space", (contiguous(x), y), W, run, factor[0], over=y, together=run)
        return y

    def space_to_depth(self, y: Array, *, factor: IntPair) -> Array:
        N, tall, broad, C = y.shape
        H, W = tall // factor[0], broad // factor[1]
        expect("y", y, (N, H * factor[0], W * factor[1], C), y.dtype)
        x = self.empty((N, H, W, factor[0] * factor[1] * C), y.dtype)
        run = factor[1] * C
        self.vector_pass("resize", "space_to_depth", (contiguous(y), x), W, run, factor[0], over=y, together=run)
        return x
