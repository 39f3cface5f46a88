"""Upsampling by repetition, pixels from channels, and padding by reflection: resize.cu."""

from minigan.backends.base import Array, expect
from minigan.backends.geometry import IntPair
from minigan.backends.gpu.engine import Engine
from minigan.backends.gpu.launch import contiguous
from minigan.errors import ShapeError


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

    def reflect_pad(self, x: Array, *, padding: tuple[IntPair, IntPair]) -> Array:
        N, H, W, C = x.shape
        (top, bottom), (left, right) = padding
        y = self.empty((N, H + top + bottom, W + left + right, C), x.dtype)
        sides = (H, W, C, top, bottom, left, right)
        self.vector_pass("resize", "reflect_pad", (contiguous(x), y), *sides, over=y, together=C)
        return y

    def reflect_pad_grad(self, dy: Array, *, padding: tuple[IntPair, IntPair]) -> Array:
        N, tall, wide, C = dy.shape
        (top, bottom), (left, right) = padding
        H, W = tall - top - bottom, wide - left - right
        if min(H - max(top, bottom), W - max(left, right)) < 1:
            raise ShapeError(f"dy: {tall}x{wide} pixels cannot be an image padded by {padding}. Check the padding.")
        dx = self.empty((N, H, W, C), dy.dtype)
        sides = (H, W, C, top, bottom, left, right)
        self.vector_pass("resize", "reflect_pad_grad", (contiguous(dy), dx), *sides, over=dx, together=C)
        return dx
