"""A check that memory suffices before it is allocated: systems that overcommit would kill the program later."""

import os

from minigan.errors import OutOfMemoryError

__all__ = ["expect_room"]

SMALLER = "Use a smaller --batch-size, image size or width."


def expect_room(nbytes: int, *, what: str, remedy: str = SMALLER) -> None:
    """Refuses an allocation that can never fit.

    Args:
        nbytes: bytes to be allocated.
        what: names them in the error.
        remedy: a sentence for the error.
    Raises:
        OutOfMemoryError: the machine, or the limit of this process, has less memory than that.
    """
    if nbytes > _most():
        needed = f"{nbytes / 2**30:,.1f} GiB" if nbytes < 2**63 else "more than any machine has"
        raise OutOfMemoryError(
            f"out of memory: {what} would take {needed}, but only {_most() / 2**30:,.1f} GiB are available. {remedy}"
        )


def _most() -> int:
    """The machine's memory in bytes, or this process's limit if that is less; no limit if neither is known."""
    try:
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):
        return 2**63 - 1
    import resource

    limits += [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
    return min(limits)
