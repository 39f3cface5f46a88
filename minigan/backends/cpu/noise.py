"""Noise, a bias and a LeakyReLU: one pass each way, with the sums of the gradients."""

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.cpu.activation import weakened
from minigan.backends.cpu.engine import FLOAT64, Engine, contiguous, flat
from minigan.backends.cpu.jit import kernel

ROWS = 64  # pixels that are summed in dy's own precision, before double precision adds them to the others


@kernel
def add_noise(part, parts, x, n, strength, b, slope, gain, y):
    """y = gain f(x + strength n + b) for the part's pixels; x (pixels, C), n as many or as many as an image has."""
    pixels, channels = x.shape
    factor = strength[0]
    for i in range(pixels * part // parts, pixels * (part + 1) // parts):
        more, row, to = factor * n[i % len(n)], x[i], y[i]
        for c in range(channels):
            t = row[c] + (more + b[c])
            to[c] = gain * (t if t > 0 else weakened(t, slope))


@kernel
def noise_gradients(part, parts, dy, y, n, slope, gain, dx, sums):
    """dx, and the part's sums of dx for each channel and of dx n, in the columns of sums (parts, C + 1)."""
    pixels, channels = y.shape
    first, last = pixels * part // parts, pixels * (part + 1) // parts
    zero, here, totals = y.dtype.type(0), np.empty(channels, y.dtype), sums[part]
    totals[:] = 0
    for start in range(first, last, ROWS):
        here[:] = zero
        by_noise = zero
        for i in range(start, min(start + ROWS, last)):
            grad, row, to, pixel = dy[i], y[i], dx[i], zero
            for c in range(channels):
                t = gain * (grad[c] if row[c] > 0 else weakened(grad[c], slope))
                to[c] = t
                here[c] += t
                pixel += t
            by_noise += pixel * n[i % len(n)]
        for c in range(channels):
            totals[c] += here[c]
        totals[channels] += by_noise


class NoiseKernels(Engine):
    """Overrides of `reference.noise.NoiseKernels`."""

    def noise_leaky_relu(self, x: Array, n: Array, strength: Array, b: Array, *, slope: float, gain: float) -> Array:
        expect("n", n, (len(x) if len(n) > 1 else 1, *x.shape[1:-1], 1), x.dtype)
        expect("strength", strength, (1,), x.dtype)
        expect("b", b, x.shape[-1:], x.dtype)
        y, number = self.empty(x.shape, x.dtype), x.dtype.type
        arrays = (pixels(x), flat(n), contiguous(strength), contiguous(b))
        self.team.run(add_noise, *arrays, number(slope), number(gain), pixels(y), parts=self.parts(x.size))
        return y

    def noise_leaky_relu_grad(
        self, dy: Array, y: Array, n: Array, *, slope: float, gain: float, add_to: tuple[Array, Array] | None
    ) -> Array:
        expect("dy", dy, y.shape, y.dtype)
        expect("n", n, (len(y) if len(n) > 1 else 1, *y.shape[1:-1], 1), y.dtype)
        dx, parts, number = self.empty(y.shape, y.dtype), self.parts(y.size), y.dtype.type
        sums = self.empty((parts, y.shape[-1] + 1), FLOAT64)
        arrays = (pixels(dy), pixels(y), flat(n), number(slope), number(gain))
        self.team.run(noise_gradients, *arrays, pixels(dx), sums, parts=parts)
        if add_to is not None:
            dstrength, db = add_to
            total = sums.sum(axis=0).astype(y.dtype)
            dstrength += total[-1:]
            db += total[:-1]
        return dx


def pixels(x: Array) -> Array:
    """(N, H, W, C) as (pixels, C)."""
    return contiguous(x).reshape(-1, x.shape[-1])
