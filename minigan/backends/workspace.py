"""Scratch memory that is used again.

A kernel needs room for a padded image or packed weights while it runs. Fresh memory costs a page fault every 4 KiB,
and touches of cold memory; a workspace hands out the same bytes at each call instead.
"""

import threading
from typing import Any

import numpy as np

from minigan.backends.base import Array


class Workspace:
    """Named flat buffers, grown on demand, private to each calling thread.

    What a name holds is undefined on entry: a buffer lives until its kernel returns.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def take(self, name: str, size: int, dtype: np.dtype[Any]) -> Array:
        """A flat array of `size` elements, aligned to a cache line. Two names never share memory."""
        buffers: dict[str, Array] = self._local.__dict__
        nbytes = size * dtype.itemsize
        buffer = buffers.get(name)
        if buffer is None or buffer.size < nbytes:
            raw = np.empty(nbytes + 63, dtype=np.uint8)
            skip = -raw.ctypes.data % 64
            buffer = buffers[name] = raw[skip : skip + nbytes]
        return buffer[:nbytes].view(dtype)

    @property
    def nbytes(self) -> int:
        """What the calling thread's buffers hold."""
        return sum(buffer.nbytes for buffer in self._local.__dict__.values())
