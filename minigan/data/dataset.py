"""The base of all sources of training data: a counted, ordered collection that is read by index."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from minigan.data.cache import PixelCache
from minigan.data.pictures import ImageBatch
from minigan.errors import DataError
from minigan.support.arguments import kind_of

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
Index = int | np.integer | slice | Sequence[int] | npt.NDArray[np.integer]


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

    def rows(self, index: Index) -> IndexArray | int:
        """An index in brackets as one row, or as an array of rows; negative ones count from the end.

        Raises:
            IndexError: the set does not hold that many items.
            DataError: the index is no integer, slice or list of integers.
        """
        if isinstance(index, slice):
            return np.arange(self._count, dtype=np.intp)[index]
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            if not -self._count <= index < self._count:
                raise IndexError(f"{self.name}: index {index} is out of range: the set holds {self._count:,} items.")
            return int(index) % self._count
        found = np.asarray(index)
        if isinstance(index, bool) or found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
            raise DataError(
                f"{self.name}: expected an index, a slice or a list of indices, got {kind_of(index)}. "
                "Write dataset[0] or dataset[:16]."
            )
        return self.checked(np.where(found < 0, found + self._count, found))

    def _classes_text(self) -> str:
        if self.classes is not None:
            return f", {len(self.classes)} classes"
        return ", labelled" if self.labels is not None else ""


class Dataset(Collection):
    """Images (H, W, C) in [-1, 1], or points (2,) as they are.

    `dataset[0]` is an item, `dataset[:16]` and `dataset[[3, 1]]` are batches; a notebook shows images as pictures.
    """

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

    def __getitem__(self, index: Index) -> FloatArray:
        rows = self.rows(index)
        return _shown(self.read([rows])[0] if isinstance(rows, int) else self.read(rows))

    def __iter__(self) -> Iterator[FloatArray]:
        return (self[row] for row in range(len(self)))

    def describe(self) -> str:
        return f"{self.name}: {len(self):,} {_kind(self.shape)}{self._classes_text()}"


class PairDataset(Collection):
    """Pairs of images, (H, W, C) each, in [-1, 1]: the input `a` and the wanted output `b`.

    `dataset[0]` is a pair, `dataset[:16]` and `dataset[[3, 1]]` are pairs of batches.
    """

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

    def __getitem__(self, index: Index) -> tuple[FloatArray, FloatArray]:
        rows = self.rows(index)
        if isinstance(rows, int):
            a, b = self.read_pairs([rows])
            return _shown(a[0]), _shown(b[0])
        a, b = self.read_pairs(rows)
        return _shown(a), _shown(b)

    def __iter__(self) -> Iterator[tuple[FloatArray, FloatArray]]:
        return (self[row] for row in range(len(self)))

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


def _shown(items: FloatArray) -> FloatArray:
    """Images as an array that a notebook shows; points as they are."""
    return items.view(ImageBatch) if items.ndim >= 3 else items


def _kind(shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return f"{shape[0]}-D points"
    height, width, channels = shape
    tone = "greyscale" if channels == 1 else "colour"
    return f"{tone} images {height}x{width}"
