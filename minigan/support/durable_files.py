"""Files that are written whole or not at all."""

import contextlib
import errno
import glob
import os
import threading
from pathlib import Path
from typing import BinaryIO

from minigan.errors import OutputError
from minigan.support.file_locks import is_at, try_lock

__all__ = ["atomic_write", "expect_makeable", "is_alive", "make_folder", "remove_stale"]

# Refusals that say that a call does not exist here, or is forbidden; a full or broken disk says something else.
NOT_HERE = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.EACCES)


def atomic_write(path: Path, content: bytes) -> None:
    """Writes a file so that readers see the old content or the new, never a part, even after a crash.

    Raises:
        OutputError: the disk is full, the folder is read-only or missing, or a folder or a device is in the file's
            place. The old file is left as it was.
    """
    _refuse_nul(path)
    if path.name in ("", ".."):
        raise OutputError.of(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    if os.path.exists(path) and not (
        path.is_file() or path.is_dir()
    ):  # a replaced /dev/null would break other programs
        raise OutputError(f"cannot write {path}: expected a file, found a device or pipe. Name a file.")
    # Threads write the same file under different names, and processes as well.
    temporary = path.with_name(f".{path.name}.{threading.get_ident()}.{os.getpid()}.tmp")
    try:
        remove_stale(path.parent, glob.escape(path.name))
        with _new_file(temporary) as file:
            file.write(content)
            file.flush()
            _sync(file.fileno())
            if os.name != "nt":  # as long as it is locked
                os.replace(temporary, path)
        if os.name == "nt":  # where an open file cannot be renamed
            os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:  # Ctrl-C, too, must leave no temporary file behind
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise OutputError.of(path, error) from None
        raise


def remove_stale(folder: Path, pattern: str) -> None:
    """Removes temporary files of `atomic_write` that ended processes left behind, for files matching a pattern."""
    for path in folder.glob(f".{pattern}.*.tmp"):
        owner = path.name.split(".")[-2]
        if owner.isdecimal():
            with contextlib.suppress(OSError):
                _remove_if_left(path, int(owner))


def _new_file(path: Path) -> BinaryIO:
    """A new file, locked as long as it is open, so that nobody takes it for one that was left behind."""
    while True:
        file = open(path, "wb")  # noqa: SIM115 (the caller closes it)
        if try_lock(file.fileno()) is not False and is_at(file.fileno(), path):
            return file
        file.close()  # somebody did, before it was locked


def _remove_if_left(path: Path, process: int) -> None:
    """Removes a temporary file that nobody writes any more.

    The lock tells, also of processes in other containers; it is held until the file is gone, so that nobody begins to
    write it meanwhile. Without locks the process is asked for: in a container every first one is number 1, so that a
    file with this one's number is taken for an earlier one's.
    """
    with open(path, "rb") as file:
        is_free = try_lock(file.fileno())
        if is_free is None:
            is_free = process == os.getpid() or not is_alive(process)
        if is_free and os.name != "nt":
            path.unlink()
    if is_free and os.name == "nt":  # where an open file cannot be removed
        path.unlink()


def is_alive(process: int) -> bool:
    """Whether there is a process of that number on this machine; True if the system does not tell."""
    if os.name != "posix":
        return True  # no harmless way to ask
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's, or a sandbox that does not tell
        return True
    return True


def make_folder(path: Path, *, parents: bool = True) -> None:
    """Creates a folder if it is missing, durably; with `parents` the missing folders above it as well.

    Raises:
        OutputError: it cannot be created, or a file is in its place.
    """
    _refuse_nul(path)
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=parents, exist_ok=True)
        for folder in missing:
            _sync_folder(folder.parent)
    except OSError as error:
        raise OutputError.of(path, error) from None


def expect_makeable(path: Path) -> None:
    """Checks that `make_folder` could create a folder; writes nothing.

    Raises:
        OutputError: a file is in its place or above it, or the folder that it would be in cannot be written.
    """
    _refuse_nul(path)
    above = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
    if not above.is_dir():
        raise OutputError.of(path, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    if not os.access(above, os.W_OK):
        raise OutputError.of(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _refuse_nul(path: Path) -> None:
    """Refuses the one character that no system has in paths, and Python has a ValueError for."""
    if "\0" in str(path):
        raise OutputError(f"cannot write {path}: expected a path without NUL characters. Choose another.")


def _sync_folder(folder: Path) -> None:
    """Makes a rename durable if the system can: Windows cannot, nor can who may write a folder, but not read it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        descriptor = os.open(folder, os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in NOT_HERE:
            raise
        return
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    """Waits until the disk has what was written, where the system can do that: a network disk or a sandbox cannot."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_HERE:
            raise
