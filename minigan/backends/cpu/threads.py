"""A team of threads that run the parts of one kernel at the same time.

Why not Numba's `prange`: of its threading layers, workqueue aborts the process when two threads enter it at once,
OpenMP kills a forked child and its idle threads spin on the cores that OpenBLAS or a data loader needs, and TBB is
rarely there; each parallel kernel also costs a second compilation. Kernels here are plain functions of
(part, parts, ...) that run without the interpreter lock, so ordinary Python threads do: they sleep when idle, any
number of callers may use them, and a part's work depends on nothing but its number, so results repeat bit for bit. They
do so, too, where the system starts fewer threads than parts, or none: the caller does what no worker has begun.

Sleeping has a price. It takes some 50 µs to wake a thread, so both sides first watch for a moment, see `waiting.py`.
They watch counters, which are only hints; queues carry the work. And for bursts of a few milliseconds the operating
system may leave a woken thread on the CPU of the thread that woke it, although another CPU is idle. So where the system
can say which CPU the caller is on (Linux), the workers are kept off it.
"""

import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from minigan.backends.cpu.waiting import MANNERS, PATIENCE, turns_per_second, watch
from minigan.support.cpu_limit import usable_cpus
from minigan.support.threads import start_thread, warn_fewer_threads


def _find_current_cpu() -> Callable[[], int] | None:
    if not hasattr(os, "sched_setaffinity"):
        return None
    try:
        return getattr(ctypes.PyDLL(None), "sched_getcpu", None)
    except OSError:  # a Python that is linked statically
        return None


current_cpu = _find_current_cpu()

Outcome = BaseException | None
Task = tuple[Callable[..., None], tuple[Any, ...], SimpleQueue[Outcome]]
Inbox = SimpleQueue[Task]


class Bell:
    """A counter of things put into queues, to watch for a moment before sleeping until a queue has something.

    Only a hint: an item may be another thread's, and a ring may be lost. What is in a queue decides.
    """

    def __init__(self, turns_per_second: float) -> None:
        self._rings = np.zeros(16, np.int64)  # a cache line of its own, and the next, which is fetched with it
        self._manners = int(MANNERS * turns_per_second)
        self.turns = self.full_turns = int(PATIENCE * turns_per_second)

    def ring(self) -> None:
        self._rings[0] += 1

    def wait(self, queue: SimpleQueue[Any]) -> Any:
        """The next item of a queue."""
        while True:
            seen = self._rings.item(0)
            if not queue.empty() or not watch(self._rings, 0, seen, self.turns, self._manners):
                return queue.get()


class Team:
    """Runs a kernel's parts on `size` threads, one of them the caller's."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._inbox: Inbox | None = None
        self._posted: Bell
        self._finished: Bell
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
        done: SimpleQueue[Outcome] = SimpleQueue()
        for part in range(1, parts):
            inbox.put((kernel, (part, parts, *arguments), done))
        self._posted.ring()
        errors: list[Outcome] = []
        try:
            kernel(0, parts, *arguments)
        finally:  # the others still write to the arguments' memory
            self._help(inbox)
            errors = [self._finished.wait(done) for _ in range(1, parts)]
        for error in errors:
            if error is not None:
                raise error

    def _help(self, inbox: Inbox) -> None:
        """Takes over parts that no worker has begun: on a busy machine a worker may wait for a CPU for milliseconds."""
        try:
            while not inbox.empty():
                _perform_next(inbox.get_nowait, self._finished)
        except Empty:  # a worker was quicker
            pass

    def _started(self) -> Inbox:
        """The queue that the workers listen to. A forked child has no threads but the caller's: it starts its own."""
        if self._inbox is None or self._process != os.getpid():
            with self._lock:
                if self._inbox is None or self._process != os.getpid():
                    # With fewer CPUs than threads, who watches may keep from its work the thread that it waits for.
                    speed = turns_per_second() if usable_cpus().threads >= self.size else 0.0
                    self._posted, self._finished = Bell(speed), Bell(speed)
                    self._caller_cpu = -1
                    inbox: Inbox = SimpleQueue()
                    arguments = (inbox, self._posted, self._finished)
                    self._workers = []
                    for number in range(1, self.size):
                        worker = threading.Thread(target=_work, args=arguments, name=f"minigan-{number}", daemon=True)
                        if not start_thread(worker):
                            warn_fewer_threads()
                            break
                        self._workers.append(worker)
                    self._inbox, self._process = inbox, os.getpid()
                    weakref.finalize(self, _dismiss, inbox, len(self._workers), self._process)
        return self._inbox

    def _make_way(self, cpu: int) -> None:
        """Keeps the workers off the caller's CPU, if there are CPUs enough; a system call only when that changes.

        If there are not, nobody watches.
        """
        if cpu == self._caller_cpu:
            return
        self._caller_cpu = cpu
        try:
            cpus = os.sched_getaffinity(0) - {cpu}
            enough = len(cpus) >= self.size - 1
            if enough:
                for worker in self._workers:
                    os.sched_setaffinity(worker.native_id or 0, cpus)
        except OSError:  # a sandbox forbids it: workers run where the system puts them, and nobody watches
            enough = False
        for bell in (self._posted, self._finished):
            bell.turns = bell.full_turns if enough else 0


def _dismiss(inbox: Inbox, workers: int, process: int) -> None:
    """Ends the workers, when their team is gone or the program exits."""
    if process == os.getpid():
        for _ in range(workers):
            inbox.put((_stop, (), SimpleQueue()))


def _work(inbox: Inbox, posted: Bell, finished: Bell) -> None:
    take = partial(posted.wait, inbox)
    while _perform_next(take, finished):
        pass


def _perform_next(take: Callable[[], Task], finished: Bell) -> bool:
    """Takes a part from the queue, runs it and reports to the caller; False if it was the message to stop."""
    kernel, arguments, done = take()
    if kernel is _stop:
        return False
    failure: Outcome = None
    try:
        kernel(*arguments)
    except BaseException as error:
        failure = error
    # Before the caller continues: otherwise its arrays would have other owners, and their memory would not be reused.
    del kernel, arguments
    done.put(failure)
    finished.ring()
    return True


def _stop() -> None:
    """A message, never called."""
