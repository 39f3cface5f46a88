"""Activations and their derivatives, written with the output y where that suffices."""

from types import ModuleType

import numpy as np

from minigan.backends.base import Array


def sigmoid(x: Array, xp: ModuleType) -> Array:
    """1 / (1 + exp(-x)); of a negative number only is exp taken, so it never overflows."""
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1, e) / (1 + e)


def weakened(t: Array, slope: float, xp: ModuleType) -> Array:
    """slope * t, but 0 where that is 0 times infinity: a ReLU's output and gradient left of its kink."""
    if slope:
        return slope * t
    largest = np.finfo(t.dtype).max
    return slope * xp.clip(t, -largest, largest)  # NaN stays


class ActivationKernels:
    xp: ModuleType

    def leaky_relu(self, x: Array, *, slope: float) -> Array:
        return self.xp.where(x > 0, x, weakened(x, slope, self.xp))

    def leaky_relu_grad(self, dy: Array, y: Array, *, slope: float) -> Array:
        return self.xp.where(y > 0, dy, weakened(dy, slope, self.xp))

    def tanh(self, x: Array) -> Array:
        return self.xp.tanh(x)

    def tanh_grad(self, dy: Array, y: Array) -> Array:
        return dy * (1 - y * y)

    def sigmoid(self, x: Array) -> Array:
        return sigmoid(x, self.xp)

    def sigmoid_grad(self, dy: Array, y: Array) -> Array:
        return dy * y * (1 - y)

    def maxout(self, x: Array, *, pieces: int) -> Array:
        return x.reshape(*x.shape[:-1], pieces, -1).max(axis=-2)

    def maxout_grad(self, dy: Array, x: Array, y: Array, *, pieces: int) -> Array:
        is_largest = x.reshape(*x.shape[:-1], pieces, -1) >= y[..., None, :]
        is_first = is_largest & (is_largest.cumsum(axis=-2) == 1)
        return self.xp.where(is_first, dy[..., None, :], dy.dtype.type(0)).reshape(x.shape)
