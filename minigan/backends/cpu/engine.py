"""The base of all families of kernels: the team of threads, memory, and when a second thread pays."""

import os
from types import ModuleType
from typing import Any

import numba
import numpy as np

from minigan.backends.base import Array, Shape
from minigan.backends.cpu.threads import Team
from minigan.backends.recycler import Recycler
from minigan.backends.workspace import Workspace
from minigan.support.cpu_limit import usable_cpus

# Numbers that are worth a thread: handing work over takes as long as computing some 5,000 of them (see `launch.py`).
NUMBERS_PER_THREAD = 1 << 13

# Multiply-adds of a product in the time that an elementwise pass takes for one number.
MULTIPLY_ADDS_PER_NUMBER = 32

# Columns that make a loop over a row worth its overhead.
WIDE_ROW = 64

FLOAT64 = np.dtype(np.float64)  # of sums

# Bytes of a page of memory, and from an array's place in its page to the next one's: five cache lines.
PAGE, STAGGER = 4096, 320


class Engine:
    """State of one CPU backend object."""

    xp: ModuleType
    team: Team
    workspace: Workspace
    recycler: Recycler
    lasting: int = 0  # counts the arrays that `zeros` has made

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        if (recording := self.team.recording) is not None and recording.is_open:
            return recording.empty(shape, dtype)
        return self.recycler.empty(shape, dtype)

    def zeros(self, size: int, dtype: np.dtype[Any]) -> Array:
        """Aligned to a cache line, and each array elsewhere in its page than the one before.

        A vector that lies across two lines is loaded twice. And large arrays from the allocator all begin at the same
        place of a page, where a processor takes a load from one for a load of what it has just stored to another.
        Together this makes an Adam step two and a half times as long.
        """
        self.lasting = (self.lasting + 1) % (PAGE // STAGGER)
        nbytes = size * dtype.itemsize
        memory = np.zeros(nbytes + 2 * PAGE, np.uint8)
        first = -memory.ctypes.data % PAGE + self.lasting * STAGGER
        return np.ndarray(size, dtype, buffer=memory, offset=first)

    def free_memory(self) -> None:
        self.recycler.clear()
        self.workspace.clear()

    def parts(self, numbers: int) -> int:
        """The number of threads that a pass over so many numbers is worth."""
        return max(1, min(self.team.size, numbers // NUMBERS_PER_THREAD))

    def parts_of_product(self, multiply_adds: int) -> int:
        """The number of threads that a matrix product or a convolution is worth."""
        return self.parts(multiply_adds // MULTIPLY_ADDS_PER_NUMBER)


def contiguous(array: Array) -> Array:
    """The array itself wherever possible: kernels compile for contiguous, aligned, writable memory only."""
    return array if array.flags.carray else array.copy()


def flat(array: Array) -> Array:
    """The array as one row of writable memory, a view wherever possible: the array type that kernels compile for."""
    return contiguous(array.ravel())


def folded(x: Array) -> Array:
    """The array as a matrix whose columns are channels: (pixels, C).

    With few channels, as many neighboring pixels as divide their number lie in one row, (pixels / n, n * C), so that
    loops over columns are worth their while; a column's channel is then its number modulo C.
    """
    channels = x.shape[-1]
    pixels = x.size // channels if channels else 0
    together = 1
    while together * channels < WIDE_ROW and pixels % (2 * together) == 0 and pixels:
        together *= 2
    return flat(x).reshape(pixels // together, together * channels)


def default_threads() -> int:
    """NUMBA_NUM_THREADS, else the CPUs that this process may keep busy."""
    threads: int = vars(numba.config)["NUMBA_NUM_THREADS"]
    chosen = threads != vars(numba.config)["NUMBA_DEFAULT_NUM_THREADS"] or os.environ.get("NUMBA_NUM_THREADS")
    return threads if chosen else min(threads, usable_cpus().threads)
