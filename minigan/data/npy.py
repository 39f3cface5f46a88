"""NumPy's own files. They are never unpickled: an array of Python objects is refused."""

import io
import math
import re
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
TRAIN_WORDS = {"train", "training"}
IMAGE_WORDS = {"images", "image", "imgs", "img", "x", "data"}
LABEL_WORDS = {"labels", "label", "y", "targets", "target"}
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


def read_npz(path: Path) -> tuple[Array, LabelArray | None, str]:
    """Images and labels in an .npz file, in memory.

    The images are the array named `images` or `x`, or the only array beside the labels, named `labels` or `y`. Without
    such a name they are the training set among arrays such as `x_train`, `y_train` and `x_test`.

    Returns:
        The images, the labels or None, and a line on the arrays taken where there was a choice.
    Raises:
        DataError: the file is damaged, or holds other arrays.
    """
    with open_archive(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        key, label_key = _image_and_label_keys(list(members))
        if key is None:
            found = ", ".join(members) or "none"
            raise DataError(
                f"{path}: expected an array named 'images' or 'x', or a single array; found {found}. Rename it."
            )
        images = _read_member(archive, members[key], where=f"{path}, array '{key}'")
        labels = None
        if label_key is not None:
            labels = _read_member(archive, members[label_key], where=f"{path}, array '{label_key}'")
    others = [name for name in members if name not in (key, label_key)]
    taken = key if label_key is None else f"{key} and {label_key}"
    note = f"{taken} {'is' if label_key is None else 'are'} taken; left out: {', '.join(others[:6])}" if others else ""
    if not note and set(re.findall("[a-z]+", key.lower())) & {"test", "val"}:
        note = f"{key} is taken; there is no training set"
    return images, None if labels is None else _as_labels(labels, where=f"{path}: expected '{label_key}'"), note


def _image_and_label_keys(names: list[str]) -> tuple[str | None, str | None]:
    """Names of the arrays of images and of labels, each None if there is none."""
    label_key = next((name for name in LABEL_KEYS if name in names), None)
    key = next((name for name in IMAGE_KEYS if name in names), None)
    if key is not None:
        return key, label_key
    words = {name: set(re.findall("[a-z]+", name.lower())) for name in names}
    train = [name for name in names if words[name] & TRAIN_WORDS]
    images = [name for name in train if words[name] & IMAGE_WORDS]
    images = images or [name for name in train if not words[name] & LABEL_WORDS]  # `train` alone, as a rule
    if len(images) == 1:
        labels = [name for name in train if words[name] & LABEL_WORDS]
        return images[0], labels[0] if len(labels) == 1 else label_key
    label_key = label_key or next((name for name in names if words[name] & LABEL_WORDS), None)
    others = [name for name in names if name != label_key]
    return others[0] if len(others) == 1 else None, label_key


def _as_labels(labels: Array, *, where: str) -> LabelArray:
    """Labels (N,); a column (N, 1) is taken for that."""
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim != 1 or flat.dtype.kind not in "ui":
        several = labels.ndim == 2 and labels.shape[1] > 1
        remedy = (
            "Save one class number per item, such as y.argmax(axis=1)" if several else "Save the labels as integers"
        )
        raise DataError(
            f"{where} to be one integer per item, found {labels.dtype} {labels.shape}. {remedy}, or leave them out."
        )
    return flat.astype(np.int64)


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
