"""A team of threads that run the parts of one kernel at the same time.

Why not Numba's `prange`: of its threading layers, workqueue aborts the process when two threads enter it at once,
OpenMP kills a forked child and its idle threads spin on the cores that OpenBLAS or a data loader needs, and TBB is
rarely there; each parallel kernel also costs a second compilation. Kernels here are plain functions of
(part, parts, ...) that run without the interpreter lock, so ordinary Python threads do: they sleep when idle, any
number of callers may use them, and a part's work depends on nothing but its number, so results repeat bit for bit. They
do so, too, where the system starts fewer threads than parts, or none: the caller does what no worker has begun.

Compiled kernels are handed over in compiled code, see `launch.py`; a queue carries parts of long kernels and of Python
functions.

Sleeping has a price. It takes some 50 µs to wake a thread, as long as a small kernel. So both sides first watch for a
moment: a thread that watches a place in memory sees it change at once. And for bursts of a few milliseconds the
operating system may leave a woken thread on the CPU of the thread that woke it, although another CPU is idle. So where
the system can say which CPU the caller is on (Linux), the workers are kept off it.
"""

import ctypes
import os
import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import numba
import numpy as np

from minigan.backends.cpu import launch as mail
from minigan.backends.cpu.launch import launch, new_mailbox, replay, serve, types_key
from minigan.support.cpu_limit import usable_cpus
from minigan.support.threads import start_thread, warn_fewer_threads

# Seconds of watching before a thread goes to sleep: longer than the gaps between the kernels of a training step, so
# that threads are awake all through it; an idle program's are asleep.
PATIENCE = 2e-4
TRIALS, TRIAL_TURNS = 5, 1000


def _find_current_cpu() -> Callable[[], int] | None:
    if not hasattr(os, "sched_setaffinity"):
        return None
    try:
        return getattr(ctypes.PyDLL(None), "sched_getcpu", None)
    except OSError:  # a Python that is linked statically
        return None


def _address_of_yield() -> int:
    """The address of the system's function that lets other threads have the CPU; 0 if it is not found."""
    try:
        library = ctypes.CDLL("kernel32" if os.name == "nt" else None)
        function = library.SwitchToThread if os.name == "nt" else library.sched_yield
    except (OSError, AttributeError, TypeError):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


current_cpu = _find_current_cpu()
YIELD_ADDRESS = _address_of_yield()

NO_ROOM = np.empty(0, np.int64)

Outcome = BaseException | None
Task = tuple[Callable[..., None], tuple[Any, ...], SimpleQueue[Outcome]]
Inbox = SimpleQueue[Task | None]  # None wakes a worker, which then looks into the mailbox


