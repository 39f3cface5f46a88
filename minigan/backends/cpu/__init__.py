"""Numba on the CPU.

Read `simd.py` (registers), `microkernel.py` (the inner loop), `plan.py` (the choice of algorithm) and `conv.py`, in
that order, next to `reference/conv.py`; then `toom.py` and `winograd.py`, on convolutions with fewer multiplications.
"""

import os

import numba

from minigan.backends.cpu import simd
from minigan.backends.cpu.activation import ActivationKernels
from minigan.backends.cpu.conv import ConvKernels
from minigan.backends.cpu.double_norm import DoubleNormKernels
from minigan.backends.cpu.dropout import DropoutKernels
from minigan.backends.cpu.engine import default_threads
from minigan.backends.cpu.group_norm import GroupNormKernels
from minigan.backends.cpu.norm import NormKernels
from minigan.backends.cpu.optim import OptimKernels
from minigan.backends.cpu.resize import ResizeKernels
from minigan.backends.cpu.threads import Team
from minigan.backends.reference import ReferenceBackend
from minigan.backends.workspace import Recycler, Workspace


class CpuBackend(
    ConvKernels,
    NormKernels,
    GroupNormKernels,
    DoubleNormKernels,
    ActivationKernels,
    ResizeKernels,
    DropoutKernels,
    OptimKernels,
    ReferenceBackend,
):
    """Compiled kernels; each is compiled at its first use.

    Args:
        threads: the most threads to use; by default NUMBA_NUM_THREADS, else all CPUs. Results depend on their number in
            the last bits.
        exact: forbids convolutions with fewer multiplications (`toom.py`). On DCGAN's layers, in float32, these
            err by up to 6e-6 of the largest number and 1.4e-6 of the typical one, direct ones by 2e-6 and 7e-7. False
            by default, unless the environment says MINIGAN_EXACT=1.
    """

    name = "cpu"
    joined_bytes = 1 << 20  # more than both batches leave no room for weights in a second-level cache

    def __init__(self, *, threads: int | None = None, exact: bool | None = None) -> None:
        self.exact = os.environ.get("MINIGAN_EXACT") == "1" if exact is None else exact
        self.team = Team(threads or default_threads())
        self.workspace = Workspace()
        self.recycler = Recycler()

    def compile_ahead(self) -> None:
        from minigan.backends.cpu import precompile

        precompile.begin()

    def describe(self) -> str:
        plural = "" if self.team.size == 1 else "s"
        exact = ", exact" if self.exact else ""
        return f"cpu backend, Numba {numba.__version__}, {simd.describe()}, {self.team.size} thread{plural}{exact}"
