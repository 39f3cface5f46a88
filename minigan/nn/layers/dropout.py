"""Dropout."""

from typing import ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients
from minigan.support.arguments import number


class DropoutCache(NamedTuple):
    mask: Array | None  # like x: 0 or 1 / (1 - rate); None where nothing was dropped


class Dropout(Layer):
    """Dropout: in training y = x * mask, where the mask is 0 with probability `rate` and 1 / (1 - rate) elsewhere.

    Source: Srivastava et al. 2014.

    Args:
        rate: the share of numbers that are set to 0, in [0, 1).
    """

    narrow: ClassVar[bool] = True

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = number(rate, "rate", of=self.path, least=0, below=1)

    def infer(self, input_shape: Shape) -> Shape:
        return input_shape

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, DropoutCache]:
        if not train or self.rate == 0:
            return x, DropoutCache(None)
        if rng is None:
            raise ConfigError(f"{self.path}: expected an rng in training, got none. Pass forward(..., rng=generator).")
        mask = self.kernels.dropout_mask(rng, x.shape, rate=self.rate, dtype=self.dtype)
        return self._masked(x, mask), DropoutCache(mask)

    def backward(
        self, dy: Array, cache: DropoutCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        if not need_dx:
            return None
        return dy if cache.mask is None else self._masked(dy, cache.mask)

    def double_backward(
        self, v: Array, record: Array, cache: DropoutCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        return v if cache.mask is None else self._masked(v, cache.mask), None

    def _masked(self, x: Array, mask: Array) -> Array:
        return self.kernels.multiply(x, mask)

    def describe(self) -> str:
        return f"Dropout {self.rate}"
