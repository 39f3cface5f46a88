"""Scales of each image's channels, one image after the other; a gradient and its sums are one pass over memory."""

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.cpu.engine import Engine, contiguous
from minigan.backends.cpu.jit import kernel

ROWS = 64  # pixels that are summed in x's own precision, before double precision adds them to the others


@kernel
def scale_pixels(part, parts, x, s, y):
    """y = s x for the part's images; x (N, pixels, C), s (N, C)."""
    images, pixels, channels = x.shape
    for n in range(images * part // parts, images * (part + 1) // parts):
        factors = s[n]
        for i in range(pixels):
            row, to = x[n, i], y[n, i]
            for c in range(channels):
                to[c] = row[c] * factors[c]


@kernel
def scale_and_sum(part, parts, dy, x, s, dx, ds):
    """dx = s dy and ds = the sums of dy x for the part's images; with an empty dx the sums alone."""
    images, pixels, channels = x.shape
    totals, here = np.empty(channels), np.empty(channels, x.dtype)
    zero = x.dtype.type(0)
    for n in range(images * part // parts, images * (part + 1) // parts):
        factors = s[n]
        totals[:] = 0
        for first in range(0, pixels, ROWS):
            here[:] = zero
            for i in range(first, min(first + ROWS, pixels)):
                grad, row = dy[n, i], x[n, i]
                for c in range(channels):
                    here[c] += grad[c] * row[c]
                if len(dx):
                    to = dx[n, i]
                    for c in range(channels):
                        to[c] = grad[c] * factors[c]
            for c in range(channels):
                totals[c] += here[c]
        for c in range(channels):
            ds[n, c] = totals[c]


class ModulationKernels(Engine):
    """Overrides of `reference.modulation.ModulationKernels`."""

    def scale_channels(self, x: Array, s: Array) -> Array:
        expect("s", s, (len(x), x.shape[-1]), x.dtype)
        y = self.empty(x.shape, x.dtype)
        self.team.run(scale_pixels, pixels_of(x), contiguous(s), pixels_of(y), parts=self.parts(x.size))
        return y

    def scale_channels_grad(self, dy: Array, x: Array, s: Array, *, need_dx: bool = True) -> tuple[Array | None, Array]:
        expect("dy", dy, x.shape, x.dtype)
        expect("s", s, (len(x), x.shape[-1]), x.dtype)
        dx, ds = self.empty(x.shape if need_dx else (0, *x.shape[1:]), x.dtype), self.empty(s.shape, x.dtype)
        self.team.run(
            scale_and_sum,
            pixels_of(dy),
            pixels_of(x),
            contiguous(s),
            dx.reshape(len(dx), -1, x.shape[-1]) if need_dx else dx.reshape(0, 1, x.shape[-1]),
            ds,
            parts=self.parts(x.size),
        )
        return dx if need_dx else None, ds


def pixels_of(x: Array) -> Array:
    """(N, H, W, C) as (N, pixels, C)."""
    return contiguous(x).reshape(len(x), -1, x.shape[-1])
