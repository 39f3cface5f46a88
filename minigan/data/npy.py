"""NumPy's own files. Never unpickled: an array of Python objects is refused."""

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minigan.data.dataset import LabelArray
from minigan.errors import DataError

__all__ = ["NPY_MAGIC", "read_npy", "read_npz"]

Array = npt.NDArray[Any]

NPY_MAGIC = b"\x93NUMPY"
IMAGE_KEYS = ("images", "x")
LABEL_KEYS = ("labels", "y")


def read_npy(path: Path) -> Array:
    """The array in an .npy file, memory-mapped."""
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise _unreadable(str(path), error) from error
    return array


def read_npz(path: Path) -> tuple[Array, LabelArray | None]:
    """Images (key `images` or `x`, or the only array) and labels (`labels` or `y`, may be absent), in memory."""
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
        label_key = next((key for key in LABEL_KEYS if key in sizes), None)
        others = [key for key in sizes if key != label_key]
        key = next((key for key in IMAGE_KEYS if key in sizes), others[0] if len(others) == 1 else None)
        if key is None:
            found = ", ".join(sizes) or "none"
            raise DataError(f"{path}: expected an array named 'images' or 'x', or a single array; found {found}.")
        images = _read_member(archive, key, size=sizes[key], path=path)
        if label_key is None:
            return images, None
        labels = _read_member(archive, label_key, size=sizes[label_key], path=path)
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise DataError(
            f"{path}: expected '{label_key}' to be one integer per item, found {labels.dtype} {labels.shape}."
        )
    return images, labels.astype(np.int64)


def _read_member(archive: zipfile.ZipFile, key: str, *, size: int, path: Path) -> Array:
    where = f"{path}, array '{key}'"
    try:
        with archive.open(f"{key}.npy") as member:
            version = np.lib.format.read_magic(member)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read_header(member)
        if dtype.hasobject:
            raise ValueError("Python objects")
        if math.prod(shape) * dtype.itemsize > size:
            raise DataError(f"{where}: the header declares {dtype} {shape}, but only {size:,} bytes follow.")
        with archive.open(f"{key}.npy") as member:
            array: Array = np.lib.format.read_array(member, allow_pickle=False)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, DataError):
            raise
        raise _unreadable(where, error) from error
    return array


def _unreadable(where: str, error: Exception) -> DataError:
    if "object" in str(error).lower() or "pickle" in str(error).lower():
        return DataError(f"{where}: expected plain numbers, found pickled Python objects, which are never loaded.")
    return DataError(f"{where}: expected a NumPy array, found one that is damaged or cut short ({error}).")
