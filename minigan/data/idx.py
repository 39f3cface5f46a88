"""The IDX format of MNIST and similar datasets, raw or gzipped.

A file has two zero bytes, a type, the number of dimensions, the dimensions as big-endian 32-bit integers, and the
values, big-endian. Specification: http://yann.lecun.com/exdb/mnist (Y. LeCun, "The IDX file format").
"""

import gzip
import math
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from minigan.data.archive import DEFLATE_LIMIT, read_at_most
from minigan.data.dataset import LabelArray
from minigan.data.files import picture_file
from minigan.data.stored import stored_array
from minigan.errors import DataError

__all__ = ["GZIP_MAGIC", "find_idx_images", "idx_header", "idx_labels", "is_idx", "read_idx"]

Array = npt.NDArray[Any]

GZIP_MAGIC = b"\x1f\x8b"
TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_DIMENSIONS = 4
NAMED_LIKE_IDX = re.compile(r"idx3-ubyte(\.gz)?$")
MOST_FILES = 100  # in a folder with more, only files named like IDX are opened


class Header(NamedTuple):
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def is_idx(head: bytes) -> bool:
    """True if the first four bytes are an IDX magic number."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in TYPES and 1 <= head[3] <= MOST_DIMENSIONS


def idx_header(path: Path) -> Header | None:
    """The header of an IDX file, raw or gzipped; None if the file is of another kind."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == GZIP_MAGIC
        with _open(path, zipped=zipped) as file:
            head = file.read(4)
            return _parse_header(head, file, path=path) if is_idx(head) else None
    except (OSError, EOFError, zlib.error):
        return None


def read_idx(path: Path) -> Array:
    """The array in an IDX file: in the file if raw, in memory if gzipped.

    The declared size is compared with the file's before memory is allocated.

    Raises:
        DataError: the file is damaged, empty or of another kind.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP_MAGIC
    try:
        with _open(path, zipped=zipped) as file:
            head = file.read(4)
            if not is_idx(head):
                found = head.hex(" ") or "an empty file"
                raise DataError(
                    f"{path}: expected IDX, which starts with 00 00 08 03; found {found}. Choose another file."
                )
            header = _parse_header(head, file, path=path)
            size = path.stat().st_size
            if math.prod(header.shape) == 0:
                raise DataError(f"{path}: expected items, found an empty IDX array {header.shape}. Fetch it again.")
            if not zipped:
                _check_size(path, header, found=size - header.offset)
                return stored_array(path, dtype=header.dtype, offset=header.offset, shape=header.shape)
            if header.nbytes > size * DEFLATE_LIMIT:
                raise _wrong_size(path, header, found=f"a gzip file of {size:,} bytes, too small to hold that")
            return _unpack(file, header, path=path)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip data are damaged or cut short ({error}). Fetch the file again.") from error


def idx_labels(images: Path) -> tuple[LabelArray | None, str]:
    """Labels in the file next to an IDX file of images, found by its name; None if it is missing.

    MNIST has one number for each image. QMNIST has eight, of which the first is the class.

    Returns:
        The labels, and a line on the file; "" for MNIST's usual one.
    """
    name = images.name.removesuffix(".gz")
    stem = name.replace("images", "labels")
    if stem == name:
        return None, ""
    for label_name in (stem.replace("idx3", "idx1"), stem.replace("idx3-ubyte", "idx2-int")):
        for path in (images.with_name(label_name), images.with_name(label_name + ".gz")):
            if path.is_file():
                labels = read_idx(path)
                if labels.ndim > 2 or labels.dtype.kind not in "ui":
                    raise DataError(
                        f"{path}: expected one integer label per image, found {labels.dtype} {labels.shape}. "
                        "Fetch it anew."
                    )
                first = labels if labels.ndim == 1 else labels[:, 0]
                note = (
                    "" if labels.ndim == 1 else f"the labels are the first of {labels.shape[1]} columns of {path.name}"
                )
                return first.astype(np.int64), note
    return None, ""


def find_idx_images(folder: Path) -> tuple[Path, tuple[str, ...]] | None:
    """The IDX file of images in a folder, that of the training set if there are several; None if there is none.

    Returns:
        The file, and notes on the choice.
    Raises:
        DataError: there are several sets, or a file whose name promises IDX is damaged.
    """
    found: list[Path] = []
    for path in _candidates(folder):
        header = idx_header(path)
        if header is not None and len(header.shape) >= 3:
            found.append(path)
        elif header is None and NAMED_LIKE_IDX.search(path.name):
            read_idx(path)  # its name promises IDX: the reader raises an error that says what is wrong
    packed = {path.name.removesuffix(".gz"): path for path in found if path.suffix == ".gz"}
    sets = packed | {path.name: path for path in found if path.suffix != ".gz"}  # an unpacked file is the same
    return _training_set(folder, sets) if sets else None


def _training_set(folder: Path, sets: dict[str, Path]) -> tuple[Path, tuple[str, ...]]:
    train = [name for name in sets if "train" in name.lower()]
    chosen = train or list(sets)
    if len(chosen) > 1:
        shown = ", ".join(sets[name].name for name in sorted(chosen)[:4])
        kind = "training set" if train else "set of images"
        raise DataError(
            f"{folder}: expected one {kind}, found {len(chosen)}: {shown}{', ...' if len(chosen) > 4 else ''}. "
            "Give one of the files."
        )
    path, others = sets[chosen[0]], sorted(sets[name].name for name in sets if name != chosen[0])
    notes = [f"{path.name} is taken; left out: {', '.join(others)}"] if others else []
    if not train and any(word in path.name.lower() for word in ("t10k", "test")):
        notes.append(f"{path.name} is taken; there is no training set")
    if "emnist" in path.name.lower():
        notes.append("EMNIST's images are stored with rows and columns exchanged, and are taken as they are")
    return path, tuple(notes)


def _candidates(folder: Path) -> list[Path]:
    """The files in a folder that may be IDX; in a folder of very many files, only those with a name like IDX.

    Pictures are none, whatever their names.
    """
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file())
    if len(names) > MOST_FILES:
        names = [name for name in names if "idx" in name or "-images" in name]
    return [folder / name for name in names if not name.startswith(".") and not picture_file(folder / name)]


def _open(path: Path, *, zipped: bool) -> BinaryIO:
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]


def _parse_header(head: bytes, file: BinaryIO, *, path: Path) -> Header:
    ndim = head[3]
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise DataError(f"{path}: the IDX header is cut short. Fetch the file again.")
    return Header(np.dtype(TYPES[head[2]]), struct.unpack(f">{ndim}I", sizes), 4 + 4 * ndim)


def _unpack(file: BinaryIO, header: Header, *, path: Path) -> Array:
    values = read_at_most(file, header.nbytes, where=str(path))
    _check_size(path, header, found=len(values))
    return np.frombuffer(values, dtype=header.dtype).reshape(header.shape)


def _check_size(path: Path, header: Header, *, found: int) -> None:
    if found != header.nbytes:
        raise _wrong_size(path, header, found=f"{found:,} bytes" if found < header.nbytes else "more")


def _wrong_size(path: Path, header: Header, *, found: str) -> DataError:
    return DataError(
        f"{path}: the IDX header declares {header.shape}, {header.nbytes:,} bytes of values; found {found}. "
        "The file is damaged or cut short: fetch it again."
    )
