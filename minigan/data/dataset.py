"""Datasets: collections of images, points or pairs in a fixed order, read by index."""

import html
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigan.data.cache import PixelCache
from minigan.data.class_maps import ClassMaps
from minigan.data.pictures import ImageBatch, html_image, image_grid, point_density
from minigan.data.png import encode_png
from minigan.errors import ConfigError, DataError, MiniganError
from minigan.support.arguments import is_whole, kind_of
from minigan.support.representation import printable

__all__ = [
    "Collection",
    "Dataset",
    "FloatArray",
    "IndexArray",
    "LabelArray",
    "LabeledDataset",
    "Look",
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
    """Converts 8-bit pixels to float32 in [-1, 1]; 0 becomes -1 and 255 becomes 1, exactly."""
    x: FloatArray = np.divide(pixels, np.float32(127.5), dtype=np.float32)
    x -= 1
    return np.ascontiguousarray(x)


SHOWN = 16  # items in a notebook
NAMED, NAMES_LENGTH = 12, 80  # classes and letters in a line


class Look(NamedTuple):
    """Size and tone of an item in its source, before any scaling."""

    height: int
    width: int
    gray: bool


class Collection(ABC):
    """Base of all datasets: items in a fixed order, with or without class labels.

    `dataset[0]` is an item, `dataset[:16]` and `dataset[[3, 1]]` are batches; iteration goes through the items. A
    notebook shows images as pictures.

    Attributes:
        name: for people.
        labels: the items' classes, int64 (N,), or None.
        classes: the classes' names, or None.
        notes: lines on how the source was understood: the split taken, files left out, values clipped.
        kind: of the source, in words: "folder of pictures"; "" if nobody has said.
        varied: whether each item has a size and a tone of its own in the source; see `look`.
    """

    varied: bool = False

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
                "Check that both belong to the same dataset."
            )
        self.name = name
        self.labels = labels
        self.classes = classes
        self.notes: tuple[str, ...] = ()
        self.kind = ""
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.describe()}>"

    def _repr_html_(self) -> str:
        """For notebooks: the facts, and a few items from all over the set; the facts alone if these cannot be read."""
        facts = [self.describe(), *([printable(", ".join(self.classes))] if self.classes else []), *self.notes]
        shown = "".join(f"<div>{html.escape(fact)}</div>" for fact in facts)
        rows = np.linspace(0, self._count - 1, min(self._count, SHOWN), dtype=np.intp)
        try:
            items = self.read(rows)
            parts = items if isinstance(items, tuple) else (items,)
            pictures = [picture_of(part) for part in parts if part.ndim in (2, 4)]  # labels have one axis
        except MiniganError:
            return shown
        text = f"{len(rows)} items of {self.name}"
        return shown + "".join(f"<div>{html_image(encode_png(picture), text=text)}</div>" for picture in pictures)

    def note(self, *lines: str) -> None:
        """Adds lines to `notes`, each once; names in them that no terminal can show are escaped."""
        shown = dict.fromkeys(map(printable, lines))
        self.notes += tuple(line for line in shown if line not in self.notes)

    @abstractmethod
    def describe(self) -> str:
        """A line for people: name, number, kind and size of the items."""

    @abstractmethod
    def look(self, index: int) -> Look:
        """Size and tone of an item in its source; of a picture file only the header is read.

        Raises:
            DataError: it cannot be read.
        """

    @abstractmethod
    def read(self, indices: npt.ArrayLike) -> Any:
        """Reads the items at `indices`."""

    def __getitem__(self, index: Index) -> Any:
        rows = self.rows(index)
        items = self.read([rows] if isinstance(rows, int) else rows)
        parts = items if isinstance(items, tuple) else (items,)
        shown = tuple(_shown(part[0] if isinstance(rows, int) else part) for part in parts)
        return shown if isinstance(items, tuple) else shown[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))

    def close(self) -> None:  # noqa: B027 (most have nothing to give back)
        """Closes files that are held open, such as a zip archive."""

    def checked(self, indices: npt.ArrayLike) -> IndexArray:
        """Indices as an array (n,), each at least 0 and below `len(self)`.

        Raises:
            DataError: they are not a list of integers in that range.
        """
        rows = np.atleast_1d(np.asarray(indices))
        if rows.ndim != 1 or (rows.size and not np.issubdtype(rows.dtype, np.integer)):
            raise DataError(
                f"{self.name}: expected a list of integer indices, got {rows.dtype} {rows.shape}. Convert it."
            )
        if rows.size and (rows.min() < 0 or rows.max() >= self._count):
            bad = rows[(rows < 0) | (rows >= self._count)][0]
            raise DataError(f"{self.name}: expected indices from 0 to {self._count - 1:,}, got {bad}. Choose another.")
        return rows.astype(np.intp, copy=False)

    def rows(self, index: Index) -> IndexArray | int:
        """An index in brackets as one row, or as an array of rows; negative ones count from the end.

        Raises:
            IndexError: the set does not hold that many items.
            DataError: the index is no integer, slice or list of integers.
        """
        if isinstance(index, slice):
            return np.arange(self._count, dtype=np.intp)[index]
        if is_whole(index):
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
            return f", {len(self.classes)} classes{_class_names(self.classes)}"
        return ", labeled" if self.labels is not None else ""


