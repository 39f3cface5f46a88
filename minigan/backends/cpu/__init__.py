"""Numba on the CPU.

Read `simd.py` (registers), `microkernel.py` (the inner loop), `plan.py` (the choice of algorithm) and `conv.py`, in
that order, beside `reference/conv.py`.
"""

import numba

from minigan.backends.cpu import simd
from minigan.backends.cpu.activation import ActivationKernels
from minigan.backends.cpu.conv import ConvKernels
from minigan.backends.cpu.engine import default_threads
from minigan.backends.cpu.norm import NormKernels
from minigan.backends.cpu.optim import OptimKernels
from minigan.backends.cpu.resize import ResizeKernels
from minigan.backends.cpu.threads import Team
from minigan.backends.reference import ReferenceBackend
from minigan.backends.workspace import Recycler, Workspace


class CpuBackend(ConvKernels, NormKernels, ActivationKernels, ResizeKernels, OptimKernels, ReferenceBackend):
    """Compiled kernels; nothing compiles before its first use.

    Args:
        threads: at most so many; by default NUMBA_NUM_THREADS, else all CPUs. Results depend on it in the last bits.
    """

    name = "numba"

    def __init__(self, *, threads: int | None = None) -> None:
        self.team = Team(threads or default_threads())
        self.workspace = Workspace()
        self.recycler = Recycler()

    def describe(self) -> str:
        plural = "" if self.team.size == 1 else "s"
        return f"numba {numba.__version__}, {simd.describe()}, {self.team.size} thread{plural}"
