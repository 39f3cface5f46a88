"""A cache of decoded images, so that only the first epoch pays for decoding."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from minigan.support.memory_limit import memory_limit

__all__ = ["CACHE_BYTES", "PixelCache"]

CACHE_BYTES = 256 * 2**20

PixelArray = npt.NDArray[np.uint8]
IndexArray = npt.NDArray[np.intp]


class PixelCache:
    """A table of uint8 images, filled as they are first read; unused if the whole dataset would pass `limit` bytes.

    It takes no more than a quarter of the memory that this process may use, so that a small container has room for
    training.

    Threads may share it. Two that miss the same image both decode it and write the same bytes, and an image is marked
    as present only after its pixels are written.
    """

    def __init__(self, *, count: int, shape: tuple[int, ...], limit: int) -> None:
        most = min(limit, memory_limit()[0] // 4)
        held = count if count * math.prod(shape) <= most else 0
        try:
            # untouched pages of an empty array take no memory: it grows as images are read
            self._table: PixelArray = np.empty((held, *shape), dtype=np.uint8)
        except MemoryError:  # a limit on addresses counts them, touched or not
            held, self._table = 0, np.empty((0, *shape), dtype=np.uint8)
        self._held = np.zeros(held, dtype=np.bool_)

    def fetch(self, indices: IndexArray, *, decode: Callable[[IndexArray], PixelArray]) -> PixelArray:
        """The images at `indices`; `decode` makes the missing ones."""
        if not len(self._table):
            return decode(indices)
        missing = np.unique(indices[~self._held[indices]])
        if missing.size:
            self._table[missing] = decode(missing)
            self._held[missing] = True
        return self._table[indices]
