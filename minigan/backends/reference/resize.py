"""Upsampling by repetition, and pixels from channels."""

from types import ModuleType

from minigan.backends.base import Array
from minigan.backends.geometry import IntPair


class ResizeKernels:
    xp: ModuleType

    def upsample_nearest(self, x: Array, *, factor: IntPair) -> Array:
        return x.repeat(factor[0], axis=1).repeat(factor[1], axis=2)

    def upsample_nearest_grad(self, dy: Array, *, factor: IntPair) -> Array:
        N, H, W, C = dy.shape
        blocks = dy.reshape(N, H // factor[0], factor[0], W // factor[1], factor[1], C)
        return blocks.sum(axis=(2, 4))

    def depth_to_space(self, x: Array, *, factor: IntPair) -> Array:
        N, H, W, C = x.shape
        y = x.reshape(N, H, W, *factor, C // (factor[0] * factor[1])).transpose(0, 1, 3, 2, 4, 5)
        return self.xp.array(y, order="C").reshape(N, H * factor[0], W * factor[1], -1)

    def space_to_depth(self, y: Array, *, factor: IntPair) -> Array:
        N, H, W, C = y.shape
        H, W = H // factor[0], W // factor[1]
        x = y.reshape(N, H, factor[0], W, factor[1], C).transpose(0, 1, 3, 2, 4, 5)
        return self.xp.array(x, order="C").reshape(N, H, W, -1)
