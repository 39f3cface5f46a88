"""Activations: one pass over memory each, shared out among threads when the array is large."""

import numpy as np

from minigan.backends.base import Array
from minigan.backends.cpu.engine import Engine, flat
from minigan.backends.cpu.jit import kernel

# Numbers that stay in the cache between the passes of a chain of NumPy calls.
CHUNK = 1 << 14


@kernel
def leaky(part, parts, x, slope, y):
    first, last = len(x) * part // parts, len(x) * (part + 1) // parts
    x, y = x[first:last], y[first:last]
    for i in range(len(x)):
        y[i] = x[i] if x[i] > 0 else slope * x[i]


@kernel
def leaky_gradient(part, parts, dy, y, slope, dx):
    first, last = len(y) * part // parts, len(y) * (part + 1) // parts
    dy, y, dx = dy[first:last], y[first:last], dx[first:last]
    for i in range(len(y)):
        dx[i] = dy[i] if y[i] > 0 else slope * dy[i]


@kernel
def tanh_gradient(part, parts, dy, y, dx):
    first, last = len(y) * part // parts, len(y) * (part + 1) // parts
    dy, y, dx = dy[first:last], y[first:last], dx[first:last]
    one = y.dtype.type(1)
    for i in range(len(y)):
        dx[i] = dy[i] * (one - y[i] * y[i])


@kernel
def sigmoid_gradient(part, parts, dy, y, dx):
    first, last = len(y) * part // parts, len(y) * (part + 1) // parts
    dy, y, dx = dy[first:last], y[first:last], dx[first:last]
    one = y.dtype.type(1)
    for i in range(len(y)):
        dx[i] = dy[i] * y[i] * (one - y[i])


def tanh(part: int, parts: int, x: Array, y: Array) -> None:
    # NumPy's own loops: vectorised, correct to the last bits, and without the interpreter lock. Numba would call
    # the C library once a number.
    here = slice(len(x) * part // parts, len(x) * (part + 1) // parts)
    np.tanh(x[here], out=y[here])


def sigmoid(part: int, parts: int, x: Array, y: Array) -> None:
    last = len(x) * (part + 1) // parts
    for first in range(len(x) * part // parts, last, CHUNK):
        here = slice(first, min(first + CHUNK, last))
        e = y[here]
        np.abs(x[here], out=e)
        np.negative(e, out=e)
        np.exp(e, out=e)  # of a negative number only: it never overflows
        e[...] = np.where(x[here] >= 0, 1, e) / (1 + e)


class ActivationKernels(Engine):
    """Overrides of `reference.activation.ActivationKernels`."""

    def leaky_relu(self, x: Array, *, slope: float) -> Array:
        y = self.empty(x.shape, x.dtype)
        self.team.run(leaky, flat(x), x.dtype.type(slope), flat(y), parts=self.parts(x.size))
        return y

    def leaky_relu_grad(self, dy: Array, y: Array, *, slope: float) -> Array:
        dx = self.empty(dy.shape, dy.dtype)
        self.team.run(leaky_gradient, flat(dy), flat(y), y.dtype.type(slope), flat(dx), parts=self.parts(y.size))
        return dx

    def tanh(self, x: Array) -> Array:
        y = self.empty(x.shape, x.dtype)
        self.team.run(tanh, flat(x), flat(y), parts=self.parts(x.size))
        return y

    def tanh_grad(self, dy: Array, y: Array) -> Array:
        dx = self.empty(dy.shape, dy.dtype)
        self.team.run(tanh_gradient, flat(dy), flat(y), flat(dx), parts=self.parts(y.size))
        return dx

    def sigmoid(self, x: Array) -> Array:
        y = self.empty(x.shape, x.dtype)
        self.team.run(sigmoid, flat(x), flat(y), parts=self.parts(x.size))
        return y

    def sigmoid_grad(self, dy: Array, y: Array) -> Array:
        dx = self.empty(dy.shape, dy.dtype)
        self.team.run(sigmoid_gradient, flat(dy), flat(y), flat(dx), parts=self.parts(y.size))
        return dx
