"""The binary version of CIFAR-10: records of one label byte and 3,072 pixel bytes, planar red, green, blue."""

from pathlib import Path

import numpy as np

from minigan.data.dataset import LabelArray, PixelArray
from minigan.data.stored import stored_array
from minigan.errors import DataError

__all__ = ["find_cifar_batches", "is_cifar", "read_cifar"]

SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def is_cifar(path: Path) -> bool:
    """True if the file consists of whole records and the first thousand have labels from 0 to 9."""
    size = path.stat().st_size
    if size == 0 or size % RECORD:
        return False
    records = stored_array(path, dtype=np.uint8, shape=(size // RECORD, RECORD))
    return bool((records[:1000, 0] < len(CLASSES)).all())


def find_cifar_batches(folder: Path) -> list[Path]:
    """The training batches in a folder, `data_batch_*.bin`, in order; empty if there are none."""
    return sorted(path for path in folder.glob("data_batch_*.bin") if path.is_file())


def read_cifar(paths: list[Path]) -> tuple[PixelArray, LabelArray, tuple[str, ...]]:
    """Images (n, 32, 32, 3) uint8, labels and class names.

    A single file is read when its rows are needed. Several are joined in memory: CIFAR-10 takes 150 MB in all.

    Raises:
        DataError: a file is empty, damaged or of another kind.
    """
    batches = [_records(path) for path in paths]
    records = batches[0] if len(batches) == 1 else np.concatenate(batches)
    planes = records[:, 1:].reshape(-1, 3, SIDE, SIDE)
    return planes.transpose(0, 2, 3, 1), records[:, 0].astype(np.int64), CLASSES


def _records(path: Path) -> PixelArray:
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path}: expected CIFAR-10 records, found an empty file. Fetch it again.")
    if size % RECORD:
        raise DataError(
            f"{path}: expected CIFAR-10 records of {RECORD:,} bytes each, found {size:,} bytes, "
            f"{size % RECORD:,} over. The file is damaged or cut short: fetch it again."
        )
    records = stored_array(path, dtype=np.uint8, shape=(size // RECORD, RECORD))
    if records[:, 0].max() >= len(CLASSES):
        row = int(np.argmax(records[:, 0] >= len(CLASSES)))
        raise DataError(
            f"{path}: expected CIFAR-10 labels from 0 to 9, found {records[row, 0]} in record {row}. "
            "Check that it is the binary version of CIFAR-10 (not CIFAR-100)."
        )
    return records
