"""The readable reference: plain NumPy, or any array module with its interface."""

from typing import Any

import numpy as np

from minigan.backends.base import Array, Backend
from minigan.backends.reference.dropout import DropoutKernels
from minigan.backends.reference.fused import FusedKernels
from minigan.backends.reference.group_norm import GroupNormKernels
from minigan.backends.reference.modulation import ModulationKernels
from minigan.backends.reference.noise import NoiseKernels
from minigan.backends.reference.optim import OptimKernels
from minigan.backends.reference.resize import ResizeKernels


class ReferenceBackend(
    FusedKernels,
    GroupNormKernels,
    ResizeKernels,
    ModulationKernels,
    NoiseKernels,
    OptimKernels,
    DropoutKernels,
    Backend,
):
    """Every kernel of the contract in array-module calls; `gpu` runs the same code over CuPy."""

    name = "reference"
    xp = np

    def asarray(self, array: np.ndarray | Array, *, dtype: np.dtype[Any] | None = None) -> Array:
        return np.ascontiguousarray(array, dtype=dtype)

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.asarray(array)

    def describe(self) -> str:
        return f"reference backend, NumPy {np.__version__}"
