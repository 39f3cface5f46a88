"""The binary versions of CIFAR-10 and CIFAR-100: records of label bytes and 3,072 pixel bytes, planar red, green, blue.

A record of CIFAR-10 has one label, one of CIFAR-100 a coarse and a fine one. Specification:
https://www.cs.toronto.edu/~kriz/cifar.html (Krizhevsky 2009).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigan.data.dataset import LabelArray, PixelArray
from minigan.data.stored import stored_array
from minigan.errors import DataError

__all__ = ["Cifar", "cifar_kind", "find_cifar", "read_cifar"]

SIDE = 32
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CHECKED = 1000  # records whose labels tell the kind of a file
BATCHES = 5  # of the training set
FINE_NAMES = "fine_label_names.txt"


class Kind(NamedTuple):
    """A version: the number of classes that each label byte of a record may have."""

    name: str
    labels: tuple[int, ...]

    @property
    def record(self) -> int:
        return len(self.labels) + 3 * SIDE * SIDE


KINDS = (Kind("CIFAR-10", (10,)), Kind("CIFAR-100", (20, 100)))


class Cifar(NamedTuple):
    """The version's name, images (n, 32, 32, 3) uint8, labels, names of the classes or None, and notes."""

    kind: str
    images: PixelArray
    labels: LabelArray
    classes: tuple[str, ...] | None
    notes: tuple[str, ...] = ()


def cifar_kind(path: Path) -> Kind | None:
    """The version of a file that consists of whole records, the first thousand with possible labels; or None."""
    size = path.stat().st_size
    for kind in KINDS:
        if size and size % kind.record == 0:
            records = stored_array(path, dtype=np.uint8, shape=(size // kind.record, kind.record))
            if (records[:CHECKED, : len(kind.labels)] < kind.labels).all():
                return kind
    return None


def find_cifar(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The files of the training set in a folder, in order, and notes; none if it holds no CIFAR.

    They are `data_batch_*.bin` of CIFAR-10, or `train.bin` of CIFAR-100. Without them the test set is taken.
    """
    batches = sorted(path for path in folder.glob("data_batch_*.bin") if path.is_file())
    if batches:
        return batches, _batch_notes(len(batches), held_out=(folder / "test_batch.bin").is_file())
    for name in ("train.bin", "test_batch.bin", "test.bin"):
        path = folder / name
        if path.is_file() and cifar_kind(path) is not None:
            if name != "train.bin":
                return [path], (f"{name} is taken; there is no training set",)
            return [path], ("train.bin is taken; left out: test.bin",) if (folder / "test.bin").is_file() else ()
    return [], ()


def _batch_notes(count: int, *, held_out: bool) -> tuple[str, ...]:
    parts = [f"{count} of {BATCHES} training batches were found"] if count != BATCHES else []
    return tuple(parts + (["the training batches are taken; left out: test_batch.bin"] if held_out else []))


def read_cifar(paths: list[Path]) -> Cifar:
    """The images of one version; of CIFAR-100 the labels are the fine ones.

    A single file is read when its rows are needed. Several are joined in memory: CIFAR-10 takes 150 MB in all.

    Raises:
        DataError: a file is empty, damaged or of another kind.
    """
    kind = cifar_kind(paths[0]) or KINDS[0]
    batches = [_records(path, kind) for path in paths]
    records = batches[0] if len(batches) == 1 else np.concatenate(batches)
    planes = records[:, len(kind.labels) :].reshape(-1, 3, SIDE, SIDE)
    labels = records[:, len(kind.labels) - 1].astype(np.int64)
    images = planes.transpose(0, 2, 3, 1)
    if kind is KINDS[0]:
        return Cifar(kind.name, images, labels, CLASSES)
    note = "CIFAR-100: the labels are the 100 fine ones, not the 20 coarse ones"
    return Cifar(kind.name, images, labels, _fine_names(paths[0].parent), (note,))


def _fine_names(folder: Path) -> tuple[str, ...]:
    """The names in the file that comes with CIFAR-100; otherwise the numbers."""
    path, count = folder / FINE_NAMES, KINDS[1].labels[-1]
    try:
        names = path.read_text(encoding="utf-8").split() if path.stat().st_size < 2**16 else []
    except (OSError, UnicodeDecodeError):
        names = []
    return tuple(names) if len(set(names)) == count == len(names) else tuple(map(str, range(count)))


def _records(path: Path, kind: Kind) -> PixelArray:
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path}: expected {kind.name} records, found an empty file. Fetch it again.")
    if size % kind.record:
        raise DataError(
            f"{path}: expected {kind.name} records of {kind.record:,} bytes each, found {size:,} bytes, "
            f"{size % kind.record:,} over. The file is damaged or cut short: fetch it again."
        )
    records = stored_array(path, dtype=np.uint8, shape=(size // kind.record, kind.record))
    labels = records[:, len(kind.labels) - 1]
    if labels.max() >= kind.labels[-1]:
        row = int(np.argmax(labels >= kind.labels[-1]))
        raise DataError(
            f"{path}: expected {kind.name} labels from 0 to {kind.labels[-1] - 1}, found {labels[row]} in record "
            f"{row}. Check that it is the binary version of {kind.name}."
        )
    return records
