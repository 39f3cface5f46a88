"""How much memory there is, asked before it is taken: a system that lends more than it has ends the program later."""

import os

from minigan.errors import OutOfMemoryError

__all__ = ["expect_room"]

SMALLER = "Use a smaller `batch_size`, image size or width."


def expect_room(nbytes: int, *, what: str, remedy: str = SMALLER) -> None:
    """Refuses what can never fit.

    Raises:
        OutOfMemoryError: the machine has less memory than that.
    """
    if nbytes > _most():
        needed = f"{nbytes / 2**30:,.1f} GiB" if nbytes < 2**63 else "more than any machine has"
        raise OutOfMemoryError(
            f"out of memory: {what} would take {needed}, there are {_most() / 2**30:,.1f} GiB. {remedy}"
        )


def _most() -> int:
    """The machine's memory in bytes, or what this process may have of it; where neither can be asked, no limit."""
    try:
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):
        return 2**63 - 1
    import resource

    limits += [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
    return min(limits)
