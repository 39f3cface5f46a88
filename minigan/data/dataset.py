"""What every source of training data looks like: a counted, ordered collection that is read by index."""

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from minigan.data.cache import PixelCache
from minigan.errors import DataError

__all__ = [
    "Collection",
    "Dataset",
    "FloatArray",
    "IndexArray",
    "LabelArray",
    "PairDataset",
    "PixelArray",
    "PixelDataset",
    "unit_range",
]

FloatArray = npt.NDArray[np.float32]
PixelArray = npt.NDArray[np.uint8]
LabelArray = npt.NDArray[np.int64]
IndexArray = npt.NDArray[np.intp]


def unit_range(pixels: PixelArray) -> FloatArray:
    """8-bit pixels as float32 in [-1, 1]; 0 becomes -1 and 255 becomes 1, exactly."""
    x: FloatArray = np.divide(pixels, np.float32(127.5), dtype=np.float32)
    x -= 1
    return np.ascontiguousarray(x)


class Collection(ABC):
    """Items in a fixed order, each perhaps with a class label."""

    def __init__(
        self,
        *,
        name: str,
        count: int,
        labels: LabelArray | None = None,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        if count < 1:
            raise DataError(f"{name}: expected at least one item, found none. Check the source.")
        if labels is not None and len(labels) != count:
            raise DataError(
                f"{name}: expected one label per item, found {len(labels):,} labels for {count:,} items. "
                "Check that both belong to the same set."
            )
        self.name = name
        self.labels = labels
        self.classes = classes
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.describe()}>"

    @abstractmethod
    def describe(self) -> str:
        """One line for people: name, number, kind and size of the items."""

    def close(self) -> None:  # noqa: B027 (most have nothing to give back)
        """Gives back what is held open: a zip archive."""

    def checked(self, indices: npt.ArrayLike) -> IndexArray:
        """`indices` as an array, each at least 0 and below `len(self)`."""
        rows = np.atleast_1d(np.asarray(indices))
        if rows.ndim != 1 or (rows.size and not np.issubdtype(rows.dtype, np.integer)):
            raise DataError(f"{self.name}: indices must be a list of integers, got {rows.dtype} {rows.shape}.")
        if rows.size and (rows.min() < 0 or rows.max() >= self._count):
            bad = rows[(rows < 0) | (rows >= self._count)][0]
            raise DataError(f"{self.name}: index {bad} is out of range: the set holds {self._count:,} items.")
        return rows.astype(np.intp, copy=False)

    def _classes_text(self) -> str:
        if self.classes is not None:
            return f", {len(self.classes)} classes"
        return ", labelled" if self.labels is not None else ""


class Dataset(Collection):
    """Images (H, W, C) in [-1, 1], or points (2,) as they are."""

    def __init__(
        self,
        *,
        name: str,
        count: int,
        shape: tuple[int, ...],
        labels: LabelArray | None = None,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(name=name, count=count, labels=labels, classes=classes)
        self.shape = shape

    @abstractmethod
    def read(self, indices: npt.ArrayLike) -> FloatArray:
        """The items at `indices`, float32 (n, *shape), C-contiguous."""

    def describe(self) -> str:
        return f"{self.name}: {len(self):,} {_kind(self.shape)}{self._classes_text()}"


class PairDataset(Collection):
    """Pairs of images, (H, W, C) each, in [-1, 1]: the input `a` and the wanted output `b`."""

    def __init__(
        self,
        *,
        name: str,
        count: int,
        a_shape: tuple[int, int, int],
        b_shape: tuple[int, int, int],
        labels: LabelArray | None = None,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(name=name, count=count, labels=labels, classes=classes)
        self.a_shape = a_shape
        self.b_shape = b_shape

    @abstractmethod
    def read_pairs(self, indices: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """The pairs at `indices`, float32 (n, *a_shape) and (n, *b_shape), C-contiguous."""

    def describe(self) -> str:
        a, b = _kind(self.a_shape), _kind(self.b_shape)
        return f"{self.name}: {len(self):,} pairs, {a} to {b}{self._classes_text()}"


class PixelDataset(Dataset):
    """Images made of 8-bit pixels; those that cost time to decode are kept in a cache when the whole set fits."""

    def __init__(
        self,
        *,
        name: str,
        count: int,
        shape: tuple[int, int, int],
        labels: LabelArray | None = None,
        classes: tuple[str, ...] | None = None,
        cache_bytes: int,
    ) -> None:
        super().__init__(name=name, count=count, shape=shape, labels=labels, classes=classes)
        self._cache = PixelCache(count=count, shape=shape, limit=cache_bytes)

    @abstractmethod
    def decode(self, indices: IndexArray) -> PixelArray:
        """The images at valid `indices`, made anew."""

    def pixels(self, indices: npt.ArrayLike) -> PixelArray:
        """The images at `indices`, uint8 (n, H, W, C)."""
        return self._cache.fetch(self.checked(indices), decode=self.decode)

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        return unit_range(self.pixels(indices))


def _kind(shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return f"{shape[0]}-D points"
    height, width, channels = shape
    tone = "greyscale" if channels == 1 else "colour"
    return f"{tone} images {height}x{width}"
