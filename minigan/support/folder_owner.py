"""The one training that writes to a run folder: a lock on a file in it keeps others out.

The truth is the lock, which ends with its process; what the file says of the process is for the message only. So a file
that a killed process left, or that was copied with its folder, keeps nobody out. Its owner removes it at the end.
"""

import contextlib
import errno
import json
import os
import socket
import stat
import weakref
from pathlib import Path
from typing import Any, Self

from minigan.errors import OutputError
from minigan.support.durable_files import is_alive
from minigan.support.file_locks import is_at, try_lock
from minigan.support.representation import short_path

__all__ = ["LOCK_FILE", "FolderOwner", "refuse_if_owned"]

LOCK_FILE = ".lock"
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # nor a pipe that nobody writes to
LONGEST = 1000  # bytes of the file that are read


class FolderOwner:
    """Ownership of a folder, from the beginning of a training to its end; a context manager that gives it up.

    Within one process a second owner is refused as well. Children of `os.fork` do not inherit it.

    Args:
        folder: exists, and can be written.
        remedy: a sentence for the error, for a folder that has another owner.
    Attributes:
        warning: a line if the file system has no locks, so that only the file's content keeps others out; or "".
    Raises:
        OutputError: the folder has an owner, or cannot be written.
    """

    def __init__(self, folder: Path, *, remedy: str) -> None:
        self.folder, self.remedy, self.warning = folder, remedy, ""
        self._process = os.getpid()
        self._descriptor = self._taken()
        self._end = weakref.finalize(self, _give_up, self._descriptor, folder / LOCK_FILE, self._process)
        if hasattr(os, "register_at_fork"):
            this = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _forget(this()))

    def __repr__(self) -> str:
        return f"<FolderOwner: {self.folder}, {'held' if self._end.alive else 'given up'}>"

    def hold(self) -> None:
        """Makes sure that the folder is still this owner's; if it was removed and made anew, takes it again.

        Raises:
            OutputError: it belongs to another training by now, or cannot be written; or this process was forked from
                the owner's, which still has it.
        """
        if os.getpid() != self._process:
            raise OutputError(f"cannot write {short_path(self.folder)}: process {self._process} trains in it.")
        if not self._end.alive or not self.is_lost:
            return
        descriptor = self._taken()
        self._end.detach()
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._end = weakref.finalize(self, _give_up, descriptor, self.folder / LOCK_FILE, self._process)

    @property
    def is_lost(self) -> bool:
        """Whether the folder was removed or moved, or belongs to another training."""
        return not is_at(self._descriptor, self.folder / LOCK_FILE)

    def release(self) -> None:
        """Gives the folder up. A second call does nothing."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _taken(self) -> int:
        """The lock file, locked and with this process's name in it."""
        path = self.folder / LOCK_FILE
        try:
            descriptor = _locked(path, remedy=self.remedy)
            if descriptor is None:
                descriptor, _ = _opened(path, os.O_CREAT)
                self.warning = (
                    f"the disk of {short_path(self.folder)} has no locks: make sure that no other machine trains in it."
                )
            try:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps({"process": self._process, "host": socket.gethostname()}).encode())
            except OSError:  # a full disk: the folder stays free
                _give_up(descriptor, path, self._process)
                raise
        except OutputError:
            raise
        except OSError as error:
            if os.path.lexists(path):
                raise OutputError(
                    f"cannot write {short_path(path)}: {error.strerror}. If no training is alive there, remove it."
                ) from None
            raise OutputError.of(path, error) from None
        return descriptor


def refuse_if_owned(folder: Path, *, remedy: str) -> None:
    """Refuses a folder in which a training is alive. Writes nothing.

    Raises:
        OutputError: it has an owner.
    """
    path = folder / LOCK_FILE
    try:
        descriptor, _ = _opened(path)
    except OSError:  # nobody's; or not to be written: what follows will say so
        return
    try:
        _refuse(path, try_lock(descriptor), remedy=remedy)
    finally:
        os.close(descriptor)


