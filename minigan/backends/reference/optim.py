"""Optimiser steps over flat arrays, in place."""

from types import ModuleType

from minigan.backends.base import Array


class OptimKernels:
    xp: ModuleType

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
        m *= beta1
        m += (1 - beta1) * dw
        v *= beta2
        v += (1 - beta2) * dw**2
        m_hat = m / (1 - beta1**step)
        v_hat = v / (1 - beta2**step)
        w -= lr * m_hat / (self.xp.sqrt(v_hat) + eps)

    def sgd_step(self, w: Array, dw: Array, velocity: Array, *, lr: float, momentum: float) -> None:
        velocity *= momentum
        velocity += dw
        w -= lr * velocity
