"""Ranks on MPI, through mpi4py: the processes that `mpiexec -n 4 minigan train` starts."""

import os
from typing import Any, NoReturn

import numpy as np

from minigan.distributed.ranks import Array, Ranks

__all__ = ["MpiRanks"]


class MpiRanks(Ranks):
    """The processes of an MPI communicator; arrays in host memory.

    Args:
        comm: an mpi4py communicator, of which a copy is used, so that its messages meet no others; None for all
            processes.
    """

    def __init__(self, comm: Any = None) -> None:
        from mpi4py import MPI

        self._mpi = MPI
        self.comm = (MPI.COMM_WORLD if comm is None else comm).Dup()
        self.rank, self.size = self.comm.rank, self.comm.size
        self.local_rank = self.comm.Split_type(MPI.COMM_TYPE_SHARED).rank

    def sum(self, array: Array) -> Array:
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
        own = np.ascontiguousarray(rows)
        parts = np.empty((self.size, *own.shape), own.dtype)
        self.comm.Allgather(own, parts)
        return self.in_order(parts)

    def any(self, flag: bool) -> bool:
        return bool(self.comm.allreduce(bool(flag), op=self._mpi.LOR))

    def gather(self, value: Any) -> list[Any]:
        return list(self.comm.allgather(value))

    def from_first(self, value: Any) -> Any:
        return self.comm.bcast(value if self.is_first else None, root=0)

    def barrier(self) -> None:
        self.comm.Barrier()

    def abort(self, code: int) -> NoReturn:
        self.comm.Abort(code)
        os._exit(code)  # it does not come back
