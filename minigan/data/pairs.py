"""Pairs of images side by side in one picture file, as in pix2pix's datasets (Isola et al. 2017)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from minigan.data.cache import PixelCache
from minigan.data.dataset import FloatArray, IndexArray, PairDataset, PixelArray, unit_range
from minigan.data.files import FileStore
from minigan.data.image_files import (
    RESIZE_REMEDY,
    Probe,
    common_size,
    expect_modest,
    load_image,
    probe_files,
    to_array,
)
from minigan.data.options import SourceOptions, chosen_rows
from minigan.data.resize import cover
from minigan.errors import ConfigError, DataError

__all__ = ["DIRECTIONS", "PairFiles", "split_rows"]

DIRECTIONS = ("AtoB", "BtoA")


class PairFiles(PairDataset):
    """Dataset of pictures whose left half is A and right half is B, decoded batch by batch; halves are scaled alone."""

    def __init__(self, store: FileStore, *, name: str, options: SourceOptions, swap: bool, split: str | None) -> None:
        rows = split_rows(store, split)
        rows = rows[chosen_rows(len(rows), options, where=store.root)]
        probes = probe_files(store, rows)
        height, width = options.size or _common_half(store, probes)
        channels = options.channels or (1 if all(probe.grey for probe in probes.values()) else 3)
        shape = (height, width, channels)
        super().__init__(name=name, count=len(rows), a_shape=shape, b_shape=shape)
        self._store = store
        self._rows = rows
        self._swap = swap
        self._resize = options.size is not None
        self._cache = PixelCache(count=len(rows), shape=(2, *shape), limit=options.cache_bytes)

    def close(self) -> None:
        self._store.close()

    def read(self, indices: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        both = self._cache.fetch(self.checked(indices), decode=self._decode)
        left, right = unit_range(both[:, 0]), unit_range(both[:, 1])
        return (right, left) if self._swap else (left, right)

    def _decode(self, indices: IndexArray) -> PixelArray:
        pairs = np.empty((len(indices), 2, *self.a_shape), dtype=np.uint8)
        for pair, row in zip(pairs, self._rows[indices], strict=True):
            for side, half in zip(pair, self._halves(int(row)), strict=True):
                side[...] = to_array(cover(half, size=self.a_shape[:2]))
        return pairs

    def _halves(self, row: int) -> tuple[Any, Any]:
        height, width, channels = self.a_shape
        where = self._store.where(row)
        if not self._resize:
            expect_modest((height, width), where=where)
        image = load_image(self._store.read(row), where=where, channels=channels)
        half = _half_width(image.width, where=where)
        if not self._resize and (image.height, half) != (height, width):
            raise DataError(
                f"{where}: expected halves of {height}x{width} like the other pairs, found {image.height}x{half}. "
                f"{RESIZE_REMEDY}"
            )
        left, right = (0, 0, half, image.height), (half, 0, image.width, image.height)
        return image.crop(left), image.crop(right)


def split_rows(store: FileStore, split: str | None) -> IndexArray:
    """Indices of the files in folders named `split`; by default in `train`, or all files if there is none.

    Raises:
        ConfigError: no file lies in such a folder.
    """
    folders = [name.split("/")[:-1] for name in store.names]
    splits = sorted({part for folder in folders for part in folder})
    wanted = split if split is not None or "train" not in splits else "train"
    if wanted is None:
        return np.arange(len(folders), dtype=np.intp)
    rows = np.array([row for row, folder in enumerate(folders) if wanted in folder], dtype=np.intp)
    if not rows.size:
        found = ", ".join(splits) or "no folders"
        raise ConfigError(f"{store.root}: expected a folder named {wanted!r}, found {found}. Choose another split.")
    return rows


def _common_half(store: FileStore, probes: dict[int, Probe]) -> tuple[int, int]:
    height, width = common_size(store, probes)
    return height, _half_width(width, where=store.where(next(iter(probes))))


def _half_width(width: int, *, where: str) -> int:
    if width % 2:
        raise DataError(
            f"{where}: expected two images of the same width side by side, found an odd width of {width}. "
            "Check that the folder holds pairs."
        )
    return width // 2
