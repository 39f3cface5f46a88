"""Optimizer steps, and what else is done to all of a network's numbers, in one pass over the flat arrays.

Every pass gives a thread the same slice, about the one whose gradients it has computed: its part is then in its cache.
"""

import math

import numpy as np

from minigan.backends.base import Array, expect
from minigan.backends.cpu.engine import Engine, contiguous, flat
from minigan.backends.cpu.jit import kernel
from minigan.backends.workspace import InPlace


@kernel
def adam(part, parts, w, dw, m, v, keep, rate, beta1, rest1, beta2, rest2, correction2, eps):
    first, last = len(w) * part // parts, len(w) * (part + 1) // parts
    w, dw, m, v = w[first:last], dw[first:last], m[first:last], v[first:last]
    for i in range(len(w)):
        m[i] = beta1 * m[i] + rest1 * dw[i]
        v[i] = beta2 * v[i] + rest2 * dw[i] * dw[i]
        w[i] = keep * w[i] - rate * m[i] / (math.sqrt(v[i] * correction2) + eps)


@kernel
def sgd(part, parts, w, dw, velocity, lr, momentum):
    first, last = len(w) * part // parts, len(w) * (part + 1) // parts
    w, dw, velocity = w[first:last], dw[first:last], velocity[first:last]
    for i in range(len(w)):
        velocity[i] = momentum * velocity[i] + dw[i]
        w[i] -= lr * velocity[i]


@kernel
def rmsprop(part, parts, w, dw, square, lr, decay, rest, eps):
    first, last = len(w) * part // parts, len(w) * (part + 1) // parts
    w, dw, square = w[first:last], dw[first:last], square[first:last]
    for i in range(len(w)):
        square[i] = decay * square[i] + rest * dw[i] * dw[i]
        w[i] -= lr * dw[i] / (math.sqrt(square[i]) + eps)


@kernel
def approach(part, parts, average, w, share):
    first, last = len(w) * part // parts, len(w) * (part + 1) // parts
    average, w = average[first:last], w[first:last]
    for i in range(len(w)):
        average[i] += share * (w[i] - average[i])


@kernel
def squares(part, parts, x, sums):
    x = x[len(x) * part // parts : len(x) * (part + 1) // parts]
    total = 0.0
    for i in range(len(x)):
        number = np.float64(x[i])
        total += number * number
    sums[part] = total


@kernel
def scale(part, parts, x, factor):
    x = x[len(x) * part // parts : len(x) * (part + 1) // parts]
    for i in range(len(x)):
        x[i] *= factor


@kernel
def erase(part, parts, x):
    x = x[len(x) * part // parts : len(x) * (part + 1) // parts]
    for i in range(len(x)):
        x[i] = 0


@kernel
def join(part, parts, first, second, both):
    begin, end = len(both) * part // parts, len(both) * (part + 1) // parts
    for i in range(begin, min(end, len(first))):
        both[i] = first[i]
    for i in range(max(begin, len(first)), end):
        both[i] = second[i - len(first)]


@kernel
def weighted_sum(part, parts, a, b, weight, y):
    first, last = len(y) * part // parts, len(y) * (part + 1) // parts
    a, b, y = a[first:last], b[first:last], y[first:last]
    for i in range(len(y)):
        y[i] = a[i] + weight * b[i]


@kernel
def count_beyond(part, parts, x, limit, counts):
    """Counts what is not below the limit; NaN is not."""
    x = x[len(x) * part // parts : len(x) * (part + 1) // parts]
    count = 0
    for i in range(len(x)):
        count += not abs(x[i]) < limit
    counts[part] = count


@kernel
def clip(part, parts, x, limit):
    x = x[len(x) * part // parts : len(x) * (part + 1) // parts]
    for i in range(len(x)):
        if x[i] > limit:
            x[i] = limit
        elif x[i] < -limit:
            x[i] = -limit


class OptimKernels(Engine):
    """Overrides of `reference.optim.OptimKernels`."""

    def erase(self, array: Array) -> None:
        with InPlace(contiguous, array) as (array,):
            self.team.run(erase, array, parts=self.parts(array.size))

    def join(self, first: Array, second: Array, both: Array) -> None:
        self.team.run(join, flat(first), flat(second), flat(both), parts=self.parts(both.size))

    def weighted_sum(self, a: Array, b: Array, *, weight: float) -> Array:
        if a.shape != b.shape or a.dtype != b.dtype:  # NumPy's rules decide
            return a + weight * b
        y = self.empty(a.shape, a.dtype)
        self.team.run(weighted_sum, flat(a), flat(b), a.dtype.type(weight), flat(y), parts=self.parts(y.size))
        return y

    def is_below(self, array: Array, limit: float) -> bool:
        if (recording := self.team.recording) is not None and recording.is_open:
            return bool(recording.is_below(array, limit, self.parts(array.size)))
        if array.size == 1:
            return bool(abs(array.item()) < limit)
        counts = np.zeros(self.parts(array.size), np.int64)
        self.team.run(count_beyond, flat(array), array.dtype.type(limit), counts, parts=len(counts))
        return max(counts.tolist()) == 0

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
        weight_decay: float = 0.0,
    ) -> None:
        for name, array in (("dw", dw), ("m", m), ("v", v)):
            expect(name, array, w.shape, w.dtype)
        # Numbers of the arrays' own type: a Python float would turn the whole loop to double precision.
        number = w.dtype.type
        with InPlace(contiguous, w, m, v) as (w, m, v):
            self.team.run(
                adam,
                w,
                contiguous(dw),
                m,
                v,
                number(1 - lr * weight_decay),
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
        with InPlace(contiguous, w, velocity) as (w, velocity):
            self.team.run(sgd, w, contiguous(dw), velocity, number(lr), number(momentum), parts=self.parts(w.size))

    def rmsprop_step(self, w: Array, dw: Array, square: Array, *, lr: float, decay: float, eps: float) -> None:
        for name, array in (("dw", dw), ("square", square)):
            expect(name, array, w.shape, w.dtype)
        number = w.dtype.type
        with InPlace(contiguous, w, square) as (w, square):
            self.team.run(
                rmsprop,
                w,
                contiguous(dw),
                square,
                number(lr),
                number(decay),
                number(1 - decay),
                number(eps),
                parts=self.parts(w.size),
            )

    def ema_step(self, average: Array, w: Array, *, decay: float) -> None:
        expect("average", average, w.shape, w.dtype)
        with InPlace(contiguous, average) as (average,):
            self.team.run(approach, average, contiguous(w), w.dtype.type(1 - decay), parts=self.parts(w.size))

    def clip_norm(self, dw: Array, *, limit: float) -> None:
        with InPlace(contiguous, dw) as (dw,):
            sums = np.empty(self.parts(dw.size))
            self.team.run(squares, dw, sums, parts=len(sums))
            norm = math.sqrt(sums.sum())
            if not norm <= limit:  # a norm that is NaN spreads, as in the reference
                self.team.run(scale, dw, dw.dtype.type(limit / norm), parts=len(sums))

    def clip_value(self, x: Array, *, limit: float) -> None:
        with InPlace(contiguous, x) as (x,):
            self.team.run(clip, x, x.dtype.type(limit), parts=self.parts(x.size))
