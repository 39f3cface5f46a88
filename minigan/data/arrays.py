"""Images and points held in one array: in memory or memory-mapped."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from minigan.data.channels import convert_channels, over_white
from minigan.data.dataset import Dataset, FloatArray, IndexArray, LabelArray, PixelArray, PixelDataset
from minigan.data.options import SourceOptions, chosen_rows
from minigan.data.points import Points
from minigan.data.resize import resized
from minigan.data.tones import DARK, HALF_STEP, Tones, dark_remarks, integer_tones
from minigan.errors import ConfigError, DataError

__all__ = ["FloatImages", "PixelImages", "open_array"]

Array = npt.NDArray[Any]

MOST_CLASSES = 10_000
SCANNED = 2**31  # bytes of an array whose values are all looked at
SAMPLE = 16_384  # items of a larger one that are
CHUNK = 2**24  # bytes that are looked at together
SHOWN = 5  # classes in a note
GRAY = -0.5  # images in [-1, 1] hold darker values, as a rule
FIRST_LOOK = 1024  # 8-bit images that are looked at first: if they are bright, the others need not be
PICTURE_SIDE = 8  # pixels; an array (H, W, 3) of at least these sides is a picture, not H images


def open_array(
    values: Array,
    *,
    name: str,
    where: str,
    options: SourceOptions,
    labels: LabelArray | None = None,
    classes: tuple[str, ...] | None = None,
) -> Dataset:
    """The dataset in an array: images of integers, float images in [0, 1] or [-1, 1], or float points.

    Float images are taken to be in [-1, 1] if any of them has a negative value, and in [0, 1] otherwise. Integers of
    other kinds than uint8 are scaled by the smallest of 1, 8, 10, 12 and 16 bits that holds the largest of all
    values. Beyond 2 GB a sample of 16,384 items decides. Each batch is checked when it is read.

    Args:
        values: points (N, 2), or images (N, H, W) or (N, H, W, C) with C 1, 3 or 4 (RGBA, no floats, laid over white).
        where: names the source in errors.
        labels: integers (N,).
        classes: the classes' names; by default the labels themselves, if they count from 0.
    Raises:
        DataError: the array holds something else.
        ConfigError: the options do not fit it.
    """
    if values.ndim == 0:
        raise DataError(f"{where}: expected an array of items, found a single {values.dtype}. Save the whole dataset.")
    if labels is not None and len(labels) != len(values):
        raise DataError(
            f"{where}: expected one label per item, found {len(labels):,} labels for {len(values):,} items. "
            "Check that both belong to the same dataset."
        )
    rows, notes = chosen_rows(len(values), options, where=where), []
    if labels is not None:
        classes = classes or _numbered_classes(labels)
        notes = _missing_classes(labels, classes)
        labels = labels[rows]
    if values.ndim == 2 and values.shape[1] == 2 and values.dtype.kind == "f":
        return _open_points(values[rows], name=name, where=where, options=options, labels=labels, classes=classes)
    images = _as_images(values, where=where)
    dataset: Dataset
    if images.dtype.kind == "f":
        dataset = FloatImages(images, rows, name=name, where=where, options=options, labels=labels, classes=classes)
    else:
        tones, remarks = _find_tones(images, where=where)
        dataset = PixelImages(
            images, rows, name=name, where=where, options=options, labels=labels, classes=classes, tones=tones
        )
        dataset.note(*remarks)
    dataset.note(*notes)
    if values.ndim == 3 and len(values) in (3, 4) and min(values.shape[1:]) >= PICTURE_SIDE:
        dataset.note(f"{values.shape} is taken as {len(values)} grayscale images, not as one picture (C, H, W)")
    return dataset


def _numbered_classes(labels: LabelArray) -> tuple[str, ...] | None:
    """The labels as names, if they count from 0 and are few enough to be classes; otherwise None."""
    if not labels.size or labels.min() < 0 or labels.max() >= MOST_CLASSES:
        return None
    return tuple(str(label) for label in range(int(labels.max()) + 1))


def _missing_classes(labels: LabelArray, classes: tuple[str, ...] | None) -> list[str]:
    """A line on classes that no item has."""
    held = set(np.unique(labels).tolist())
    missing = [name for k, name in enumerate(classes or ()) if k not in held]
    if not missing:
        return []
    shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
    return [f"no item is of class {shown}" if len(missing) == 1 else f"no item is of {len(missing):,} classes: {shown}"]


def _open_points(
    points: Array,
    *,
    name: str,
    where: str,
    options: SourceOptions,
    labels: LabelArray | None,
    classes: tuple[str, ...] | None,
) -> Points:
    if options.size is not None or options.channels is not None:
        raise ConfigError(f"{where}: points have no size or channels. Leave both out.")
    single = _to_single(points)
    if not np.isfinite(single).all():
        row = int(np.argmax(~np.isfinite(single).all(axis=1)))
        raise DataError(f"{where}: expected finite numbers of single precision, found {points[row]} in item {row}.")
    return Points(single, name=name, labels=labels, classes=classes)


def _to_single(values: Array) -> FloatArray:
    """Floats as float32; values out of its range become infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def _as_images(values: Array, *, where: str) -> Array:
    """The array as images (N, H, W, C).

    Raises:
        DataError: it does not hold images.
    """
    images = values[..., None] if values.ndim == 3 else values
    expected = "expected images (N, H, W) or (N, H, W, C) with C 1 or 3, or float points (N, 2)"
    if images.ndim != 4:
        side = math.isqrt(values.shape[1]) if values.ndim == 2 else 0
        rows = side >= PICTURE_SIDE and side * side == values.shape[1]
        remedy = f"Reshape it with x.reshape(-1, {side}, {side})" if rows else "Reshape the array"
        raise DataError(f"{where}: {expected}; found {values.dtype} {values.shape}. {remedy}.")
    if values.ndim == 3 and values.shape[2] in (1, 3, 4) and min(values.shape[:2]) >= PICTURE_SIDE:
        raise DataError(
            f"{where}: {expected}; found {values.dtype} {values.shape}, which looks like a single picture (H, W, C). "
            "Save several in one array."
        )
    if images.dtype.kind not in "buif":
        raise DataError(
            f"{where}: expected uint8, or floats in [0, 1] or [-1, 1]; found {values.dtype}. Convert the array."
        )
    if images.shape[3] not in (1, 3, 4) and images.shape[1] in (1, 3):
        raise DataError(
            f"{where}: {expected}; found {values.shape}, which looks like (N, C, H, W). "
            "Transpose it with np.transpose(x, (0, 2, 3, 1))."
        )
    if images.shape[3] not in (1, 3, 4) and images.shape[2] in (1, 3) and min(images.shape[:2]) >= PICTURE_SIDE:
        raise DataError(
            f"{where}: {expected}; found {values.shape}, which looks like (H, W, C, N). "
            "Transpose it with np.transpose(x, (3, 0, 1, 2))."
        )
    if images.shape[3] not in ((1, 3) if images.dtype.kind == "f" else (1, 3, 4)):
        raise DataError(f"{where}: {expected}; found {values.dtype} {values.shape}. Convert the array.")
    if 0 in images.shape:
        raise DataError(f"{where}: expected at least one image, found an empty array {values.shape}. Save it again.")
    return images


