"""A team of threads that run the parts of one kernel at the same time.

Why not Numba's `prange`: of its threading layers, workqueue aborts the process when two threads enter it at once,
OpenMP kills a forked child and its idle threads spin on the cores that OpenBLAS or a data loader needs, and TBB is
rarely there; each parallel kernel also costs a second compilation. Kernels here are plain functions of
(part, parts, ...) that run without the interpreter lock, so ordinary Python threads do: they sleep when idle, any
number of callers may use them, and a part's work depends on nothing but its number, so results repeat bit for bit.

Sleeping has a price: a thread that wakes is put where the kernel's scheduler likes, and for bursts of a few
milliseconds it may leave the woken thread on the CPU of the one that woke it, beside an idle CPU. So where the
system can say which CPU the caller is on (Linux), the workers are kept off it.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any


def _find_current_cpu() -> Callable[[], int] | None:
    if not hasattr(os, "sched_setaffinity"):
        return None
    return getattr(ctypes.PyDLL(None), "sched_getcpu", None)


current_cpu = _find_current_cpu()

Inbox = SimpleQueue[tuple[Callable[..., None], tuple[Any, ...], SimpleQueue[BaseException | None]]]


class Team:
    """Runs a kernel's parts on `size` threads, one of them the caller's."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._inbox: Inbox | None = None
        self._process = 0
        self._workers: list[threading.Thread] = []
        self._caller_cpu = -1

    def run(self, kernel: Callable[..., None], *arguments: Any, parts: int | None = None) -> None:
        """Calls kernel(part, parts, *arguments) for every part, and returns when all are done.

        Args:
            parts: at most `size`; fewer where more threads would cost more than they bring.
        """
        parts = self.size if parts is None else min(parts, self.size)
        if parts == 1:
            kernel(0, 1, *arguments)
            return
        inbox = self._started()
        if current_cpu is not None:
            self._make_way(current_cpu())
        done: SimpleQueue[BaseException | None] = SimpleQueue()
        for part in range(1, parts):
            inbox.put((kernel, (part, parts, *arguments), done))
        errors: list[BaseException | None] = []
        try:
            kernel(0, parts, *arguments)
        finally:  # the others still write to the arguments' memory
            errors = [done.get() for _ in range(1, parts)]
        for error in errors:
            if error is not None:
                raise error

    def _started(self) -> Inbox:
        """The queue that the workers listen to. A forked child has no threads but the caller's: it starts its own."""
        if self._inbox is None or self._process != os.getpid():
            with self._lock:
                if self._inbox is None or self._process != os.getpid():
                    self._inbox, self._process = SimpleQueue(), os.getpid()
                    self._caller_cpu = -1
                    self._workers = [
                        threading.Thread(target=_work, args=(self._inbox,), name=f"minigan-{number}", daemon=True)
                        for number in range(1, self.size)
                    ]
                    for worker in self._workers:
                        worker.start()
        return self._inbox

    def _make_way(self, cpu: int) -> None:
        """Keeps the workers off the caller's CPU, if there are CPUs enough; a system call only when that changes."""
        if cpu == self._caller_cpu:
            return
        self._caller_cpu = cpu
        cpus = os.sched_getaffinity(0) - {cpu}
        if len(cpus) >= self.size - 1:
            for worker in self._workers:
                os.sched_setaffinity(worker.native_id or 0, cpus)

    def __del__(self) -> None:
        if self._inbox is not None and self._process == os.getpid():
            for _ in range(1, self.size):
                self._inbox.put((_stop, (), SimpleQueue()))


def _work(inbox: Inbox) -> None:
    while True:
        kernel, arguments, done = inbox.get()
        if kernel is _stop:
            return
        failure: BaseException | None = None
        try:
            kernel(*arguments)
        except BaseException as error:
            failure = error
        # Before the caller goes on: else its arrays would not be its alone, and their memory not be used again.
        del kernel, arguments
        done.put(failure)
        del done, failure


def _stop() -> None:
    """A message, never called."""
