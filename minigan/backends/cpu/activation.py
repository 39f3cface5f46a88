"""Activations: one pass over memory each, shared out among threads when the array is large."""

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.cpu.bfloat16 import flat_bits, takes_bfloat16
from minigan.backends.cpu.engine import Engine, flat
from minigan.backends.cpu.halves import arithmetic, load, store
from minigan.backends.cpu.jit import kernel

# log 2 in two parts: the first with so few digits that an integer times it is exact.
LOG2_HIGH, LOG2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10

# Numbers of a plain pass in the time that an exponential takes.
NUMBERS_PER_EXPONENTIAL = 6


@kernel(inline=True)
def weakened(t, slope):
    """slope * t, but 0 where that is 0 times infinity: a ReLU's output and gradient left of its kink."""
    product = slope * t
    if slope != 0:  # decided once for a loop, which then has vectors
        return product
    return product if product == product or t != t else slope - slope


@kernel
def leaky(part, parts, x, slope, y):
    first, last = len(x) * part // parts, len(x) * (part + 1) // parts
    x, y = x[first:last], y[first:last]
    for i in range(len(x)):
        t = load(x, i)
        store(y, i, t if t > 0 else weakened(t, slope))


@kernel
def leaky_gradient(part, parts, dy, y, slope, dx):
    first, last = len(y) * part // parts, len(y) * (part + 1) // parts
    dy, y, dx = dy[first:last], y[first:last], dx[first:last]
    for i in range(len(y)):
        t = load(dy, i)
        store(dx, i, t if load(y, i) > 0 else weakened(t, slope))


@kernel
def tanh_gradient(part, parts, dy, y, dx):
    first, last = len(y) * part // parts, len(y) * (part + 1) // parts
    dy, y, dx = dy[first:last], y[first:last], dx[first:last]
    one = arithmetic(y)(1)
    for i in range(len(y)):
        t = load(y, i)
        store(dx, i, load(dy, i) * (one - t * t))


@kernel
def sigmoid_gradient(part, parts, dy, y, dx):
    first, last = len(y) * part // parts, len(y) * (part + 1) // parts
    dy, y, dx = dy[first:last], y[first:last], dx[first:last]
    one = arithmetic(y)(1)
    for i in range(len(y)):
        t = load(y, i)
        store(dx, i, load(dy, i) * t * (one - t))


