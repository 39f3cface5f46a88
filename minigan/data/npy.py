"""NumPy's own files. They are never unpickled: an array of Python objects is refused."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from minigan.data.archive import open_archive, open_member, read_at_most
from minigan.data.dataset import LabelArray
from minigan.data.stored import stored_array
from minigan.errors import DataError

__all__ = ["NPY_MAGIC", "read_npy", "read_npz"]

Array = npt.NDArray[Any]

NPY_MAGIC = b"\x93NUMPY"
IMAGE_KEYS = ("images", "x")
LABEL_KEYS = ("labels", "y")
LONGEST_HEADER = 2**14  # bytes; NumPy refuses more than 10,000 characters


class Header(NamedTuple):
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    offset: int


def read_npy(path: Path) -> Array:
    """The array in an .npy file, which stays there: rows are read when they are needed.

    Raises:
        DataError: it is damaged or empty, or does not hold numbers.
    """
    with path.open("rb") as file:
        head = file.read(LONGEST_HEADER)
    dtype, shape, order, offset = _parse_header(head, size=path.stat().st_size, where=str(path))
    return stored_array(path, dtype=dtype, offset=offset, shape=shape, order=order)


def read_npz(path: Path) -> tuple[Array, LabelArray | None]:
    """Images and labels in an .npz file, in memory.

    The images are the array named `images` or `x`, or the only array; the labels are named `labels` or `y` and may be
    missing.

    Raises:
        DataError: the file is damaged, or holds other arrays.
    """
    with open_archive(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        label_key = next((key for key in LABEL_KEYS if key in members), None)
        others = [key for key in members if key != label_key]
        key = next((key for key in IMAGE_KEYS if key in members), others[0] if len(others) == 1 else None)
        if key is None:
            found = ", ".join(members) or "none"
            raise DataError(
                f"{path}: expected an array named 'images' or 'x', or a single array; found {found}. Rename it."
            )
        images = _read_member(archive, members[key], where=f"{path}, array '{key}'")
        if label_key is None:
            return images, None
        labels = _read_member(archive, members[label_key], where=f"{path}, array '{label_key}'")
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise DataError(
            f"{path}: expected '{label_key}' to be one integer per item, found {labels.dtype} {labels.shape}. "
            "Save the labels as integers."
        )
    return images, labels.astype(np.int64)


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, where: str) -> Array:
    with open_member(archive, info, where=where) as file:
        head = file.read(LONGEST_HEADER)
        dtype, shape, order, offset = _parse_header(head, size=info.file_size, where=where)
        values: Array = np.frombuffer(
            read_at_most(file, info.file_size, where=where, head=head), dtype=dtype, offset=offset
        )
        return values.reshape(shape, order=order)


def _parse_header(head: bytes, *, size: int, where: str) -> Header:
    """Parses the header of a file of `size` bytes that begins with `head`.

    Raises:
        DataError: the header is damaged, or declares something else than the file holds.
    """
    file = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read_header(file)
        nbytes = math.prod(shape) * dtype.itemsize
    # for damaged bytes NumPy raises nearly anything: ValueError, TokenError, IndexError, TypeError ...
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{where}: expected a NumPy array, found one that is damaged ({reason[:200]}). Save it again."
        ) from error
    if dtype.hasobject:
        raise DataError(f"{where}: expected plain numbers, found pickled Python objects. Save an array of numbers.")
    if dtype.kind not in "buif":
        raise DataError(f"{where}: expected plain numbers, found {dtype}. Convert the array.")
    if nbytes == 0:
        raise DataError(f"{where}: expected at least one item, found an empty array {shape}. Save it again.")
    if min(shape, default=1) < 0 or nbytes != size - file.tell():
        raise DataError(
            f"{where}: the header declares {dtype} {shape}, {nbytes:,} bytes; found {size - file.tell():,}. "
            "The array is damaged or cut short: save it again."
        )
    return Header(dtype, shape, "F" if by_columns else "C", file.tell())
