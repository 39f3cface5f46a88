"""Picture files in a fixed order, below a folder or inside a zip, each read when it is needed."""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from minigan.data.archive import open_archive, open_member, read_at_most
from minigan.data.dataset import LabelArray
from minigan.errors import DataError

__all__ = ["FileStore", "FolderStore", "ZipStore", "class_labels"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MOST_LEVELS = 100  # of folders
LARGEST_FILE = 2**28  # bytes; a larger file is no picture


class FileStore(ABC):
    """Base of the stores of picture files, by index, in the order of their names."""

    def __init__(self, root: Path, names: list[str], *, others: list[str]) -> None:
        self.root = root
        self.names = names  # relative to the root, with forward slashes, sorted
        if not names:
            self.close()
            raise DataError(
                f"{root}: expected image files ({' '.join(SUFFIXES)}), found {_few(others)}. Choose another folder."
            )

    @abstractmethod
    def read(self, index: int) -> bytes:
        """The bytes of a file.

        Raises:
            DataError: it cannot be read.
        """

    def check_size(self, index: int, size: int) -> None:
        """Checks a file's size.

        Raises:
            DataError: it has too many bytes for a picture.
        """
        if size > LARGEST_FILE:
            raise DataError(f"{self.where(index)}: expected an image, found {size:,} bytes. Remove the file.")

    def close(self) -> None:  # noqa: B027 (a folder needs none)
        """Closes what is held open; nothing can be read afterwards."""

    def where(self, index: int) -> str:
        """The file's name for an error message."""
        return f"{self.root}/{self.names[index]}"


class FolderStore(FileStore):
    """The picture files in a folder and all folders below it."""

    def __init__(self, root: Path) -> None:
        names = sorted(_walk(str(root), "", seen=set()))
        super().__init__(root, names, others=[] if names else sorted(os.listdir(root)))

    def read(self, index: int) -> bytes:
        try:
            with open(os.path.join(self.root, self.names[index]), "rb") as file:
                self.check_size(index, os.fstat(file.fileno()).st_size)
                return file.read()
        except OSError as error:
            raise DataError(f"{self.where(index)}: cannot be read ({error.strerror}).") from error


class ZipStore(FileStore):
    """The picture files in a zip archive. Threads may share it."""

    def __init__(self, root: Path) -> None:
        self._archive = open_archive(root)
        self._lock = threading.Lock()  # the archive is one open file with one position
        names = self._archive.namelist()
        super().__init__(root, sorted(name for name in names if _is_picture(name)), others=names)

    def close(self) -> None:
        self._archive.close()

    def read(self, index: int) -> bytes:
        info = self._archive.getinfo(self.names[index])
        self.check_size(index, info.file_size)
        where = self.where(index)
        with self._lock, open_member(self._archive, info, where=where) as file:
            return bytes(read_at_most(file, info.file_size, where=where))


def _few(names: list[str]) -> str:
    """A few of some names, for an error message."""
    if not names:
        return "nothing"
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f"only {', '.join(names[:3])}{more}"


def class_labels(names: list[str]) -> tuple[LabelArray, tuple[str, ...]] | tuple[None, None]:
    """Labels and class names by folder; None for both if the folders tell no classes.

    The classes are the folders directly below the deepest folder that holds all files; no file may lie in that one.
    """
    folders = [name.split("/")[:-1] for name in names]
    first, last = min(folders), max(folders)
    # a beginning shared by the first and the last name in order is shared by all
    shared = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    if any(len(folder) == shared for folder in folders):
        return None, None
    classes, labels = np.unique([folder[shared] for folder in folders], return_inverse=True)
    return labels.astype(np.int64), tuple(str(name) for name in classes)


def _walk(folder: str, prefix: str, *, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Names of the picture files below `folder`. Links are followed, but no folder is entered twice."""
    if prefix.count("/") > MOST_LEVELS:
        raise DataError(
            f"{folder[:200]}...: expected at most {MOST_LEVELS} folders inside each other, found more. Flatten it."
        )
    try:
        status = os.stat(folder)
        entries = list(os.scandir(folder))
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror}).") from error
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in sorted(entries, key=lambda entry: entry.name):
        name = prefix + entry.name
        if _is_picture(name):
            if entry.is_file():
                yield name
        elif not entry.name.startswith(".") and entry.name != "__MACOSX" and entry.is_dir():
            yield from _walk(entry.path, name + "/", seen=seen)


def _is_picture(name: str) -> bool:
    if not name.lower().endswith(SUFFIXES):
        return False
    return not any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
