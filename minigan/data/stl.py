"""The binary version of STL-10: images 96x96 without any header, planar red, green, blue, each plane column by column.

Labels, from 1 to 10, lie in a file of their own. Specification: https://cs.stanford.edu/~acoates/stl10 (Coates et al.
2011).
"""

from pathlib import Path

import numpy as np

from minigan.data.dataset import LabelArray, PixelArray
from minigan.data.stored import stored_array
from minigan.errors import DataError

__all__ = ["find_stl", "is_stl", "read_stl"]

SIDE = 96
IMAGE = 3 * SIDE * SIDE
ENDING = "_X.bin"  # nothing in a file tells its kind, so its name must
CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


def is_stl(path: Path) -> bool:
    """True for a file of whole images that is named like STL-10's."""
    size = path.stat().st_size
    return path.name.endswith(ENDING) and size > 0 and size % IMAGE == 0


def find_stl(folder: Path) -> tuple[Path, tuple[str, ...]] | None:
    """The training set in a folder, or the next best of the test set and the images without labels; and notes."""
    found = [name for name in ("train", "test", "unlabeled") if (folder / f"{name}{ENDING}").is_file()]
    found = [name for name in found if is_stl(folder / f"{name}{ENDING}")]
    if not found:
        return None
    taken, *others = (f"{name}{ENDING}" for name in found)
    note = f"{taken} is taken" + (f"; left out: {', '.join(others)}" if others else "")
    note += "" if found[0] == "train" else "; there is no training set"
    return folder / taken, (note,) if others or found[0] != "train" else ()


def read_stl(path: Path) -> tuple[PixelArray, LabelArray | None, tuple[str, ...] | None]:
    """Images (n, 96, 96, 3) uint8, read when they are needed; labels from 0 and class names, if their file is there.

    Raises:
        DataError: the labels are of another set.
    """
    count = path.stat().st_size // IMAGE
    planes = stored_array(path, dtype=np.uint8, shape=(count, 3, SIDE, SIDE))
    images = planes.transpose(0, 3, 2, 1)
    file = path.with_name(path.name.removesuffix(ENDING) + "_y.bin")
    if not file.is_file():
        return images, None, None
    labels = np.frombuffer(file.read_bytes(), dtype=np.uint8) if file.stat().st_size == count else np.zeros(1, np.uint8)
    if labels.min() < 1 or labels.max() > len(CLASSES):
        raise DataError(
            f"{file}: expected {count:,} labels from 1 to {len(CLASSES)}, a byte each; found others. Fetch it again."
        )
    return images, labels.astype(np.int64) - 1, CLASSES
