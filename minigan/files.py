"""Files that are there whole or not at all."""

import contextlib
import os
from pathlib import Path

from minigan.errors import OutputError


def atomic_write(path: Path, content: bytes) -> None:
    """Writes a file so that a reader, or a crash at any moment, meets the old content or the new, never a part.

    Raises:
        OutputError: the disk is full, the folder read-only or gone. The old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError.of(path, error) from None


def make_folder(path: Path) -> None:
    """Creates a folder and those above it where they are missing.

    Raises:
        OutputError: it cannot be created, or a file is in its place.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError.of(path, error) from None


def _sync_folder(folder: Path) -> None:
    """Makes a rename durable, where the system can (Windows cannot)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
