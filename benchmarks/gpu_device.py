"""The GPU under a benchmark: its times, by its own events; its memory; what it is."""

import gc
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

from minigan.backends import Backend
from minigan.backends.reference import ReferenceBackend

Call = Callable[[], Any]

FLUSHED = 1 << 29  # bytes written before a timed call: several times any L2, and time for the host to get ahead
WARM_UPS = 3
LEAST, MOST = 5, 200  # timed calls


class Times(NamedTuple):
    """Times of many calls, in seconds."""

    min: float
    median: float
    calls: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Times":
        ordered = sorted(seconds)
        middle = len(ordered) // 2
        return cls(ordered[0], (ordered[middle] + ordered[~middle]) / 2, len(ordered))


class Peak(NamedTuple):
    """Bytes: of the arrays that were alive at the peak; and what the device had less at the end, caches and all."""

    used: int
    taken: int


class Device:
    """CuPy's current device.

    Its current stream is also PyTorch's, the legacy default one, so that the same events time both.

    Attributes:
        xp: cupy.
    """

    def __init__(self, xp: ModuleType) -> None:
        self.xp = xp

    def backend(self, precision: str) -> Backend:
        from minigan.backends.gpu import GpuBackend

        return GpuBackend(precision=precision)

    def oracle(self) -> Backend:
        """The reference's kernels on the device: in double precision, by CuPy's own ones and cuBLAS, in seconds."""
        xp = self.xp

        class OnDevice(ReferenceBackend):
            def asarray(self, array: Any, *, dtype: Any = None) -> Any:
                return xp.ascontiguousarray(xp.asarray(array, dtype=dtype))

            def to_numpy(self, array: Any) -> Any:
                xp.get_default_memory_pool().free_all_blocks()  # what is left of large temporary arrays
                return xp.asnumpy(array)

        OnDevice.xp = xp
        return OnDevice()

    def describe(self) -> dict[str, Any]:
        """Card, memory, driver, CUDA, and libraries, PyTorch's own ones included."""
        runtime = self.xp.cuda.runtime
        properties = runtime.getDeviceProperties(self.xp.cuda.Device().id)
        return {
            "card": properties["name"].decode(),
            "gib": round(properties["totalGlobalMem"] / 2**30, 1),
            "multiprocessors": properties["multiProcessorCount"],
            "l2_mib": round(properties["l2CacheSize"] / 2**20, 1),
            "driver": driver(),
            "driver_cuda": version(runtime.driverGetVersion()),
            "cuda": version(runtime.runtimeGetVersion()),
            "cupy": self.xp.__version__,
            **torch_versions(),
        }

    def synchronize(self) -> None:
        """Waits until the device has finished all queued work.

        Raises:
            cupy.cuda.runtime.CUDARuntimeError: it cannot, and this process cannot use it any more.
        """
        self.xp.cuda.Device().synchronize()

    def is_lost(self) -> bool:
        """Tells whether this process can no longer use the device, as after a kernel's illegal access."""
        try:
            self.synchronize()
        except Exception:  # CuPy's and PyTorch's own kinds
            return True
        return False

    def time_kernel(self, call: Call, *, seconds: float) -> Times:
        """The device's time for a call whose operands are in no cache.

        Events around each call; the calls are queued one after the other without waiting, and before each one a large
        block of memory is overwritten. While that lasts the host prepares the call, so launches are not in the time.
        """
        event = self.xp.cuda.Event
        block = self.xp.empty(FLUSHED, dtype="uint8")

        def timed(count: int) -> list[float]:
            pairs = []
            for _ in range(count):
                block.fill(0)
                began, ended = event(), event()
                began.record()
                call()
                ended.record()
                pairs.append((began, ended))
            self.synchronize()
            return [1e-3 * self.xp.cuda.get_elapsed_time(*pair) for pair in pairs]

        timed(WARM_UPS)
        began = time.perf_counter()
        timed(1)
        return Times.of(timed(repeats(seconds, time.perf_counter() - began)))

    def time_steps(self, step: Call, *, seconds: float, rounds: int) -> Times:
        """The time that a user waits: the host's clock over turns of many steps, until the device has finished each.

        Args:
            seconds: about how long all turns last.
        """
        self.synchronize()
        began = time.perf_counter()
        for _ in range(WARM_UPS):
            step()
        self.synchronize()
        count = repeats(seconds / rounds, (time.perf_counter() - began) / WARM_UPS)
        found = []
        for _ in range(rounds):
            began = time.perf_counter()
            for _ in range(count):
                step()
            self.synchronize()
            found.append((time.perf_counter() - began) / count)
        return Times.of(found)

    @contextmanager
    def watched_memory(self) -> Iterator[Callable[[], Peak]]:
        """While entered, follows CuPy's arrays; what it gives tells the peak until then.

        What a graph works on counts as its arrays did while it was captured.
        """
        gc.collect()
        self.xp.get_default_memory_pool().free_all_blocks()
        watch, free = watcher(self.xp), self.free_memory()
        with watch:
            yield lambda: Peak(watch.peak, free - self.free_memory())

    def free_memory(self) -> int:
        """Bytes that the device has left."""
        free: int = self.xp.cuda.runtime.memGetInfo()[0]
        return free


def watcher(xp: ModuleType) -> Any:
    """A hook into CuPy's pools that adds up what they have given and not got back."""

    class Watcher(xp.cuda.MemoryHook):
        name = "Watcher"
        used = peak = 0

        def malloc_postprocess(self, **found: Any) -> None:
            self.used += found["mem_size"]
            self.peak = max(self.peak, self.used)

        def free_postprocess(self, **found: Any) -> None:
            self.used -= found["mem_size"]

    return Watcher()


def repeats(seconds: float, of_one: float) -> int:
    """The number of repetitions that fit into that time, within the limits."""
    return max(LEAST, min(MOST, round(seconds / max(of_one, 1e-9))))


def version(number: int) -> str:
    """CUDA's 13020 as 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def driver() -> str | None:
    """As nvidia-smi has it."""
    try:
        line = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"[\d.]+", line)
    return found[0] if found else None


def torch_versions() -> dict[str, Any]:
    """PyTorch's, CUDA's and cuDNN's; none without a PyTorch that has CUDA."""
    if not has_torch():
        return {"torch": None}
    import torch

    return {"torch": torch.__version__, "torch_cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}


def has_torch() -> bool:
    """Tells whether PyTorch is installed and sees a GPU."""
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def find() -> Device:
    """The device that minigan's gpu backend would use.

    Raises:
        MissingExtraError, BackendError: there is none.
    """
    from minigan.backends import get_backend

    return Device(get_backend("gpu").xp)
