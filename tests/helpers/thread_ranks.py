"""Ranks that are threads of one process: parity needs no `mpiexec`."""

import threading
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import numpy as np

from minigan.distributed.ranks import Array, Ranks

T = TypeVar("T")


class Meeting:
    """Where threads lay down one value each, and take up all of them."""

    def __init__(self, size: int) -> None:
        self.values: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=60)

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.values[rank] = value
        self.barrier.wait()
        found = list(self.values)
        self.barrier.wait()  # nobody lays down the next one before all have taken these
        return found


class ThreadRanks(Ranks):
    """One of several threads; `calls` counts what was exchanged."""

    def __init__(self, rank: int, size: int, meeting: Meeting) -> None:
        self.rank, self.local_rank, self.size, self.meeting = rank, rank, size, meeting
        self.calls = 0

    def gather(self, value: Any) -> list[Any]:
        self.calls += 1
        return self.meeting.exchange(self.rank, value)

    def sum(self, array: Array) -> Array:
        parts = self.gather(np.array(array))
        total = sum(parts[1:], parts[0])
        if isinstance(array, np.ndarray) and array.ndim:
            array[...] = total
            return array
        return total

    def mean(self, array: Array) -> Array:
        total = self.sum(array)
        if isinstance(total, np.ndarray):
            total *= total.dtype.type(1 / self.size)
            return total
        return total * type(total)(1 / self.size)

    def whole(self, rows: Array) -> Array:
        return self.in_order(np.stack(self.gather(rows.copy())))

    def any(self, flag: bool) -> bool:
        return any(self.gather(flag))

    def from_first(self, value: Any) -> Any:
        return self.gather(value)[0]

    def barrier(self) -> None:
        self.gather(None)

    def abort(self, code: int) -> NoReturn:
        self.meeting.barrier.abort()
        raise SystemExit(code)


def on_ranks(size: int, work: Callable[[ThreadRanks], T]) -> list[T]:
    """What each of so many ranks returns. The first one's error ends them all."""
    meeting, results, errors = Meeting(size), [None] * size, [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadRanks(rank, size, meeting))
        except BaseException as error:
            errors[rank] = error
            meeting.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    met = [e for e in errors if e is not None]
    for error in sorted(met, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
        raise error
    return results