def tanh(part: int, parts: int, x: Array, y: Array) -> None:
    # NumPy's own loops: vectorized, correct to the last bits, and without the interpreter lock. Numba would call
    # the C library once a number.
    here = slice(len(x) * part // parts, len(x) * (part + 1) // parts)
    np.tanh(x[here], out=y[here])


@kernel(inline=True)
def exp_of_negative(t):
    """exp(t) for t <= 0, NaN for NaN, in double precision and without branches, so that loops around it vectorize.

    Only for `ordered` kernels: r must be rounded as written.

    With n the integer next to t / log 2 and r = t - n log 2, it is 2^n exp(r). The series of exp(r) to r^12 is right to
    the last bit or two for |r| <= log(2) / 2.
    """
    n = np.floor(t * 1.4426950408889634 + 0.5)
    r = t - n * LOG2_HIGH - n * LOG2_LOW
    total = 1 / 479001600
    total = total * r + 1 / 39916800
    total = total * r + 1 / 3628800
    total = total * r + 1 / 362880
    total = total * r + 1 / 40320
    total = total * r + 1 / 5040
    total = total * r + 1 / 720
    total = total * r + 1 / 120
    total = total * r + 1 / 24
    total = total * r + 1 / 6
    total = total * r + 0.5
    total = total * r + 1
    total = total * r + 1
    # Added to 1.5 * 2^52, an integer stands in the lowest bits; moved to the exponent's place it is a power of two.
    bits = np.float64(n + 6755399441055744.0).view(np.int64)
    power = np.int64((bits + 1023) << 52).view(np.float64)
    return 0.0 if t < -708 else total * power  # below, 2^n would not be a normal number


@kernel(ordered=True)
def sigmoid(part, parts, x, y):
    first, last = len(x) * part // parts, len(x) * (part + 1) // parts
    x, y = x[first:last], y[first:last]
    for i in range(len(x)):
        t = np.float64(load(x, i))
        e = exp_of_negative(-abs(t))
        store(y, i, (1.0 if t >= 0 else e) / (1.0 + e))


@kernel
def largest(part, parts, x, y):
    """y[n,k] = the largest of x[n,:,k]; x (N, pieces, K)."""
    for n in range(len(x) * part // parts, len(x) * (part + 1) // parts):
        best, first = y[n], x[n, 0]
        for k in range(len(best)):  # Numba compiles a loop in a tenth of the time that it takes for `best[:] = first`
            best[k] = first[k]
        for p in range(1, x.shape[1]):
            piece = x[n, p]
            for k in range(len(best)):
                best[k] = piece[k] if piece[k] > best[k] or piece[k] != piece[k] else best[k]


@kernel
def largest_gradient(part, parts, dy, x, y, dx):
    """dx[n,p,k] = dy[n,k] at the first p where x[n,p,k] >= y[n,k], 0 elsewhere."""
    zero = dy.dtype.type(0)
    rest = np.empty(dy.shape[1], dy.dtype)  # what nobody took yet
    for n in range(len(x) * part // parts, len(x) * (part + 1) // parts):
        best, cotangents = y[n], dy[n]
        for k in range(len(best)):
            rest[k] = cotangents[k]
        for p in range(x.shape[1]):
            piece, to = x[n, p], dx[n, p]
            for k in range(len(best)):
                hit = piece[k] >= best[k]
                to[k] = rest[k] if hit else zero
                rest[k] = zero if hit else rest[k]


class ActivationKernels(Engine):
    """Overrides of `reference.activation.ActivationKernels`."""

    @takes_bfloat16
    def leaky_relu(self, x: Array, *, slope: float) -> Array:
        y = self.empty(x.shape, x.dtype)
        rows = flat_bits(x)
        self.team.run(leaky, rows, arithmetic(rows)(slope), flat_bits(y), parts=self.parts(x.size))
        return y

    @takes_bfloat16
    def leaky_relu_grad(self, dy: Array, y: Array, *, slope: float) -> Array:
        expect("dy", dy, y.shape, y.dtype)
        dx = self.empty(dy.shape, dy.dtype)
        rows = flat_bits(y)
        slope = arithmetic(rows)(slope)
        self.team.run(leaky_gradient, flat_bits(dy), rows, slope, flat_bits(dx), parts=self.parts(y.size))
        return dx

    def tanh(self, x: Array) -> Array:
        y = self.empty(x.shape, x.dtype)
        self.team.run(tanh, flat(x), flat(y), parts=self.parts(NUMBERS_PER_EXPONENTIAL * x.size))
        return y

    @takes_bfloat16
    def tanh_grad(self, dy: Array, y: Array) -> Array:
        expect("dy", dy, y.shape, y.dtype)
        dx = self.empty(dy.shape, dy.dtype)
        self.team.run(tanh_gradient, flat_bits(dy), flat_bits(y), flat_bits(dx), parts=self.parts(y.size))
        return dx

    @takes_bfloat16
    def sigmoid(self, x: Array) -> Array:
        y = self.empty(x.shape, x.dtype)
        self.team.run(sigmoid, flat_bits(x), flat_bits(y), parts=self.parts(NUMBERS_PER_EXPONENTIAL * x.size))
        return y

    @takes_bfloat16
    def sigmoid_grad(self, dy: Array, y: Array) -> Array:
        expect("dy", dy, y.shape, y.dtype)
        dx = self.empty(dy.shape, dy.dtype)
        self.team.run(sigmoid_gradient, flat_bits(dy), flat_bits(y), flat_bits(dx), parts=self.parts(y.size))
        return dx

    def maxout(self, x: Array, *, pieces: int) -> Array:
        y = self.empty((*x.shape[:-1], x.shape[-1] // pieces), x.dtype)
        self.team.run(largest, grouped(x, pieces), y.reshape(-1, y.shape[-1]), parts=self.parts(x.size))
        return y

    def maxout_grad(self, dy: Array, x: Array, y: Array, *, pieces: int) -> Array:
        expect("y", y, (*x.shape[:-1], x.shape[-1] // pieces), x.dtype)
        expect("dy", dy, y.shape, y.dtype)
        dx = self.empty(x.shape, x.dtype)
        rows, K = -1, y.shape[-1]
        self.team.run(
            largest_gradient,
            flat(dy).reshape(rows, K),
            grouped(x, pieces),
            flat(y).reshape(rows, K),
            dx.reshape(rows, pieces, K),
            parts=self.parts(x.size),
        )
        return dx


def grouped(x: Array, pieces: int) -> Array:
    """(..., pieces * K) as (rows, pieces, K)."""
    return flat(x).reshape(-1, pieces, x.shape[-1] // pieces)
