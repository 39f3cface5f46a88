"""Optimiser steps in one pass over the flat arrays."""

import math

from minigan.backends.base import Array
from minigan.backends.cpu.engine import Engine, expect
from minigan.backends.cpu.jit import kernel


@kernel
def adam(part, parts, w, dw, m, v, rate, beta1, rest1, beta2, rest2, correction2, eps):
    first, last = len(w) * part // parts, len(w) * (part + 1) // parts
    w, dw, m, v = w[first:last], dw[first:last], m[first:last], v[first:last]
    for i in range(len(w)):
        m[i] = beta1 * m[i] + rest1 * dw[i]
        v[i] = beta2 * v[i] + rest2 * dw[i] * dw[i]
        w[i] -= rate * m[i] / (math.sqrt(v[i] * correction2) + eps)


@kernel
def sgd(part, parts, w, dw, velocity, lr, momentum):
    first, last = len(w) * part // parts, len(w) * (part + 1) // parts
    w, dw, velocity = w[first:last], dw[first:last], velocity[first:last]
    for i in range(len(w)):
        velocity[i] = momentum * velocity[i] + dw[i]
        w[i] -= lr * velocity[i]


class OptimKernels(Engine):
    """Overrides of `reference.optim.OptimKernels`."""

    def adam_step(
        self,
        w: Array,
        dw: Array,
        m: Array,
        v: Array,
        *,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        step: int,
    ) -> None:
        for name, array in (("dw", dw), ("m", m), ("v", v)):
            expect(name, array, w.shape, w.dtype)
        # Numbers of the arrays' own type: a Python float would turn the whole loop to double precision.
        number = w.dtype.type
        self.team.run(
            adam,
            w,
            dw,
            m,
            v,
            number(lr / (1 - beta1**step)),
            number(beta1),
            number(1 - beta1),
            number(beta2),
            number(1 - beta2),
            number(1 / (1 - beta2**step)),
            number(eps),
            parts=self.parts(w.size),
        )

    def sgd_step(self, w: Array, dw: Array, velocity: Array, *, lr: float, momentum: float) -> None:
        for name, array in (("dw", dw), ("velocity", velocity)):
            expect(name, array, w.shape, w.dtype)
        number = w.dtype.type
        self.team.run(sgd, w, dw, velocity, number(lr), number(momentum), parts=self.parts(w.size))
