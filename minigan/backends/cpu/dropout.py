"""The dropout mask, in memory that is used again."""

from typing import Any

import numpy as np

from minigan.backends.base import Array, Shape
from minigan.backends.cpu.engine import Engine


class DropoutKernels(Engine):
    """Overrides of `reference.dropout.DropoutKernels`: the same numbers."""

    def dropout_mask(self, rng: np.random.Generator, shape: Shape, *, rate: float, dtype: np.dtype[Any]) -> Array:
        draws = self.empty(shape, np.dtype(np.float32))
        rng.random(dtype=np.float32, out=draws)
        mask = self.empty(shape, dtype)
        np.greater_equal(draws, rate, out=mask)
        mask *= dtype.type(1 / (1 - rate))
        return mask
