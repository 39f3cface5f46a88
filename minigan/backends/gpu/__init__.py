"""CuPy: the reference kernels on a CUDA GPU, arrays moved at the border."""

from typing import Any

import cupy
import numpy as np

from minigan.backends.base import Array
from minigan.backends.gpu.device import check_device
from minigan.backends.gpu.memory import PooledMemory
from minigan.backends.reference import ReferenceBackend


class GpuBackend(PooledMemory, ReferenceBackend):
    """Runs on CuPy's current device."""

    name = "cupy"
    xp = cupy

    def __init__(self) -> None:
        check_device(cupy)

    def asarray(self, array: np.ndarray | Array, *, dtype: np.dtype[Any] | None = None) -> Array:
        self.refuse_host_array(array)
        return cupy.ascontiguousarray(cupy.asarray(array, dtype=dtype))

    def to_numpy(self, array: Array) -> np.ndarray:
        host: np.ndarray = cupy.asnumpy(array)
        return host

    def describe(self) -> str:
        device = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
        return f"cupy {cupy.__version__} on {device}"
