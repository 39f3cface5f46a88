"""Threads that the system may refuse: a container's limit of processes, `ulimit -u`, Python in a browser."""

import contextlib
import functools
import threading
import warnings

__all__ = ["can_start_threads", "start_thread", "warn_fewer_threads"]


def start_thread(thread: threading.Thread) -> bool:
    """Starts a thread; False if the system refuses one more."""
    try:
        thread.start()
    except RuntimeError:  # "can't start new thread"
        return False
    return True


def can_start_threads() -> bool:
    """Whether one more thread can be started now, for libraries that start their own."""
    thread = threading.Thread(target=int, daemon=True)
    if not start_thread(thread):
        return False
    thread.join()
    return True


@functools.cache
def warn_fewer_threads() -> None:
    """Says once that work is done by fewer threads than wanted."""
    with contextlib.suppress(RuntimeWarning):  # where warnings are errors, the work is to go on, too
        warnings.warn(
            "the system starts no more threads: work goes on with fewer of them, with the same results but slower. "
            "Raise its limit of processes (ulimit -u; docker run --pids-limit), or set NUMBA_NUM_THREADS=1.",
            RuntimeWarning,
            stacklevel=2,
        )
