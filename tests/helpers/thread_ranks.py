"""Ranks that are threads of one process: parity needs no `mpiexec`."""

import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import numpy as np

from minigan.backends import array_module
from minigan.distributed.ranks import Array, Ranks

T = TypeVar("T")


class Meeting:
    """Where threads lay down one value each, and take up all of them.

    In two places in turn: nobody lays down a third value before all have taken up the first ones.
    """

    def __init__(self, size: int) -> None:
        self.places: list[list[Any]] = [[None] * size, [None] * size]
        self.barrier = threading.Barrier(size, timeout=60)

    def exchange(self, rank: int, value: Any, number: int) -> list[Any]:
        place = self.places[number % 2]
        place[rank] = value
        self.barrier.wait()
        return list(place)


class ThreadRanks(Ranks):
    """One of several threads; `calls` counts what was exchanged."""

    def __init__(self, rank: int, size: int, meeting: Meeting) -> None:
        self.rank, self.local_rank, self.size, self.meeting = rank, rank, size, meeting
        self.calls = 0

    def gather(self, value: Any) -> list[Any]:
        self.calls += 1
        return self.meeting.exchange(self.rank, value, self.calls)

    def sum(self, array: Array) -> Array:
        parts = self.gather(_on_host(array))
        total = np.asarray(sum(parts[1:], parts[0]))
        if not getattr(array, "ndim", 0):
            return _like(total, array) if _is_on_device(array) else total[()]
        array[...] = _like(total, array)
        return array

    def whole(self, rows: Array) -> Array:
        return _like(self.in_order(np.stack(self.gather(_on_host(rows)))), rows)

    def any(self, flag: bool) -> bool:
        return any(self.gather(flag))

    def from_first(self, value: Any) -> Any:
        return self.gather(value)[0]

    def barrier(self) -> None:
        self.gather(None)

    def abort(self, code: int) -> NoReturn:
        self.meeting.barrier.abort()
        raise SystemExit(code)


def _is_on_device(array: Array) -> bool:
    return type(array).__module__.partition(".")[0] == "cupy"  # or its stand-in


def _on_host(array: Array) -> np.ndarray:
    """A copy in host memory."""
    return np.array(array_module(array).asnumpy(array) if _is_on_device(array) else array)


def _like(host: np.ndarray, array: Array) -> Array:
    """The same numbers where the array is."""
    return array_module(array).asarray(host) if _is_on_device(array) else host


def on_ranks(size: int, work: Callable[[ThreadRanks], T]) -> list[T]:
    """Results of so many ranks. The first error ends them all."""
    meeting, results, errors = Meeting(size), [None] * size, [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadRanks(rank, size, meeting))
        except BaseException as error:
            errors[rank] = error
            meeting.barrier.abort()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(2e-4)  # they wait for each other all the time
    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)
    met = [e for e in errors if e is not None]
    for error in sorted(met, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
        raise error
    return results
