"""What the families of kernels share: the GPU, compiled kernels, memory."""

from types import ModuleType
from typing import Any

import numpy as np

from minigan.backends.base import Array, Shape
from minigan.backends.gpu.launch import Launcher
from minigan.backends.gpu.plan import Precision


class Engine:
    """State of one GPU backend object."""

    xp: ModuleType
    launch: Launcher
    precision: Precision
    multiprocessors: int

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        return self.xp.empty(shape, dtype=dtype)  # CuPy's pool hands out memory again by itself
