"""A stand-in for cupy.cuda.nccl, between threads that each have a device of the stand-in for CuPy.

Calls are given addresses and numbers of elements, as NCCL's; they are put on the current stream, and no other; while it
is captured, nothing is exchanged before the graph is launched. Two ranks on one device are refused.
"""

import ctypes
import itertools
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from fake_cuda import DEVICE
from thread_ranks import Meeting

KINDS = {1: "uint8", 2: "int32", 4: "int64", 7: "float32", 8: "float64"}  # ncclDataType_t
SUM = 0

_numbers = itertools.count()
_meetings: dict[tuple[int, ...], Meeting] = {}
_meeting = threading.Lock()


class NcclError(RuntimeError):
    pass


def get_unique_id() -> tuple[int, ...]:
    return (*next(_numbers).to_bytes(8, "little"), *bytes(120))


class NcclCommunicator:
    def __init__(self, size: int, name: tuple[int, ...], rank: int) -> None:
        assert type(name) is tuple
        DEVICE.refuse("a communicator is made")
        with _meeting:
            self.meeting = _meetings.setdefault(name, Meeting(size))
        self.rank, self.calls = rank, 0
        if len(set(self._exchange(DEVICE.id))) < size:
            raise NcclError("NCCL_ERROR_INVALID_USAGE: invalid usage")

    def allReduce(self, send: int, receive: int, count: int, kind: int, op: int, stream: int) -> None:
        assert op == SUM
        own, result = memory(send, count, kind), memory(receive, count, kind)

        def add_up() -> None:
            first, *others = self._exchange(own.copy())
            result[...] = sum(others, first)

        self._put_on(stream, add_up)

    def allGather(self, send: int, receive: int, count: int, kind: int, stream: int) -> None:
        own, result = memory(send, count, kind), memory(receive, count * len(self.meeting.places[0]), kind)
        self._put_on(stream, lambda: np.concatenate(self._exchange(own.copy()), out=result))

    def _exchange(self, value: Any) -> list[Any]:
        self.calls += 1
        return self.meeting.exchange(self.rank, value, self.calls)

    def _put_on(self, stream: int, operation: Callable[[], Any]) -> None:
        assert stream == DEVICE.streams[-1].ptr, "another stream than the current one"
        DEVICE.compute(operation, writes=True, memory=[])


def memory(address: int, count: int, kind: int) -> np.ndarray:
    """The array there."""
    dtype = np.dtype(KINDS[kind])
    return np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(address), dtype)


def make_module() -> types.ModuleType:
    """cupy.cuda.nccl."""
    module = types.ModuleType("cupy.cuda.nccl")
    module.__dict__.update(
        {f"NCCL_{name.upper()}": kind for kind, name in KINDS.items()},
        NCCL_SUM=SUM,
        NcclCommunicator=NcclCommunicator,
        NcclError=NcclError,
        available=True,
        get_unique_id=get_unique_id,
    )
    return module