def _extent(images: Array) -> tuple[float, float]:
    """The lowest and the highest of all values; NaN if there is one. Of very many images a sample is looked at.

    8-bit images with transparency are looked at over white, as they are used.
    """
    few = images.nbytes <= SCANNED or len(images) <= SAMPLE
    rows = np.arange(len(images)) if few else np.arange(SAMPLE) * len(images) // SAMPLE
    step = max(1, CHUNK // max(images[0].nbytes, 1))
    low, high = np.inf, -np.inf
    for start in range(0, len(rows), step):
        part = _flat(images[start : start + step] if few else images[rows[start : start + step]])
        low, high = float(np.minimum(low, part.min())), float(np.maximum(high, part.max()))
    return low, high


def _flat(images: Array) -> Array:
    """8-bit images without their transparency; others as they are, also those of 0 and 1, which are to be scaled."""
    pixels = images.dtype == np.uint8 and images.max() != 1
    return over_white(images) if pixels and images.shape[3] == 4 else images


def _constant(lowest: float, highest: float) -> list[str]:
    return [f"all values are {lowest:g}"] if lowest == highest else []


def _find_tones(images: Array, *, where: str) -> tuple[Tones | None, list[str]]:
    """The range of integers, None for 8-bit pixels, and notes on it.

    Raises:
        DataError: they are no tones.
    """
    if images.dtype == np.uint8:
        rows = np.arange(min(len(images), FIRST_LOOK)) * len(images) // min(len(images), FIRST_LOOK)
        look = _flat(images[rows])
        if look.max() > DARK * 255 and look.min() < look.max():  # as nearly always
            return None, []
    lowest, highest = map(int, _extent(images))
    if lowest < 0 or highest > 0xFFFF or (highest == 0 and images.dtype != np.uint8):
        raise DataError(
            f"{where}: expected uint8, integers up to 16 bits, or floats in [0, 1] or [-1, 1]; found {images.dtype} "
            f"from {lowest} to {highest}. Convert the array."
        )
    if images.dtype == np.uint8 and highest != 1:
        return None, [*_constant(lowest, highest), *dark_remarks(highest, white=255)]
    signed = images.dtype.kind == "i" and images.dtype.itemsize == 2
    tones = integer_tones(lowest, highest, where=where, signed=signed)
    return tones, tones.remarks()


def _target(images: Array, options: SourceOptions) -> tuple[int, int, int]:
    height, width = options.size or images.shape[1:3]
    return height, width, options.channels or min(images.shape[3], 3)


class PixelImages(PixelDataset):
    """Images from the `rows` of an array (N, H, W, C) of integers, resized and converted as the options say.

    Args:
        tones: the range of the values, None for uint8 pixels.
    """

    def __init__(
        self,
        images: Array,
        rows: IndexArray,
        *,
        name: str,
        where: str,
        options: SourceOptions,
        labels: LabelArray | None = None,
        classes: tuple[str, ...] | None = None,
        tones: Tones | None = None,
    ) -> None:
        shape = _target(images, options)
        super().__init__(
            name=name,
            count=len(rows),
            shape=shape,
            labels=labels,
            classes=classes,
            # if only bytes are copied, the array itself is as quick as a cache
            cache_bytes=0 if shape[:2] == images.shape[1:3] else options.cache_bytes,
        )
        self._images = images
        self._rows = rows
        self._size = shape[:2]
        self._tones = tones
        self._where = where

    def decode(self, indices: IndexArray) -> PixelArray:
        images = np.asarray(self._images[self._rows[indices]])
        images = images if self._tones is None else self._tones.pixels(images, where=self._where)
        images = over_white(images) if images.shape[3] == 4 else images
        return resized(convert_channels(images, channels=self.shape[2]), size=self._size)


class FloatImages(Dataset):
    """Images from the `rows` of a float array (N, H, W, C) in [0, 1] or [-1, 1], resized and converted."""

    def __init__(
        self,
        images: Array,
        rows: IndexArray,
        *,
        name: str,
        where: str,
        options: SourceOptions,
        labels: LabelArray | None = None,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        shape = _target(images, options)
        super().__init__(name=name, count=len(rows), shape=shape, labels=labels, classes=classes)
        self._images = images
        self._rows = rows
        self._size = shape[:2]
        self._where = where
        self._low = self._find_range()

    def _find_range(self) -> float:
        """Lower end of the images' range, -1 or 0."""
        lowest, highest = _extent(self._images)
        self._low = -1.0 if not lowest >= -HALF_STEP else 0.0
        if not (lowest >= self._low - HALF_STEP and highest <= 1 + HALF_STEP):  # NaN fails as well
            self._find_fault()
        if lowest < self._low or highest > 1:
            self.note(f"values from {lowest:.9g} to {highest:.9g} are clipped to [{self._low:g}, 1]: rounding errors")
        if self._low < 0 and lowest > GRAY:
            self.note(f"the lowest value is {lowest:g}: the images are taken to be in [-1, 1], where 0 is gray")
        self.note(*_constant(lowest, highest), *(dark_remarks(highest, white=1) if self._low == 0 else []))
        return self._low

    def _find_fault(self) -> None:
        """Raises the error for the first image that is out of range."""
        for part in np.array_split(self._every_row(), -(-len(self._images) // FIRST_LOOK)):
            self._gather(part)

    def _every_row(self) -> IndexArray:
        return np.arange(len(self._images), dtype=np.intp)

    def _gather(self, rows: IndexArray) -> FloatArray:
        images = _to_single(self._images[rows])
        low, high = float(images.min()), float(images.max())
        if not (low >= self._low - HALF_STEP and high <= 1 + HALF_STEP):  # NaN fails as well
            self._complain(images, rows)
        return images

    def _complain(self, images: FloatArray, rows: IndexArray) -> None:
        bad = ~((images >= self._low - HALF_STEP) & (images <= 1 + HALF_STEP))
        item = int(np.argmax(bad.any(axis=(1, 2, 3))))
        value = images[item][bad[item]][0]
        expected = "[0, 1] or [-1, 1]" if self._low < 0 else "[0, 1], like the others (none is negative)"
        remedy = "Convert pixel values from 0 to 255 to uint8." if value > 1 else "Clean or rescale the array."
        raise DataError(
            f"{self._where}: expected float images in {expected}, found {value:g} in item {rows[item]}. {remedy}"
        )

    def read(self, indices: npt.ArrayLike) -> FloatArray:
        rows = self._rows[self.checked(indices)]
        if not rows.size:
            return np.empty((0, *self.shape), dtype=np.float32)
        x = convert_channels(self._gather(rows), channels=self.shape[2])
        if self._low == 0:
            x = 2 * x - 1
        # the filter may overshoot at sharp edges
        return np.ascontiguousarray(np.clip(resized(x, size=self._size), -1, 1))
