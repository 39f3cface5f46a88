"""Arrays in files: small ones are read at once, of large ones the rows of a batch when they are needed.

A memory map alone would not do: once its file is cut short, the system kills the process that looks at what is missing.
So rows are read from the open file, and a file that was changed meanwhile is an error.
"""

import math
import os
import weakref
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from minigan.errors import DataError

__all__ = ["StoredArray", "stored_array"]

SMALL = 2**26  # bytes: less is read at once, which is quickest
MOST = 2**30  # bytes in one call; Linux reads at most 2 GiB


class StoredFile:
    """A file that stays open, and as it was when it was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self.descriptor)
        self._was = self._state()

    def read_into(self, buffer: memoryview, *, offset: int) -> None:
        """Fills a buffer of bytes.

        Raises:
            DataError: the file cannot be read, or has fewer bytes by now.
        """
        done = 0
        while done < len(buffer):
            try:
                read = self._read(buffer[done : done + MOST], offset + done)
            except OSError as error:
                raise DataError(f"{self.path}: cannot be read ({error.strerror}).") from error
            if read == 0:
                raise self._changed()
            done += read

    def _read(self, buffer: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self.descriptor, [buffer], offset)
        with open(self.path, "rb", buffering=0) as file:
            file.seek(offset)
            return file.readinto(buffer) or 0

    def expect_unchanged(self) -> None:
        """Raises DataError if the file was written to since it was opened."""
        if self._state() != self._was:
            raise self._changed()

    def _state(self) -> tuple[int, int]:
        status = os.fstat(self.descriptor)
        return status.st_size, status.st_mtime_ns

    def _changed(self) -> DataError:
        return DataError(
            f"{self.path}: expected the file as it was when it was opened, {self._was[0]:,} bytes; it was written to "
            f"since, and has {self._state()[0]:,}. Write new data to another file."
        )


class StoredArray(np.memmap[Any, np.dtype[Any]]):
    """A memory-mapped array whose rows, chosen by an array of their numbers, are read from the file instead.

    So are the rows of its views. The map is used where rows are spread over the file (an array in Fortran's order), or
    where the system cannot read at a place (Windows, where a mapped file cannot be cut short either).
    """

    _file: StoredFile | None = None
    _origin = 0  # the address at which the file's first byte would be mapped

    def __array_finalize__(self, obj: Any) -> None:
        super().__array_finalize__(obj)
        if self._mmap is not None:  # type: ignore[attr-defined]
            self._file, self._origin = getattr(obj, "_file", None), getattr(obj, "_origin", 0)

    def __getitem__(self, key: Any) -> Any:
        file = self._file
        if file is None or not isinstance(key, np.ndarray) or key.ndim != 1 or key.dtype.kind not in "iu":
            return super().__getitem__(key)
        file.expect_unchanged()
        length = self._row_length()
        rows = self._read(file, key, length) if length and key.size else np.asarray(super().__getitem__(key))
        file.expect_unchanged()
        return rows

    def _row_length(self) -> int:
        """Bytes from the first number of a row to its last; 0 if rows cannot be read one by one."""
        steps = list(zip(self.shape[1:], self.strides[1:], strict=True))
        length = sum((n - 1) * stride for n, stride in steps) + self.itemsize
        apart = min((stride for _, stride in steps), default=0) >= 0 and self.strides[0] >= length
        return length if apart and self.size and hasattr(os, "preadv") else 0

    def _read(self, file: StoredFile, rows: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
        """The rows of these numbers, each of which has so many bytes."""
        if not -len(self) <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self):,}")
        rows = rows.astype(np.int64) % len(self)
        first = self.__array_interface__["data"][0] - self._origin
        bytes_ = np.empty((len(rows), length), dtype=np.uint8)
        # neighbors in the file that are neighbors here are read at once
        together = np.diff(rows) == (1 if self.strides[0] == length else len(self))
        starts = np.flatnonzero(np.concatenate(([True], ~together)))
        for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
            offset = first + int(rows[start]) * self.strides[0]
            file.read_into(bytes_[start:end].data.cast("B"), offset=offset)
        shape, strides = (len(rows), *self.shape[1:]), (length, *self.strides[1:])
        return np.ndarray(shape, self.dtype, buffer=bytes_, strides=strides)


def stored_array(
    path: Path,
    *,
    dtype: npt.DTypeLike,
    shape: tuple[int, ...],
    offset: int = 0,
    order: Literal["C", "F"] = "C",
) -> npt.NDArray[Any]:
    """The array in a file, from that offset on: in memory up to 64 MiB, beyond that a `StoredArray`.

    Raises:
        DataError: the file has become shorter than the array.
        OSError: it cannot be opened.
    """
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    file = StoredFile(path)
    if nbytes <= SMALL:
        content = np.empty(nbytes, dtype=np.uint8)
        file.read_into(content.data, offset=offset)
        file.expect_unchanged()
        return np.ndarray(shape, dtype, buffer=content, order=order)
    if os.fstat(file.descriptor).st_size < offset + nbytes:
        raise file._changed()
    array = StoredArray(path, dtype=dtype, mode="r", offset=offset, shape=shape, order=order)
    array._file = file
    array._origin = array.__array_interface__["data"][0] - offset
    return array
