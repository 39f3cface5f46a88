"""Scales of each image's channels: the two ends of a modulated convolution."""

from types import ModuleType

from minigan.backends.base import Array


class ModulationKernels:
    xp: ModuleType

    def scale_channels(self, x: Array, s: Array) -> Array:
        return x * s[:, None, None]

    def scale_channels_grad(self, dy: Array, x: Array, s: Array, *, need_dx: bool = True) -> tuple[Array | None, Array]:
        dx = dy * s[:, None, None] if need_dx else None
        return dx, (dy * x).sum(axis=(1, 2))