class Team:
    """Runs a kernel's parts on `size` threads, one of them the caller's."""

    recording: Any = None  # of the step that is recorded, see `recording.py`

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = threading.Lock()
        self._inbox: Inbox | None = None
        self._mailbox: Any
        self._full_turns = 0
        self._process = 0
        self._workers: list[threading.Thread] = []
        self._caller_cpu = -1

    def run(self, kernel: Callable[..., None], *arguments: Any, parts: int | None = None) -> None:
        """Calls kernel(part, parts, *arguments) for every part, and returns when all are done.

        Args:
            parts: at most `size`; fewer where more threads would cost more than they bring.
        """
        parts = self.size if parts is None else min(parts, self.size)
        if (recording := self.recording) is not None and recording.is_open:
            recording.run(self, kernel, arguments, parts)
            return
        if parts == 1:
            kernel(0, 1, *arguments)
            return
        inbox = self._ready()
        if hasattr(kernel, "addresses"):
            self._launch(kernel, arguments, parts, inbox)
        else:
            self._call(kernel, arguments, parts, inbox)

    def _ready(self) -> Inbox:
        inbox = self._started()
        if current_cpu is not None:
            self._make_way(current_cpu())
        return inbox

    # ------------------------------------------------------------------------------------------ compiled kernels

    def _launch(
        self, kernel: Any, arguments: tuple[Any, ...], parts: int, inbox: Inbox, room: np.ndarray = NO_ROOM
    ) -> None:
        self._wake(parts, inbox)
        outcome = launch(self._mailbox, kernel.addresses, YIELD_ADDRESS, room, parts, *arguments)
        if outcome == mail.UNKNOWN:
            self._compile(kernel, arguments)
            outcome = launch(self._mailbox, kernel.addresses, YIELD_ADDRESS, room, parts, *arguments)
        if outcome == mail.WENT_WRONG:  # kernels raise nothing themselves
            raise MemoryError(f"no memory for what the kernel {kernel.__name__} computes in between.")

    def _wake(self, parts: int, inbox: Inbox) -> None:
        """Wakes as many workers as so many parts need."""
        for _ in range(parts - 1 - self._mailbox.item(mail.AWAKE) - inbox.qsize()):
            inbox.put(None)

    def kept(self, kernel: Any, arguments: tuple[Any, ...], parts: int, room: np.ndarray) -> None:
        """Runs a compiled kernel, and keeps the call in `room`, see `launch.keep_call`."""
        self._launch(kernel, arguments, parts, self._ready(), room)

    def replay(self, table: np.ndarray, counts: np.ndarray, first: int, last: int) -> bool:
        """Runs kept calls again, see `launch.replay`; whether all went well."""
        inbox = self._ready()
        self._wake(self.size, inbox)
        return bool(replay(self._mailbox, table, counts, first, last, YIELD_ADDRESS) == last)

    def _compile(self, kernel: Any, arguments: tuple[Any, ...]) -> None:
        """Notes the address of the kernel's code for arguments of these types."""
        kinds = tuple(map(numba.typeof, arguments))
        signature = (numba.int64, numba.int64, *kinds)
        kernel.compile(signature)
        code = kernel.overloads[signature]
        address = code.library.get_pointer_to_function(code.fndesc.llvm_func_name)
        with self._lock:
            kernel.addresses = np.append(kernel.addresses, [types_key(kinds), address])

    # ------------------------------------------------------------------------------------------ Python functions

    def _call(self, function: Callable[..., None], arguments: tuple[Any, ...], parts: int, inbox: Inbox) -> None:
        done: SimpleQueue[Outcome] = SimpleQueue()
        for part in range(1, parts):
            inbox.put((function, (part, parts, *arguments), done))
        self._mailbox[mail.RINGS] += 1
        errors: list[Outcome] = []
        try:
            function(0, parts, *arguments)
        finally:  # the others still write to the arguments' memory
            _help(inbox)
            errors = [done.get() for _ in range(1, parts)]
        for error in errors:
            if error is not None:
                raise error

    # ------------------------------------------------------------------------------------------ workers

    def _started(self) -> Inbox:
        """The queue that the workers listen to. A forked child has no threads but the caller's: it starts its own."""
        if self._inbox is None or self._process != os.getpid():
            with self._lock:
                if self._inbox is None or self._process != os.getpid():
                    # With fewer CPUs than threads, who watches may keep from its work the thread that it waits for.
                    crowded = usable_cpus().threads < self.size
                    self._full_turns = 0 if crowded else int(PATIENCE * turns_per_second())
                    self._mailbox = new_mailbox()
                    self._mailbox[mail.TURNS] = self._full_turns
                    self._caller_cpu = -1
                    inbox: Inbox = SimpleQueue()
                    self._workers = []
                    for number in range(1, self.size):
                        arguments = (inbox, self._mailbox)
                        worker = threading.Thread(target=_work, args=arguments, name=f"minigan-{number}", daemon=True)
                        if not start_thread(worker):
                            warn_fewer_threads()
                            break
                        self._workers.append(worker)
                    self._inbox, self._process = inbox, os.getpid()
                    weakref.finalize(self, _dismiss, inbox, self._mailbox, len(self._workers), self._process)
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
        self._mailbox[mail.TURNS] = self._full_turns if enough else 0


def turns_per_second() -> float:
    """The number of times that a thread which watches looks in a second."""
    mailbox = new_mailbox()
    serve(mailbox, 0)  # compiles
    mailbox[mail.TURNS] = TRIAL_TURNS
    seconds = []
    for _ in range(TRIALS):  # in some of them another program may run
        began = time.perf_counter()
        serve(mailbox, 0)
        seconds.append(time.perf_counter() - began)
    return TRIAL_TURNS / min(seconds)


def _dismiss(inbox: Inbox, mailbox: Any, workers: int, process: int) -> None:
    """Ends the workers, when their team is gone or the program exits."""
    if process == os.getpid():
        for _ in range(workers):
            inbox.put((_stop, (), SimpleQueue()))
        mailbox[mail.RINGS] += 1


def _work(inbox: Inbox, mailbox: Any) -> None:
    going_on = True
    while going_on:
        rings = mailbox.item(mail.RINGS)
        if inbox.empty():
            serve(mailbox, rings)
        task = inbox.get()
        if task is None:
            serve(mailbox, rings)
        else:
            going_on = _perform(task)
            del task


def _help(inbox: Inbox) -> None:
    """Takes over parts that no worker has begun: on a busy machine a worker may wait for a CPU for milliseconds."""
    try:
        while not inbox.empty():
            if (task := inbox.get_nowait()) is not None:
                _perform(task)
    except Empty:  # a worker was quicker
        pass


def _perform(task: Task) -> bool:
    """Runs a part and reports to the caller; False if it was the message to stop."""
    function, arguments, done = task
    if function is _stop:
        return False
    failure: Outcome = None
    try:
        function(*arguments)
    except BaseException as error:
        failure = error
    # Before the caller continues: otherwise its arrays would have other owners, and their memory would not be reused.
    del function, arguments, task
    done.put(failure)
    return True


def _stop() -> None:
    """A message, never called."""
