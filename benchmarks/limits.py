"""The processor's limits, measured: the two lines of a roofline.

Source: Williams, Waterman & Patterson 2009, "Roofline: An Insightful Visual Performance Model".
"""

from typing import NamedTuple

import numpy as np

from minigan.backends import Backend
from minigan.cli.measurements import measure

COPIED = 1 << 28  # bytes, several times a third-level cache


class Bound(NamedTuple):
    """The most GFLOP/s that some work can reach, and which limit it is."""

    gflops: float
    by: str  # "fma" or "mem"


class Limits(NamedTuple):
    multiply_adds: float  # GFLOP/s
    bandwidth: float  # GB/s, read and written

    def bound(self, flops: float, moved: float) -> Bound:
        """The bound of work with so many operations on so many bytes, each of which comes from memory once.

        Data in a cache can be faster than that. Winograd's convolutions, counted as if they were direct, can be faster
        than the limit of multiply-adds.
        """
        from_memory = self.bandwidth * flops / moved
        return Bound(from_memory, "mem") if from_memory < self.multiply_adds else Bound(self.multiply_adds, "fma")

    def least_seconds(self, flops: float, moved: float) -> float:
        """The time that such work takes at either limit, whichever is longer."""
        return max(1e-9 * flops / self.multiply_adds, 1e-9 * moved / self.bandwidth)

    def describe(self) -> str:
        return f"{self.multiply_adds:.0f} GFLOP/s of multiply-adds in registers, {self.bandwidth:.0f} GB/s of memory"


def measured_limits(backend: Backend) -> Limits | None:
    """With all of the backend's threads at once; the CPU backend only.

    The microkernel on operands that stay in the first-level cache, and a copy of arrays that fit in none; of all rounds
    the best, for these are limits.
    """
    team = getattr(backend, "team", None)
    if team is None:
        return None
    from minigan.backends.cpu.engine import flat
    from minigan.backends.cpu.microkernel import spin_tiles
    from minigan.backends.cpu.simd import TILE_ROWS, tile_columns

    columns, depth, repeats = tile_columns(4), 256, 4000
    a, b = flat(np.ones((TILE_ROWS, depth), np.float32)), flat(np.ones((depth, columns), np.float32))
    source, target = np.ones(COPIED, np.int8), np.ones(COPIED, np.int8)
    calls = {
        "spin": lambda: team.run(spin_tiles, a, b, depth, columns, repeats),
        "copy": lambda: team.run(_copy, source, target),
    }
    seconds = {name: min(times) for name, times in measure(calls, rounds=7, seconds=0.05).items()}
    multiply_adds = team.size * repeats * TILE_ROWS * columns * depth
    return Limits(2e-9 * multiply_adds / seconds["spin"], 2e-9 * COPIED / seconds["copy"])


def _copy(part: int, parts: int, source: np.ndarray, target: np.ndarray) -> None:
    own = slice(COPIED * part // parts, COPIED * (part + 1) // parts)
    np.copyto(target[own], source[own])
