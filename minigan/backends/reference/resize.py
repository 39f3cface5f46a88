"""Upsampling by repetition, pixels from channels, and padding by reflection."""

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

    def reflect_pad(self, x: Array, *, padding: tuple[IntPair, IntPair]) -> Array:
        for axis, (before, after) in enumerate(padding, start=1):
            x = self.xp.moveaxis(x, axis, 0)
            last = len(x) - 2  # the first that is mirrored at the end
            end = x[last : last - after if last >= after else None : -1] if after else x[:0]
            x = self.xp.moveaxis(self.xp.concatenate([x[before:0:-1], x, end]), 0, axis)
        return self.xp.ascontiguousarray(x)

    def reflect_pad_grad(self, dy: Array, *, padding: tuple[IntPair, IntPair]) -> Array:
        for axis, (before, after) in enumerate(padding, start=1):
            dy = self._folded(self.xp.moveaxis(dy, axis, 0), before, after, axis)
        return self.xp.ascontiguousarray(dy)

    def _folded(self, dy: Array, before: int, after: int, axis: int) -> Array:
        """The gradient of padding along one axis, which lies in front."""
        side = len(dy) - before - after
        dx = dy[before : before + side].copy()
        if before:
            dx[1 : before + 1] += dy[before - 1 :: -1]
        if after:
            dx[side - 1 - after : side - 1] += dy[: side + before - 1 : -1]
        return self.xp.moveaxis(dx, 0, axis)
