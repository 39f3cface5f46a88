"""Ranks on MPI, through mpi4py: the processes that `mpiexec -n 4 minigan train` starts."""

import contextlib
import os
import time
from typing import Any, NoReturn

import numpy as np

from minigan.distributed.parcels import packed, unpacked
from minigan.distributed.ranks import Array, Ranks
from minigan.distributed.watch import Watch
from minigan.errors import MiniganError

__all__ = ["MpiRanks"]

PROMPT = 100  # looks without a look at the clock
LONG, NAP = 0.5, 1e-3  # seconds: another rank saves, draws or evaluates


class MpiRanks(Ranks):
    """The processes of an MPI communicator; arrays in host memory.

    Exchanges are the non-blocking ones of MPI, which are looked after until they are over: a blocking one could not be
    left when another rank has failed. They are no slower.

    Args:
        comm: an mpi4py communicator, of which a copy is used, so that its messages meet no others; None for all
            processes.
        watch: learns which rank has failed.
    """

    def __init__(self, comm: Any = None, *, watch: Watch | None = None) -> None:
        from mpi4py import MPI

        self._mpi, self.watch = MPI, watch
        self.comm = (MPI.COMM_WORLD if comm is None else comm).Dup()
        self.rank, self.size = self.comm.rank, self.comm.size
        self.local_rank = self.comm.Split_type(MPI.COMM_TYPE_SHARED).rank
        self._left: Any = None  # an exchange without an end: its memory is still MPI's

    def sum(self, array: Array) -> Array:
        if isinstance(array, np.ndarray) and array.ndim and array.flags.c_contiguous:
            self._finish(self.comm.Iallreduce(self._mpi.IN_PLACE, array))
            return array
        total = np.array(array)
        self._finish(self.comm.Iallreduce(self._mpi.IN_PLACE, total))
        if isinstance(array, np.ndarray) and array.ndim:
            array[...] = total
            return array
        return total[()]

    def whole(self, rows: Array) -> Array:
        return self.in_order(self._gathered(np.ascontiguousarray(rows)))

    def any(self, flag: bool) -> bool:
        return bool(self.sum(np.array([flag], np.int64))[0])

    def gather(self, value: Any) -> list[Any]:
        own = np.frombuffer(packed(value), np.uint8)
        sizes = self._gathered(np.array([own.size], np.int64))[:, 0]
        padded = np.zeros(sizes.max(), np.uint8)
        padded[: own.size] = own
        parts = self._gathered(padded)
        return [unpacked(part[:size].tobytes()) for part, size in zip(parts, sizes, strict=True)]

    def from_first(self, value: Any) -> Any:
        content = np.frombuffer(packed(value if self.is_first else None), np.uint8)
        size = np.array([content.size], np.int64)
        self._finish(self.comm.Ibcast(size, root=0))
        buffer = content.copy() if self.is_first else np.empty(size[0], np.uint8)
        self._finish(self.comm.Ibcast(buffer, root=0))
        return value if self.is_first else unpacked(buffer.tobytes())

    def barrier(self) -> None:
        self._finish(self.comm.Ibarrier())

    def tell(self, error: BaseException) -> None:
        if self.watch is not None:
            self.watch.tell(error)

    def can_resume(self, text: str) -> None:
        if self.watch is not None:
            self.watch.can_resume(text)

    def abort(self, code: int) -> NoReturn:
        with contextlib.suppress(OSError):  # MPI's line about an abort would follow the one that says why
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        if not self._mpi.Is_finalized():
            self._mpi.COMM_WORLD.Abort(code)  # of a copy, it would end this host's ranks alone
        os._exit(code)  # it does not come back

    # ------------------------------------------------------------------------------------------ one exchange

    def _gathered(self, own: np.ndarray) -> np.ndarray:
        """Arrays of one shape of all ranks, (size, *shape)."""
        parts = np.empty((self.size, *own.shape), own.dtype)
        self._finish(self.comm.Iallgather(own, parts))
        return parts

    def _finish(self, exchange: Any) -> None:
        """Waits until an exchange is over.

        Raises:
            MiniganError: another rank has failed, was killed or is silent.
        """
        watch, is_over = self.watch, exchange.Test
        if watch is not None:
            watch.exchanges += 1
        for _ in range(PROMPT):
            if is_over():
                return
        began = time.monotonic()
        try:
            while not is_over():
                waited = time.monotonic() - began
                if watch is not None:
                    watch.expect_all(waited)
                _let_others_run(waited)
        except BaseException as error:
            # One that fails right after an exchange has done its part of it: the step counts here, too.
            if isinstance(error, MiniganError) and any(is_over() for _ in range(PROMPT)):
                return
            self._left = exchange
            raise


def _let_others_run(waited: float) -> None:
    """Leaves the CPU to those who are waited for; sleeps, once it takes longer than any step's differences."""
    if waited > LONG:
        time.sleep(NAP)
    elif hasattr(os, "sched_yield"):
        os.sched_yield()
