"""Reused memory for scratch.

A kernel needs room for a padded image or packed weights while it runs: a workspace hands out the same bytes at each
call, as fresh memory costs a page fault every 4 KiB, and is not in any cache.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from minigan.backends.base import Array
from minigan.backends.recycler import CACHE_LINE


class Workspace:
    """Named flat buffers, grown on demand, private to each calling thread.

    A buffer's content is undefined when a kernel takes it, and lives until the kernel returns.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def take(self, name: str, size: int, dtype: np.dtype[Any]) -> Array:
        """A flat array of `size` elements, aligned to a cache line. Two names never share memory."""
        views: dict[tuple[str, int, np.dtype[Any]], Array] = self._local.__dict__.setdefault("views", {})
        view = views.get((name, size, dtype))
        if view is None:
            view = views[name, size, dtype] = self._buffer(name, size * dtype.itemsize).view(dtype)
        return view

    def _buffer(self, name: str, nbytes: int) -> Array:
        """The bytes of that name; a larger buffer takes the place of one that is too small."""
        buffers = self._buffers()
        buffer = buffers.get(name)
        if buffer is None or buffer.size < nbytes:
            owner = np.empty(nbytes + CACHE_LINE - 1, np.uint8)
            offset = -owner.ctypes.data % CACHE_LINE
            buffer = buffers[name] = owner[offset : offset + nbytes]
            views = self._local.views
            for key in [key for key in views if key[0] == name]:
                del views[key]
        return buffer[:nbytes]

    def _buffers(self) -> dict[str, Array]:
        """The calling thread's buffers by name."""
        buffers: dict[str, Array] = self._local.__dict__.setdefault("buffers", {})
        return buffers

    def clear(self) -> None:
        """Drops the calling thread's buffers."""
        self._local.__dict__.clear()

    @property
    def nbytes(self) -> int:
        """Bytes of the calling thread's buffers."""
        return sum(buffer.nbytes for buffer in self._buffers().values())


class InPlace:
    """Arrays to change, as contiguous ones: what lies otherwise is copied, and at the end of a `with` copied back.

    Args:
        contiguous: returns an array itself, or a copy that kernels can write to.
    """

    __slots__ = ("arrays", "plain")

    def __init__(self, contiguous: Callable[[Array], Array], *arrays: Array) -> None:
        self.arrays, self.plain = arrays, [contiguous(array) for array in arrays]

    def __enter__(self) -> list[Array]:
        return self.plain

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for array, plain in zip(self.arrays, self.plain, strict=True):
            if plain is not array and kind is None:
                array[...] = plain
