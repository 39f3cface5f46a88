"""Ranks on MPI, through mpi4py: the processes that `mpiexec -n 4 minigan train` starts."""

import os
import time
from typing import Any, NoReturn

import numpy as np

from minigan.distributed.ranks import Array, Ranks
from minigan.distributed.watch import Watch

__all__ = ["MpiRanks"]

PROMPT = 100  # looks without a look at the clock


class MpiRanks(Ranks):
    """The processes of an MPI communicator; arrays in host memory.

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

    def arrive(self) -> None:
        """Waits until all ranks have come to the same exchange. An exchange itself cannot be left before its end.

        Raises:
            MiniganError: another rank has failed, was killed or is silent.
        """
        if (watch := self.watch) is None:
            return
        watch.exchanges += 1
        is_over = self.comm.Ibarrier().Test
        for _ in range(PROMPT):
            if is_over():
                return
        began = time.monotonic()
        while not is_over():
            watch.expect_all(time.monotonic() - began)

    def tell(self, error: BaseException) -> None:
        if self.watch is not None:
            self.watch.tell(error)

    def can_resume(self, text: str) -> None:
        if self.watch is not None:
            self.watch.can_resume(text)

    def sum(self, array: Array) -> Array:
        self.arrive()
        if isinstance(array, np.ndarray) and array.ndim and array.flags.c_contiguous:
            self.comm.Allreduce(self._mpi.IN_PLACE, array)
            return array
        total = np.array(array)
        self.comm.Allreduce(self._mpi.IN_PLACE, total)
        if isinstance(array, np.ndarray) and array.ndim:
            array[...] = total
            return array
        return total[()]

    def mean(self, array: Array) -> Array:
        total = self.sum(array)
        if isinstance(total, np.ndarray):
            total *= total.dtype.type(1 / self.size)
            return total
        return total * type(total)(1 / self.size)

    def whole(self, rows: Array) -> Array:
        self.arrive()
        own = np.ascontiguousarray(rows)
        parts = np.empty((self.size, *own.shape), own.dtype)
        self.comm.Allgather(own, parts)
        return self.in_order(parts)

    def any(self, flag: bool) -> bool:
        self.arrive()
        return bool(self.comm.allreduce(bool(flag), op=self._mpi.LOR))

    def gather(self, value: Any) -> list[Any]:
        self.arrive()
        return list(self.comm.allgather(value))

    def from_first(self, value: Any) -> Any:
        self.arrive()
        return self.comm.bcast(value if self.is_first else None, root=0)

    def barrier(self) -> None:
        self.arrive()
        self.comm.Barrier()

    def abort(self, code: int) -> NoReturn:
        self.comm.Abort(code)
        os._exit(code)  # it does not come back
