"""Locks on open files, which the system drops when a process ends, however it ends.

A lock belongs to the open file, not to the process: another opening of the same file in the same process meets it as
well, and a process that is stopped keeps it. POSIX has `flock` for this, Windows `locking`.
"""

import os
from pathlib import Path

__all__ = ["is_at", "try_lock"]

FAR = 2**30  # the byte that Windows locks: beyond the content, which stays readable


def try_lock(descriptor: int) -> bool | None:
    """Locks an open file if nobody else has it locked.

    Returns:
        True if it is locked now, False if somebody else has it, None if its file system or this Python has no locks.
    """
    try:
        import fcntl
    except ImportError:
        return _try_lock_on_windows(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network disk without locks: ENOLCK, EOPNOTSUPP, EINVAL; a sandbox: ENOSYS, EPERM
        return None
    return True


def _try_lock_on_windows(descriptor: int) -> bool | None:
    try:
        import msvcrt
    except ImportError:
        return None
    try:
        os.lseek(descriptor, FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    except PermissionError:
        return False
    except OSError:
        return None
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one at that path: it may have been removed, or another one be in its place."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
