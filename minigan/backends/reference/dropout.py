"""The dropout mask."""

from typing import Any

import numpy as np

from minigan.backends.base import Array, Backend, Shape


class DropoutKernels(Backend):
    def dropout_mask(self, rng: np.random.Generator, shape: Shape, *, rate: float, dtype: np.dtype[Any]) -> Array:
        # Always float32 numbers: the same draws whatever the network's dtype.
        keep = self.feed(lambda: rng.random(shape, dtype=np.float32) >= rate)
        return keep * dtype.type(1 / (1 - rate))
