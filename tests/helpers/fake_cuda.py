"""CUDA's streams, events, graphs and memory pools, as far as `fake_cupy` has use for them.

Its rules are those that a captured step can break. While a stream is captured nothing is executed: results are full of
NaN until the graph is launched. To copy from the host, to ask for a number or to take memory from the default pool is
an error then. After each launch all memory is spoilt that nobody refers to any more, as the next graph may use it. What
is queued on a stream that copies is done no sooner than somebody waits for it.
"""

import contextlib
import threading
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


class CUDARuntimeError(RuntimeError):
    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class CompileException(Exception):
    pass


class OutOfMemoryError(MemoryError):
    pass


class MemoryPool:
    """Counts bytes: those of arrays that are alive, and the most that they ever were since `free_all_blocks`."""

    def __init__(self, allocator: Callable[[int], Any] | None = None) -> None:
        self.allocator = allocator
        self.used = self.total = 0
        self.limit: int | None = None

    def malloc(self, nbytes: int) -> "Block":
        if self.limit is not None and self.used + nbytes > self.limit:
            raise OutOfMemoryError(
                f"Out of memory allocating {nbytes:,} bytes (allocated so far: {self.used:,} bytes)."
            )
        if self.allocator is not None and self.used + nbytes > self.total:
            self.allocator(self.used + nbytes - self.total)
        return Block(self, nbytes)

    def used_bytes(self) -> int:
        return self.used

    def total_bytes(self) -> int:
        return self.total

    def free_all_blocks(self) -> None:
        self.total = self.used


class Block:
    def __init__(self, pool: MemoryPool, nbytes: int) -> None:
        self.pool, self.nbytes = pool, nbytes
        pool.used += nbytes
        pool.total = max(pool.total, pool.used)

    def __del__(self) -> None:
        self.pool.used -= self.nbytes


class Memory:
    """Memory of the device, as a pool takes it."""

    def __init__(self, nbytes: int) -> None:
        self.size = nbytes


class Graph:
    def __init__(self) -> None:
        self.operations: list[Callable[[], Any]] = []
        self.results: list[tuple[Callable[[], Any], np.ndarray]] = []  # (the array's owner, if alive; its memory)

    def launch(self, stream: "Stream | None" = None) -> None:  # noqa: ARG002 (CuPy's signature)
        DEVICE.refuse("a graph is launched")
        DEVICE.launches += 1
        with np.errstate(all="ignore"):
            for operation in self.operations:
                operation()
        for owner, memory in self.results:
            if owner() is None:
                spoil(memory)


class Stream:
    """Only streams other than the one that computes are late."""

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.null, self.non_blocking = null, non_blocking
        self.queue: deque[Callable[[], Any]] = deque()
        self.issued = self.finished = 0

    def __enter__(self) -> "Stream":
        DEVICE.streams.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        DEVICE.streams.pop()

    @property
    def ptr(self) -> int:
        return id(self)

    def enqueue(self, operation: Callable[[], Any]) -> None:
        self.queue.append(operation)
        self.issued += 1

    def finish(self, count: int) -> None:
        while self.finished < count:
            self.queue.popleft()()
            self.finished += 1

    def synchronize(self) -> None:
        DEVICE.refuse("a stream is waited for")
        DEVICE.waits += 1
        self.finish(self.issued)

    def record(self, event: "Event") -> "Event":
        event.stream, event.count = self, self.issued
        return event

    def wait_event(self, event: "Event") -> None:
        if self.queue or self is not DEVICE.streams[0]:
            stream, count = event.stream, event.count
            self.enqueue(lambda: stream and stream.finish(count))
        elif event.stream is not None:
            event.stream.finish(event.count)

    def begin_capture(self) -> None:
        if self.null or not self.non_blocking or DEVICE.streams[-1] is not self:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: expected a stream of one's own, in use")
        DEVICE.graph = Graph()

    def end_capture(self) -> Graph:
        graph, DEVICE.graph = DEVICE.graph, None
        if graph is None:
            raise CUDARuntimeError("cudaErrorIllegalState: no capture")
        return graph


class Event:
    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:  # noqa: ARG002
        self.stream: Stream | None = None
        self.count = 0

    def synchronize(self) -> None:
        DEVICE.refuse("an event is waited for")
        if self.stream is not None:
            self.stream.finish(self.count)