def _locked(path: Path, *, remedy: str) -> int | None:
    """The file, open and locked; None if the file system has no locks.

    Raises:
        OutputError: somebody else has it locked.
    """
    while True:
        descriptor, can_write = _opened(path, os.O_CREAT)
        try:
            locked = try_lock(descriptor)
            _refuse(path, locked, remedy=remedy)
            if locked and not can_write and is_at(descriptor, path):
                path.unlink()  # of another user, whose training was killed
        except BaseException:
            os.close(descriptor)
            raise
        if locked and can_write and is_at(descriptor, path):
            return descriptor
        os.close(descriptor)
        if locked is None:
            return None
        # its last owner has removed it since it was opened: once more


def _opened(path: Path, flags: int = 0) -> tuple[int, bool]:
    """The lock file, open, and whether it can be written: another user's may not, but can be locked all the same.

    Children that run a program do not inherit it.

    Raises:
        OSError: it cannot be opened, or is a link: in a folder from a stranger it may lead to any file of the user's.
    """
    try:
        descriptor, can_write = os.open(path, os.O_RDWR | flags | NO_LINK, 0o666), True
    except PermissionError:
        descriptor, can_write = os.open(path, os.O_RDONLY | NO_LINK), False
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor, can_write
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no file", str(path))


def _refuse(path: Path, locked: bool | None, *, remedy: str) -> None:
    """Refuses a lock file that somebody else has locked or, without locks, whose process is alive."""
    owner = _named(path)
    if locked or (locked is None and not _seems_alive(owner)):
        return
    if locked is None:
        remedy = f"{remedy} If it does something else, remove {short_path(path)}."
    raise OutputError(f"cannot write {short_path(path.parent)}: {_who(owner)} trains in it. {remedy}")


def _named(path: Path) -> dict[str, Any]:
    """The content of a lock file: its owner's `process` and `host`; nothing if it is not as it should be."""
    try:
        with open(path, "rb") as file:
            owner = json.loads(file.read(LONGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(owner, dict) or not isinstance(owner.get("host"), str):
        return {}
    return owner if type(owner.get("process")) is int and owner["process"] > 0 else {}


def _seems_alive(owner: dict[str, Any]) -> bool:
    """Whether a process of that number is alive here: the best guess without locks. Others' hosts cannot be asked."""
    return bool(owner) and owner["host"] == socket.gethostname() and is_alive(owner["process"])


def _who(owner: dict[str, Any]) -> str:
    if not owner:
        return "another process"
    if owner["host"] != socket.gethostname():
        return f"process {owner['process']} on {owner['host']}"
    if owner["process"] == os.getpid():
        return "this process already"
    stopped = _is_stopped(owner["process"])
    return f"process {owner['process']}" + f" (stopped: kill -CONT {owner['process']} continues it)" * stopped


def _is_stopped(process: int) -> bool:
    """Whether a process was stopped, by Ctrl-Z for example, where the system tells."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[:1] in (["T"], ["t"])


def _give_up(descriptor: int, path: Path, process: int) -> None:
    """Removes the lock file while it is locked, so that nobody can lock it in between, and closes it."""
    if os.getpid() != process:  # a child that was forked: the folder is its parent's
        return
    with contextlib.suppress(OSError):
        if is_at(descriptor, path):
            path.unlink()
    with contextlib.suppress(OSError):
        os.close(descriptor)
    if os.name == "nt":  # where an open file cannot be removed
        with contextlib.suppress(OSError):
            path.unlink()


def _forget(owner: FolderOwner | None) -> None:
    """In a forked child: closes its copy of the file, which would keep the lock when the parent has ended."""
    if owner is not None and owner._end.detach() is not None:
        with contextlib.suppress(OSError):
            os.close(owner._descriptor)
