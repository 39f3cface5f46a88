"""Optimizer steps over flat arrays, in place."""

from types import ModuleType

import numpy as np

from minigan.backends.base import Array, Number


class OptimKernels:
    xp: ModuleType

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
        m *= beta1
        m += (1 - beta1) * dw
        v *= _like(w, beta2)
        v += _like(w, 1 - beta2) * dw**2
        m_hat = m / _like(w, 1 - beta1**step)
        v_hat = v / _like(w, 1 - beta2**step)
        w *= _like(w, 1 - lr * weight_decay)
        w -= _like(w, lr) * m_hat / (self.xp.sqrt(v_hat) + eps)

    def sgd_step(self, w: Array, dw: Array, velocity: Array, *, lr: Number, momentum: float) -> None:
        velocity *= momentum
        velocity += dw
        w -= _like(w, lr) * velocity

    def rmsprop_step(self, w: Array, dw: Array, square: Array, *, lr: Number, decay: float, eps: float) -> None:
        square *= decay
        square += (1 - decay) * dw**2
        w -= _like(w, lr) * dw / (self.xp.sqrt(square) + eps)

    def ema_step(self, average: Array, w: Array, *, decay: Number) -> None:
        average += _like(w, 1 - decay) * (w - average)

    def clip_norm(self, dw: Array, *, limit: float) -> None:
        norm = self.xp.sqrt((dw.astype(np.float64) ** 2).sum())
        dw *= (limit / self.xp.maximum(norm, limit)).astype(dw.dtype)

    def clip_value(self, x: Array, *, limit: float) -> None:
        self.xp.clip(x, -limit, limit, out=x)


def _like(w: Array, number: Number) -> Number:
    """A number in w's precision, as a Python number takes it on by itself where it meets w."""
    return number if isinstance(number, int | float) else number.astype(w.dtype)
