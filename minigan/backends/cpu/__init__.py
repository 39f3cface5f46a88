"""Numba on the CPU.

Read `simd.py` (registers), `microkernel.py` (the inner loop), `plan.py` (the choice of algorithm) and `conv.py`, in
that order, next to `reference/conv.py`; then `toom.py` and `winograd.py`, on convolutions with fewer multiplications.
"""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Self
from weakref import WeakSet

import numba
import numpy as np

from minigan.backends.constants import Constants, Held
from minigan.backends.cpu import numba_start, simd
from minigan.backends.cpu.activation import ActivationKernels, leaky
from minigan.backends.cpu.bfloat16 import FLOAT32, NarrowArrays, bfloat16, widened_kernels
from minigan.backends.cpu.conv import ConvKernels
from minigan.backends.cpu.double_norm import DoubleNormKernels
from minigan.backends.cpu.dropout import DropoutKernels
from minigan.backends.cpu.engine import default_threads
from minigan.backends.cpu.group_norm import GroupNormKernels
from minigan.backends.cpu.jit import KeyedCache
from minigan.backends.cpu.modulation import ModulationKernels
from minigan.backends.cpu.noise import NoiseKernels
from minigan.backends.cpu.norm import NormKernels
from minigan.backends.cpu.optim import OptimKernels
from minigan.backends.cpu.recording import StepRecording
from minigan.backends.cpu.resize import ResizeKernels
from minigan.backends.cpu.threads import Team
from minigan.backends.cpu.tile_units import Unit, find_unit
from minigan.backends.precision import Precision, chosen_precision
from minigan.backends.recycler import Recycler
from minigan.backends.reference import ReferenceBackend
from minigan.backends.workspace import Workspace

if isinstance(leaky._cache, KeyedCache):
    numba_start.keep_runtime(leaky._cache.beside("numba_runtime"))


class CpuBackend(
    ConvKernels,
    NormKernels,
    GroupNormKernels,
    DoubleNormKernels,
    ActivationKernels,
    ResizeKernels,
    ModulationKernels,
    NoiseKernels,
    DropoutKernels,
    OptimKernels,
    NarrowArrays,
    StepRecording,
    ReferenceBackend,
):
    """Compiled kernels; each is compiled at its first use.

    Args:
        threads: the most threads to use; by default NUMBA_NUM_THREADS, else all CPUs. Results depend on their number in
            the last bits.
        exact: forbids convolutions with fewer multiplications (`toom.py`). On DCGAN's layers, in float32, these
            err by up to 6e-6 of the largest number and 1.4e-6 of the typical one, direct ones by 2e-6 and 7e-7. False
            by default, unless the environment says MINIGAN_EXACT=1.
        precision: of the products of float32 numbers: "fp32", the default, or "bf16", which rounds their factors to 7
            bits of mantissa, and keeps activations and the gradients between layers in memory as bfloat16. Sums,
            weights, their gradients, moments, statistics and losses are float32 in both. None or "auto" is the
            environment's MINIGAN_PRECISION.
    Training steps whose activations take at most 256 MiB are recorded, then replayed with few calls from Python, see
    `recording.py`, with the bits that it has in Python; the environment's MINIGAN_GRAPHS=0 forbids that.
    Raises:
        ConfigError: another precision.
        MissingExtraError: "bf16" without ml_dtypes.
    """

    name = "cpu"
    joined_bytes = 1 << 20  # more than both batches leave no room for weights in a second-level cache

    def __new__(cls, *, precision: str | None = None, **_: Any) -> Self:
        kind = NarrowCpuBackend if cls is CpuBackend and cls._precision(precision) == "bf16" else cls
        instance: Self = object.__new__(kind)  # type: ignore[assignment]
        return instance

    @staticmethod
    def _precision(precision: str | None) -> Precision:
        return chosen_precision(precision, default="fp32", possible=("fp32", "bf16"), on="the cpu backend")

    def __init__(self, *, threads: int | None = None, exact: bool | None = None, precision: str | None = None) -> None:
        self.precision = self._precision(precision)
        self.exact = os.environ.get("MINIGAN_EXACT") == "1" if exact is None else exact
        self.unit = self._unit()
        self.team = Team(threads or default_threads())
        self.workspace = Workspace()
        self.recycler = Recycler()
        self.held = Held()
        self.recordings = WeakSet()

    def holding(self, constants: Constants) -> AbstractContextManager[None]:
        return self.held.hold(constants)

    def _unit(self) -> Unit | None:
        """Multiplies bfloat16 numbers: for bf16, or three at a time for float32 where that is fast."""
        name = find_unit().name
        if name is None or (self.precision == "fp32" and (self.exact or name != "amx")):
            return None
        return Unit(name, 1 if self.precision == "bf16" else 3)

    def compile_ahead(self) -> None:
        from minigan.backends.cpu import precompile

        precompile.begin()

    def precisions(self) -> Mapping[Precision, str]:
        found = find_unit()
        fp32 = f"{simd.describe()} multiply-adds"
        if found.name is None:
            return {"fp32": fp32, "bf16": f"in memory; multiplied in float32: {found.reason}"}
        tiles = ", or three bfloat16 products on tile registers" if found.name == "amx" and not self.exact else ""
        return {"fp32": f"{fp32}{tiles}", "bf16": found.reason}

    def describe(self) -> str:
        plural = "" if self.team.size == 1 else "s"
        precision = f"{self.precision}, exact" if self.exact else self.precision
        threads = f"{self.team.size} thread{plural}"
        return f"cpu backend, Numba {numba.__version__}, {simd.describe()}, {threads}, {precision}"


class NarrowCpuBackend(CpuBackend):
    """The backend of precision "bf16": every kernel takes activations in bfloat16, by itself or after widening them."""

    def __init__(self, *, threads: int | None = None, exact: bool | None = None, precision: str | None = None) -> None:
        super().__init__(threads=threads, exact=exact, precision=precision)
        self._narrow = bfloat16()

    def activation_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return self._narrow if dtype == FLOAT32 else dtype


for _name, _kernel in widened_kernels(CpuBackend).items():
    setattr(NarrowCpuBackend, _name, _kernel)
