"""CUDA on the GPU, through CuPy.

Read `product.cuh` (one tile on the tensor cores), `conv.cu` (where its numbers come from), `plan.py` (the choice of
tiles) and `conv.py`, in that order, next to `reference/conv.py`; then `columns.cuh` (sums over all pixels of a channel)
and `norm.cu`. Kernels that are not here are the reference's, run by CuPy; `coverage()` tells which.
"""

import os
from collections.abc import Mapping
from typing import Any

import cupy
import numpy as np

from minigan.backends.base import Array
from minigan.backends.gpu.activation import ActivationKernels
from minigan.backends.gpu.columns import TICKETS
from minigan.backends.gpu.dense import DenseKernels
from minigan.backends.gpu.device import check_device, nccl_of, seat
from minigan.backends.gpu.double_norm import DoubleNormKernels
from minigan.backends.gpu.group_norm import GroupNormKernels
from minigan.backends.gpu.launch import Launcher
from minigan.backends.gpu.memory import PooledMemory
from minigan.backends.gpu.modulation import ModulationKernels
from minigan.backends.gpu.noise import NoiseKernels
from minigan.backends.gpu.optim import OptimKernels
from minigan.backends.gpu.resize import ResizeKernels
from minigan.backends.precision import PRECISIONS, Precision, chosen_precision
from minigan.backends.reference import ReferenceBackend
from minigan.distributed.nccl import NcclRanks, Seat, communicator, expect_own_devices
from minigan.distributed.ranks import Ranks


class GpuBackend(
    PooledMemory,
    GroupNormKernels,
    DoubleNormKernels,
    ActivationKernels,
    ResizeKernels,
    ModulationKernels,
    NoiseKernels,
    OptimKernels,
    DenseKernels,
    ReferenceBackend,
):
    """Runs on CuPy's current device; of several ranks on a host each has its own.

    Args:
        precision: of the products of float32 numbers; their sums are always float32. "tf32" rounds factors to 10 bits
            of mantissa, "bf16" to 7, "fp32" does not round them. Weights stay float32. None or "auto" is the
            environment's MINIGAN_PRECISION, else "tf32", PyTorch's default for convolutions; but "fp32" on GPUs before
            Ampere, and with MINIGAN_EXACT=1.
    Raises:
        BackendError: no usable GPU.
        ConfigError: an unknown precision, or one that the GPU does not have.
    """

    name = "gpu"
    xp = cupy

    def __init__(self, *, precision: str | None = None) -> None:
        check_device(cupy)
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        self.device = properties["name"].decode()
        self.multiprocessors = properties["multiProcessorCount"]
        self.shared_bytes = properties["sharedMemPerBlockOptin"]
        self.has_tensor_cores = properties["major"] >= 8  # Ampere
        self.precision = self._checked(precision)
        self.launch = Launcher()
        self.zero_tickets = cupy.zeros(TICKETS, dtype=np.uint32)

    def _checked(self, precision: str | None) -> Precision:
        exact = os.environ.get("MINIGAN_EXACT") == "1" or not self.has_tensor_cores
        return chosen_precision(
            precision,
            default="fp32" if exact else "tf32",
            possible=PRECISIONS if self.has_tensor_cores else ("fp32",),
            on=self.device,
        )

    def asarray(self, array: np.ndarray | Array, *, dtype: np.dtype[Any] | None = None) -> Array:
        self.refuse_host_array(array)
        return cupy.ascontiguousarray(cupy.asarray(array, dtype=dtype))

    def to_numpy(self, array: Array) -> np.ndarray:
        host: np.ndarray = cupy.asnumpy(array)
        return host

    def seat(self) -> Seat:
        return seat(cupy)

    def connected(self, ranks: Ranks, seats: list[Seat]) -> Ranks:
        expect_own_devices(seats)
        nccl = nccl_of(cupy)
        return ranks if nccl is None else NcclRanks(ranks, cupy, nccl, communicator(ranks, nccl))

    def precisions(self) -> Mapping[Precision, str]:
        fp32: dict[Precision, str] = {"fp32": "multiply-adds of CUDA cores"}
        return fp32 | ({"tf32": "tensor cores", "bf16": "tensor cores"} if self.has_tensor_cores else {})

    def describe(self) -> str:
        return f"gpu backend, CuPy {cupy.__version__} on {self.device}, {self.precision}"