class Dataset(Collection):
    """Base of the datasets of images (H, W, C) in [-1, 1], or of points (2,) in the plane.

    Attributes:
        shape: shape of an item: (H, W, C), or (2,).
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
        """Reads items.

        Args:
            indices: integers (n,) from 0 to `len(self) - 1`.
        Returns:
            float32 (n, *shape), C-contiguous.
        Raises:
            DataError: an index is out of range, or an item cannot be read.
        """

    def look(self, index: int) -> Look:  # noqa: ARG002 (all are alike)
        return _look(self.shape)

    def with_labels(self) -> "LabeledDataset":
        """This dataset with items (image, label), for a loader whose batches are to have labels.

        Raises:
            ConfigError: it has no labels.
        """
        return LabeledDataset(self)

    def describe(self) -> str:
        return f"{printable(self.name)}: {len(self):,} {_kind(self.shape, len(self))}{self._classes_text()}"


class LabeledDataset(Collection):
    """A dataset whose items are read together with their labels.

    Args:
        source: images or points with labels; `close` closes it, too.
    Raises:
        ConfigError: it has no labels.
    """

    def __init__(self, source: Dataset) -> None:
        if source.labels is None:
            raise ConfigError(
                f"{source.name}: expected labels, found none. Sort the images into a folder for each class."
            )
        super().__init__(name=source.name, count=len(source), labels=source.labels, classes=source.classes)
        self.note(*source.notes)
        self.shape = source.shape
        self._source = source
        self._labels = source.labels

    def read(self, indices: npt.ArrayLike) -> tuple[FloatArray, LabelArray]:
        """Reads items with their labels.

        Args:
            indices: integers (n,) from 0 to `len(self) - 1`.
        Returns:
            float32 (n, *shape) and int64 (n,).
        Raises:
            DataError: an index is out of range, or an item cannot be read.
        """
        rows = self.checked(indices)
        return self._source.read(rows), self._labels[rows]

    def look(self, index: int) -> Look:
        return self._source.look(index)

    def describe(self) -> str:
        return self._source.describe()

    def close(self) -> None:
        self._source.close()


class PairDataset(Collection):
    """Base of the datasets of image pairs: the input `a` and the wanted output `b`, (H, W, C) each, in [-1, 1].

    Attributes:
        a_shape, b_shape: shapes of an input and of an output.
        maps: the classes of the outputs, if the files say that these are maps of classes; otherwise None.
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
        self.maps: ClassMaps | None = None

    @abstractmethod
    def read(self, indices: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Reads pairs.

        Args:
            indices: integers (n,) from 0 to `len(self) - 1`.
        Returns:
            The inputs (n, *a_shape) and the outputs (n, *b_shape), float32, C-contiguous.
        Raises:
            DataError: an index is out of range, or a pair cannot be read.
        """

    def look(self, index: int) -> Look:  # noqa: ARG002 (all are alike)
        """Size and tone of A in a pair."""
        return _look(self.a_shape)

    def describe(self) -> str:
        a, b = _kind(self.a_shape), _kind(self.b_shape)
        pairs = "1 pair" if len(self) == 1 else f"{len(self):,} pairs"
        return f"{printable(self.name)}: {pairs}, {a} to {b}{self._classes_text()}"


class PixelDataset(Dataset):
    """Base of the datasets of 8-bit images; decoded images are cached if the whole dataset fits in `cache_bytes`."""

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
        """Decodes or draws the images at valid `indices`: uint8 (n, H, W, C)."""

    def pixels(self, indices: npt.ArrayLike) -> PixelArray:
        """Reads images as uint8 (n, H, W, C), from the cache if it has them."""
        return self._cache.fetch(self.checked(indices), decode=self.decode)

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        return unit_range(self.pixels(indices))


def picture_of(items: FloatArray) -> PixelArray:
    """A few items as one picture: images (N, H, W, C) in rows of eight, points (N, 2) as dots."""
    if items.ndim == 4:
        return image_grid(items, columns=min(len(items), 8))
    return point_density(items, extent=1.2 * float(np.abs(items).max() or 1.0), size=200)


def _shown(items: Any) -> Any:
    """Images as an array that a notebook shows; points and labels as they are."""
    return items.view(ImageBatch) if items.ndim >= 3 else items


def _class_names(classes: tuple[str, ...]) -> str:
    """The first classes by name, in brackets; "" for mere numbers."""
    if not any(letter.isalpha() for name in classes for letter in name):
        return ""
    shown = list(classes[:NAMED])
    while len(shown) > 1 and sum(map(len, shown)) > NAMES_LENGTH:
        del shown[-1]
    more = [] if len(shown) == len(classes) else ["..."]
    return f" ({printable(', '.join([name[:NAMES_LENGTH] for name in shown] + more))})"


def _look(shape: tuple[int, ...]) -> Look:
    """The look of an image of that shape; points have none, and are a pixel."""
    return Look(shape[0], shape[1], shape[2] == 1) if len(shape) == 3 else Look(1, 1, True)


def _kind(shape: tuple[int, ...], count: int = 2) -> str:
    """Items of a shape in words, for one or for several."""
    plural = "" if count == 1 else "s"
    if len(shape) == 1:
        return f"{shape[0]}-D point{plural}"
    height, width, channels = shape
    tone = "grayscale" if channels == 1 else "color"
    return f"{tone} image{plural} {height}x{width}"
