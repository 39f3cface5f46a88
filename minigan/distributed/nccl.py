"""Ranks with a GPU each: sums and rows go from GPU to GPU through NCCL, everything else through other ranks (MPI's).

Calls are put on the current stream, and the host goes on at once. So a captured step holds them: each replay of its
graph exchanges anew, as long as all ranks launch the same graphs in the same order.

Source: NVIDIA, NCCL User Guide, "Using NCCL with CUDA Graphs".
"""

import ctypes
import functools
from collections import defaultdict
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from minigan.distributed.ranks import Array, Ranks
from minigan.errors import BackendError, ConfigError

__all__ = ["NcclRanks", "Seat", "communicator", "expect_own_devices"]


class Seat(NamedTuple):
    """Where a rank computes.

    Attributes:
        backend: its name.
        host: the name of the machine.
        device: the bus address of its GPU there; "" without one.
        missing: a line, if NCCL cannot be used.
    """

    backend: str
    host: str
    device: str = ""
    missing: str = ""


class NcclRanks(Ranks):
    """Ranks whose arrays are on GPUs.

    Args:
        ranks: carry what is in host memory, and say who is who.
        xp: cupy.
        nccl: cupy.cuda.nccl.
        link: its communicator of all ranks, see `communicator`.
    """

    capturable = True

    def __init__(self, ranks: Ranks, xp: ModuleType, nccl: ModuleType, link: Any) -> None:
        self.ranks, self._xp, self._nccl, self._link = ranks, xp, nccl, link
        self.rank, self.size, self.local_rank = ranks.rank, ranks.size, ranks.local_rank
        self.warning, self.units = ranks.warning, ranks.units

    def sum(self, array: Array) -> Array:
        if not isinstance(array, self._xp.ndarray):
            return self.ranks.sum(array)
        if array.ndim and array.flags.c_contiguous:
            self._add_up(array)
            return array
        total = array.copy()
        self._add_up(total)
        if not array.ndim:
            return total
        array[...] = total
        return array

    def whole(self, rows: Array) -> Array:
        if not isinstance(rows, self._xp.ndarray):
            return self.ranks.whole(rows)
        own = self._xp.ascontiguousarray(rows)
        parts = self._xp.empty((self.size, *own.shape), dtype=own.dtype)
        self._link.allGather(own.data.ptr, parts.data.ptr, own.nbytes, self._nccl.NCCL_UINT8, self._stream())
        return self.in_order(parts)

    def _add_up(self, array: Array) -> None:
        """The sum over all ranks in place of an array that is contiguous."""
        kind = getattr(self._nccl, f"NCCL_{array.dtype.name.upper()}", None)
        if kind is None:
            raise BackendError(f"NCCL has no sums of {array.dtype.name}. Give it floats or integers.")
        place = array.data.ptr
        self._link.allReduce(place, place, array.size, kind, self._nccl.NCCL_SUM, self._stream())

    def _stream(self) -> int:
        """The current stream's address; of a step that is captured, the stream that captures."""
        address: int = self._xp.cuda.get_current_stream().ptr
        return address

    # ------------------------------------------------------------------------------------------ anything else

    def any(self, flag: bool) -> bool:
        return self.ranks.any(flag)

    def gather(self, value: Any) -> list[Any]:
        return self.ranks.gather(value)

    def from_first(self, value: Any) -> Any:
        return self.ranks.from_first(value)

    def barrier(self) -> None:
        self.ranks.barrier()

    def tell(self, error: BaseException) -> None:
        self.ranks.tell(error)

    def can_resume(self, text: str) -> None:
        self.ranks.can_resume(text)

    def abort(self, code: int) -> NoReturn:
        self.ranks.abort(code)

    def deal(self, batch_size: int, *, together: int = 1) -> int:
        own = self.ranks.deal(batch_size, together=together)
        self.units = self.ranks.units
        return own


def expect_own_devices(seats: list[Seat]) -> None:
    """Compares the seats of all ranks, on each of them with the same result.

    Raises:
        BackendError: a rank lacks NCCL.
        ConfigError: two ranks have one GPU.
    """
    for rank, seat in enumerate(seats):
        if seat.missing:
            raise BackendError(f"{len(seats)} ranks on GPUs need NCCL, and rank {rank} has none: {seat.missing}")
    sharing: dict[Seat, list[str]] = defaultdict(list)
    for rank, seat in enumerate(seats):
        sharing[seat].append(str(rank))
    for seat, ranks in sharing.items():
        if len(ranks) > 1:
            raise ConfigError(
                f"ranks {', '.join(ranks)} have one GPU ({seat.device} of {seat.host}), but NCCL wants one for each. "
                "Start as many ranks on a host as it has GPUs, or train with `backend='cpu'`."
            )


@functools.cache
def communicator(ranks: Ranks, nccl: ModuleType) -> Any:
    """NCCL's communicator of these ranks, on the current device; all of them call this.

    Raises:
        BackendError: NCCL cannot connect them.
    """
    name = tuple(ranks.from_first(nccl.get_unique_id() if ranks.is_first else None))
    try:
        link = nccl.NcclCommunicator(ranks.size, name, ranks.rank)
    except RuntimeError as error:  # NcclError is one
        raise BackendError(
            f"NCCL cannot connect the GPUs of {ranks.size} ranks: {error}. NCCL_DEBUG=WARN tells more."
        ) from error
    # It lasts as long as the process: NCCL waits, at its end, for all graphs that hold its calls.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(link))
    return link