class Device(threading.local):
    """State shared by all of the stand-in; each thread has a device of its own.

    Attributes:
        waits: how often the host asked for a number, or waited for the stream that computes.
        copies: from the host.
        launches: of graphs.
        graph: that is captured.
        id: the number of the device.
        count: devices of all threads.
    """

    count = 1

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As if nothing had happened yet."""
        self.waits = self.copies = self.launches = self.id = 0
        self.graph: Graph | None = None
        self.streams = [Stream(null=True)]
        self.default_pool = MemoryPool()
        self.pools = [self.default_pool.malloc]

    def refuse(self, what: str) -> None:
        if self.graph is not None:
            raise CUDARuntimeError(f"cudaErrorStreamCaptureUnsupported: {what} while a stream is captured")

    def wait(self) -> None:
        self.refuse("a number is asked for")
        self.waits += 1

    def copy_from_host(self) -> None:
        self.refuse("a host array is copied")
        self.copies += 1

    def allocate(self, nbytes: int) -> Block:
        if self.graph is not None and self.pools[-1] == self.default_pool.malloc:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: memory of the default pool in a graph")
        return self.pools[-1](nbytes)

    @contextlib.contextmanager
    def using_allocator(self, malloc: Callable[[int], Block]) -> Iterator[None]:
        self.pools.append(malloc)
        try:
            yield
        finally:
            self.pools.pop()

    def record(self, operation: Callable[[], Any]) -> None:
        """One more thing that a launch of the captured graph does: the hook for kernels of one's own."""
        assert self.graph is not None
        self.graph.operations.append(operation)

    def compute(self, operation: Callable[[], Any], *, writes: bool, memory: list[np.ndarray]) -> Any:
        """An operation's result now; while a stream is captured, arrays that a launch will fill.

        Args:
            writes: it changes an array, and its result does not matter.
            memory: of the arrays that it is given.
        """
        if self.graph is None:
            return operation()
        if writes:
            return self.record(operation)
        with np.errstate(all="ignore"):
            result = operation()  # for its shape, on what happens to be in memory
        return self._promised(result, operation, memory)

    def _promised(self, result: Any, operation: Callable[[], Any], memory: list[np.ndarray]) -> Any:
        if isinstance(result, tuple | list):
            parts = [self._promised(r, lambda i=i: operation()[i], memory) for i, r in enumerate(result)]
            return type(result)(parts)
        if not isinstance(result, np.ndarray | np.generic) or any(np.may_share_memory(result, m) for m in memory):
            return result
        array = np.array(result, copy=True)
        spoil(array)
        self.record(lambda: np.copyto(array, operation()))
        return array

    def owned(self, array: Any) -> None:
        """An array with memory of its own came to be."""
        if self.graph is not None:
            self.graph.results.append((weakref.ref(array), array.host))


def spoil(array: np.ndarray) -> None:
    array.fill(np.nan if array.dtype.kind == "f" else 0)


DEVICE = Device()


class Numbered:
    """cupy.cuda.Device."""

    def __init__(self, number: int | None = None) -> None:
        self.id = DEVICE.id if number is None else number

    def use(self) -> None:
        if self.id >= DEVICE.count:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        DEVICE.id = self.id


def make_module() -> types.SimpleNamespace:
    """cupy.cuda."""
    return types.SimpleNamespace(
        Device=Numbered,
        Event=Event,
        Graph=Graph,
        Memory=Memory,
        MemoryPointer=lambda memory, offset: types.SimpleNamespace(mem=memory, ptr=offset),
        MemoryPool=MemoryPool,
        Stream=Stream,
        alloc_pinned_memory=bytearray,
        get_current_stream=lambda: DEVICE.streams[-1],
        compiler=types.SimpleNamespace(CompileException=CompileException),
        memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        using_allocator=DEVICE.using_allocator,
        runtime=types.SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            deviceGetPCIBusId=lambda number: f"0000:0{number}:00.0",
            getDeviceCount=lambda: DEVICE.count,
            getDeviceProperties=lambda _: {
                "name": b"no GPU",
                "multiProcessorCount": 4,
                "major": 9,
                "sharedMemPerBlockOptin": 227 << 10,
            },
            driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13020,
            memGetInfo=lambda: (10**9, 2 * 10**9),
        ),
    )
