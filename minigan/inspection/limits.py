"""The machine's limits, measured: the two lines of a roofline.

Source: Williams, Waterman & Patterson 2009, "Roofline: An Insightful Visual Performance Model".
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minigan.backends import Backend
from minigan.errors import OutOfMemoryError
from minigan.support.memory_limit import expect_room

__all__ = ["Bound", "Limits", "limits_of", "measured_limits"]

COPIED = 1 << 28  # bytes, several times a third-level cache
SIDE = 1024  # of the matrices whose product a library computes
ROUNDS, ROUND = 7, 0.05  # seconds
FLOAT32 = np.dtype(np.float32)


class Bound(NamedTuple):
    """The most GFLOP/s that some work can reach, and which limit it is."""

    gflops: float
    by: str  # "fma" or "mem"


class Limits(NamedTuple):
    """The two limits.

    Attributes:
        multiply_adds: GFLOP/s.
        bandwidth: GB/s, read and written.
        where: the place of the operands of the multiply-adds.
    """

    multiply_adds: float
    bandwidth: float
    where: str = "in registers"

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
        """Both limits in words."""
        return f"{self.multiply_adds:.0f} GFLOP/s of multiply-adds {self.where}, {self.bandwidth:.0f} GB/s of memory"


def measured_limits(backend: Backend, dtype: np.dtype[Any] = FLOAT32) -> Limits | None:
    """With all of the backend's threads at once; the CPU backend only.

    The microkernel on operands that stay in the first-level cache, and a copy of arrays that fit in none; of all rounds
    the best, for these are limits.
    """
    spinning = multiplying(backend, dtype)
    if spinning is None:
        return None
    source, target = np.ones(COPIED, np.int8), np.ones(COPIED, np.int8)
    spin, copy = _best(spinning.run, lambda: backend.team.run(_copy, source, target))  # type: ignore[attr-defined]
    return Limits(1e-9 * spinning.flops / spin, 2e-9 * COPIED / copy)


class Multiplying(NamedTuple):
    """A call that does nothing but multiply-adds, and how many floating-point operations that are."""

    run: Callable[[], None]
    flops: float


def multiplying(backend: Backend, dtype: np.dtype[Any] = FLOAT32, repeats: int = 4000) -> Multiplying | None:
    """The CPU backend's microkernel on operands that stay in the first-level cache, on all threads; else None."""
    team = getattr(backend, "team", None)
    if team is None:
        return None
    from minigan.backends.cpu.engine import flat
    from minigan.backends.cpu.microkernel import spin_tiles
    from minigan.backends.cpu.simd import TILE_ROWS, tile_columns

    columns, depth = tile_columns(dtype.itemsize), 256
    a, b = flat(np.ones((TILE_ROWS, depth), dtype)), flat(np.ones((depth, columns), dtype))
    flops = 2 * team.size * repeats * TILE_ROWS * columns * depth
    return Multiplying(lambda: team.run(spin_tiles, a, b, depth, columns, repeats), flops)


def library_limits(backend: Backend, dtype: np.dtype[Any] = FLOAT32) -> Limits:
    """The limits of the array library's own matrix product, for backends without a microkernel, and of its copies."""
    xp = backend.xp
    a, b, c = (xp.ones((SIDE, SIDE), dtype) for _ in range(3))
    source, target = xp.ones(COPIED, np.int8), xp.ones(COPIED, np.int8)

    def multiply() -> None:
        xp.matmul(a, b, out=c)
        backend.synchronize()

    def copy() -> None:
        target[...] = source
        backend.synchronize()

    product, copied = _best(multiply, copy)
    return Limits(2e-9 * SIDE**3 / product, 2e-9 * COPIED / copied, f"in a {SIDE}x{SIDE} product")


def limits_of(backend: Backend, dtype: np.dtype[Any] = FLOAT32) -> Limits | None:
    """The backend's own limits, else its library's; None where there is no memory to measure them with."""
    try:
        if backend.memory() is None:
            expect_room(2 * COPIED, what="a measurement of the memory's bandwidth", remedy="")
    except OutOfMemoryError:
        return None
    return measured_limits(backend, dtype) or library_limits(backend, dtype)


def _best(*calls: Callable[[], Any]) -> list[float]:
    """Seconds of each call in its best round; the calls take turns."""
    best = [float("inf")] * len(calls)
    for call in calls:
        call()  # compiles
    for _ in range(ROUNDS):
        for index, call in enumerate(calls):
            began, count = time.perf_counter(), 0
            while (passed := time.perf_counter() - began) < ROUND or not count:
                call()
                count += 1
            best[index] = min(best[index], passed / count)
    return best


def _copy(part: int, parts: int, source: np.ndarray, target: np.ndarray) -> None:
    own = slice(COPIED * part // parts, COPIED * (part + 1) // parts)
    np.copyto(target[own], source[own])
