"""Noise, a bias and a LeakyReLU, and their gradients, a pass each: noise.cu."""

from typing import Any

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.gpu.columns import DOUBLE, ColumnEngine
from minigan.backends.gpu.launch import THREADS, contiguous


class NoiseKernels(ColumnEngine):
    """Overrides of `reference.noise.NoiseKernels`."""

    def noise_leaky_relu(self, x: Array, n: Array, strength: Array, b: Array, *, slope: float, gain: float) -> Array:
        expect("strength", strength, (1,), x.dtype)
        expect("b", b, x.shape[-1:], x.dtype)
        y = self.empty(x.shape, x.dtype)
        arguments = (*noise_of(n, x), strength, contiguous(b), x.shape[-1], float(slope), float(gain))
        if x.size:
            self.whole_pass("noise", "noise_leaky_relu", (x,), *arguments, examples=1, results=(y,))
        return y

    def noise_leaky_relu_grad(
        self, dy: Array, y: Array, n: Array, *, slope: float, gain: float, add_to: tuple[Array, Array] | None
    ) -> Array:
        expect("dy", dy, y.shape, y.dtype)
        dx, C = self.empty(y.shape, y.dtype), y.shape[-1]
        arguments = (*noise_of(n, y), C, float(slope), float(gain), dx)
        if not y.size:
            return dx
        partials = self.partial_sums("noise", "noise_gradients", (dy, y), *arguments, examples=1, terms=2)
        if add_to is not None:
            expect("add_to", add_to[0], (1,), y.dtype)
            expect("add_to", add_to[1], (C,), y.dtype)
            self.launch(
                "noise",
                "add_noise_gradients",
                (C + 1,),
                *(partials.sums, partials.rows, C, *add_to),
                dtype=y.dtype,
                shared=THREADS * 2 * DOUBLE.itemsize,
                settings=partials.settings,
            )
        return dx


def noise_of(n: Array, x: Array) -> tuple[Any, ...]:
    """The noise, and how many pixels it has: those of all images of x, or of one."""
    expect("n", n, (len(x) if len(n) > 1 else 1, *x.shape[1:-1], 1), x.dtype)
    return contiguous(n), np.int64(n.size)
