"""The dropout mask, in memory that is used again."""

from typing import Any

import numpy as np

from minigan.backends.base import Array, Backend, Shape
from minigan.backends.cpu.engine import Engine


class DropoutKernels(Engine, Backend):
    """Overrides of `reference.dropout.DropoutKernels`: the same numbers."""

    def dropout_mask(self, rng: np.random.Generator, shape: Shape, *, rate: float, dtype: np.dtype[Any]) -> Array:
        draws, mask = self.empty(shape, np.dtype(np.float32)), self.empty(shape, dtype)

        def draw() -> None:
            rng.random(dtype=np.float32, out=draws)
            np.greater_equal(draws, rate, out=mask)
            np.multiply(mask, dtype.type(1 / (1 - rate)), out=mask)

        self.perform(draw)
        return mask
