"""The dropout mask."""

from types import ModuleType
from typing import Any

import numpy as np

from minigan.backends.base import Array, Shape


class DropoutKernels:
    xp: ModuleType

    def dropout_mask(self, rng: np.random.Generator, shape: Shape, *, rate: float, dtype: np.dtype[Any]) -> Array:
        # Always float32 numbers: the same draws whatever the network's dtype.
        keep = rng.random(shape, dtype=np.float32) >= rate
        return self.xp.asarray(keep * dtype.type(1 / (1 - rate)))
