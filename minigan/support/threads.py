"""Threads that the system may refuse: a container's limit of processes, `ulimit -u`, Python in a browser."""

import contextlib
import functools
import os
import sys
import threading
import warnings

from minigan.support.cgroup import allowed_processes
from minigan.support.cpu_limit import usable_cpus

__all__ = ["can_start_threads", "limit_blas", "start_thread", "warn_fewer_threads"]

FEW = 4096  # a larger limit of processes is no reason to count how many threads are left
BLAS_SETTINGS = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")


def start_thread(thread: threading.Thread) -> bool:
    """Starts a thread; False if the system refuses one more."""
    try:
        thread.start()
    except RuntimeError:  # "can't start new thread"
        return False
    return True


def can_start_threads() -> bool:
    """Whether one more thread can be started now, for libraries that start their own."""
    return _started_at_once(1)


def limit_blas() -> None:
    """Keeps OpenBLAS to one thread, unless the user has chosen, where there is no room for one on each CPU.

    Among ranks that share a host it gets this one's part of the CPUs.

    OpenBLAS sends its process an interrupt when it cannot start a thread, and Ctrl-C is not what happened. It reads its
    setting when NumPy is imported, so this has to come before.
    """
    if "numpy" in sys.modules or any(name in os.environ for name in BLAS_SETTINGS):
        return
    if (cpus := usable_cpus()).share is not None:
        os.environ["OPENBLAS_NUM_THREADS"] = str(cpus.threads)
    # With few, as many again for the cpu backend and the loader. Else one tells: an old container forbids them all.
    if not _started_at_once(2 * (os.cpu_count() or 1) if _process_limit() < FEW else 1):
        os.environ["OPENBLAS_NUM_THREADS"] = "1"


def _started_at_once(count: int) -> bool:
    """Whether so many threads can be started."""
    done = threading.Event()
    started: list[threading.Thread] = []
    while len(started) < count and start_thread(thread := threading.Thread(target=done.wait, daemon=True)):
        started.append(thread)
    done.set()
    for thread in started:
        thread.join()
    return len(started) == count


def _process_limit() -> int:
    limits = [allowed_processes() or FEW]
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):  # another system
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
        limits += [limit] if limit != resource.RLIM_INFINITY else []
    return min(limits)


@functools.cache
def warn_fewer_threads() -> None:
    """Says once that work is done by fewer threads than wanted."""
    with contextlib.suppress(RuntimeWarning):  # where warnings are errors, the work is to go on, too
        warnings.warn(
            "the system starts no more threads: work goes on with fewer of them, with the same results but slower. "
            "Raise its limit of processes (ulimit -u, or the container's), or set NUMBA_NUM_THREADS=1.",
            RuntimeWarning,
            stacklevel=2,
        )
