"""A check that memory suffices before it is allocated: systems that overcommit would kill the program later."""

import os

from minigan.errors import OutOfMemoryError
from minigan.support.cgroup import allowed_memory

__all__ = ["NO_LIMIT", "expect_room", "memory_limit"]

SMALLER = "Use a smaller `batch_size`, image size or width."
NO_LIMIT = 2**63 - 1
LITTLE = 2**20  # bytes: Python alone takes more, and to ask for limits takes longer than a small network is built


def expect_room(nbytes: int, *, what: str, remedy: str = SMALLER) -> None:
    """Refuses an allocation that can never fit.

    Args:
        nbytes: bytes to be allocated.
        what: names them in the error.
        remedy: a sentence for the error.
    Raises:
        OutOfMemoryError: the machine, the container or the limit of this process has less memory than that.
    """
    if nbytes <= LITTLE:
        return
    most, whose = memory_limit()
    if nbytes > most:
        needed = f"{nbytes / 2**30:,.1f} GiB" if nbytes < 2**63 else "more than any machine has"
        raise OutOfMemoryError(
            f"out of memory: {what} would take {needed}, but only {most / 2**30:,.1f} GiB are available ({whose}). "
            f"{remedy}"
        )


def memory_limit() -> tuple[int, str]:
    """The least of the limits on this process's memory in bytes, and whose it is; NO_LIMIT if none is known."""
    limits = [(NO_LIMIT, "no limit is known"), *_machine()]
    if (allowed := allowed_memory()) is not None:
        limits.append((allowed, "the container's limit"))
    return min((*limits, *_process()))


def _machine() -> list[tuple[int, str]]:
    try:
        return [(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "the machine's memory")]
    except (AttributeError, ValueError, OSError):
        return []


def _process() -> list[tuple[int, str]]:
    """The limits of `ulimit -v` and `ulimit -d`."""
    try:
        import resource

        limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
        unlimited = resource.RLIM_INFINITY
    except (ImportError, AttributeError, OSError, ValueError):  # not on Windows, nor in a browser
        return []
    return [(limit, "this process's limit") for limit in limits if limit != unlimited and limit > 0]
