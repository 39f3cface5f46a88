"""Optimizer steps in one pass over the flat arrays: optim.cu.

`lr`, `step` and `decay` may be float64 arrays of shape (), so that a captured step can be replayed with other numbers.
All that are marked look at the guard: once a number was not finite they change nothing, and nobody has to wait for
the answer. Around a kernel that is not marked, or not here, the arrays that it changes are kept.
"""

from typing import Any

import numpy as np

from minigan.backends.base import Array, Number, expect, looks_at_guard
from minigan.backends.gpu.engine import Engine
from minigan.backends.gpu.launch import THREADS, blocks_for, contiguous, vector_of
from minigan.backends.workspace import InPlace

BLOCKS = 4  # for each multiprocessor, of the sum that `clip_norm` starts with: a second kernel adds up theirs


class OptimKernels(Engine):
    """Overrides of `reference.optim.OptimKernels`."""

    @looks_at_guard
    def adam_step(
        self,
        w: Array,
        dw: Array,
        m: Array,
        v: Array,
        *,
        lr: Number,
        beta1: float,
        beta2: Number,
        eps: float,
        step: Number,
        weight_decay: float = 0.0,
    ) -> None:
        changing = (*self._number(lr), *self._number(step), float(beta1), *self._number(beta2))
        numbers = (*changing, float(eps), float(weight_decay))
        self._step("adam_step", (w, dw, m, v), *numbers, shared=3 * w.dtype.itemsize)

    @looks_at_guard
    def sgd_step(self, w: Array, dw: Array, velocity: Array, *, lr: Number, momentum: float) -> None:
        self._step("sgd_step", (w, dw, velocity), *self._number(lr), float(momentum))

    @looks_at_guard
    def rmsprop_step(
        self,
        w: Array,
        dw: Array,
        square: Array,
        *,
        lr: Number,
        decay: float,
        eps: float,
    ) -> None:
        self._step("rmsprop_step", (w, dw, square), *self._number(lr), float(decay), float(eps))

    @looks_at_guard
    def ema_step(self, average: Array, w: Array, *, decay: Number) -> None:
        self._step("ema_step", (average, w), *self._number(decay))

    @looks_at_guard
    def clip_norm(self, dw: Array, *, limit: float) -> None:
        blocks = min(blocks_for(dw.size), BLOCKS * self.multiprocessors)
        partials = self.empty((blocks,), np.dtype(np.float64))
        shared = THREADS * partials.itemsize
        flat = contiguous(dw)
        vector = (("VECTOR", vector_of(flat, together=0)), ("WIDE", 0))
        size = np.int64(dw.size)
        self.launch("optim", "squares", (blocks,), flat, size, partials, dtype=dw.dtype, shared=shared, settings=vector)
        self._step("shorten", (dw,), partials, blocks, float(limit), shared=shared)

    @looks_at_guard
    def clip_value(self, x: Array, *, limit: float) -> None:
        self._step("clip_value", (x,), float(limit))

    def clear_unless_below(self, flag: Array, array: Array, *, limit: float) -> None:
        self.vector_pass("optim", "clear_unless_below", (contiguous(array),), float(limit), flag, over=array)

    def _step(self, kernel: str, arrays: tuple[Array, ...], *arguments: Any, shared: int = 0) -> None:
        """Launches a kernel that takes flat arrays, their size, further arguments, and the guard's flag."""
        for array in arrays[1:]:
            expect("an array of the step", array, arrays[0].shape, arrays[0].dtype)
        sound = None if self.guard is None else self.guard.sound
        with InPlace(contiguous, *arrays) as plain:
            self.vector_pass("optim", kernel, tuple(plain), *arguments, sound, over=plain[0], shared=shared)

    def _number(self, number: Number) -> tuple[float, Array | None]:
        """A number by value, and its address if it is on the device."""
        return (0.0, number) if isinstance(number, self.xp.ndarray) else (float(number), None)
