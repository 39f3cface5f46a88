"""Reused memory: scratch, and results that nothing refers to any more.

Fresh memory costs a page fault every 4 KiB, and is not in any cache. A kernel needs room for a padded image or packed
weights while it runs: a workspace hands out the same bytes at each call. A kernel's result lives as long as it is
referred to, perhaps by a tape: after that a recycler hands out its bytes again.
"""

import math
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minigan.backends.base import Array, Shape

_CACHE_LINE = 64
_SMALL = 1 << 16  # bytes that the allocator hands out again by itself
_PATIENCE = 1000  # requests after which an idle block is dropped: some ten training steps


class Block:
    """A piece of memory.

    Attributes:
        owner: all its bytes; arrays are made as views of it.
        offset: where in it a cache line begins.
        last_used: the number of the request that it last served.
    """

    def __init__(self, nbytes: int) -> None:
        self.owner = np.empty(nbytes + _CACHE_LINE - 1, dtype=np.uint8)
        self.offset = -self.owner.ctypes.data % _CACHE_LINE
        self.last_used = 0

    def references(self) -> int:
        """The number of references to the owner, which is constant as long as only this block refers to it.

        A view's `base` is the array that owns the memory, also if the view was made from another view, so each array
        on the block counts as one for as long as anything at all keeps it alive.
        """
        return sys.getrefcount(self.owner)


def _counts_references() -> bool:
    """Tells whether `Block.references` can be trusted.

    CPython with its global lock counts exactly, and at once. Elsewhere the count may be a constant (PyPy has none),
    or split between threads (free-threaded CPython): there no block is ever used again.
    """
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    block = Block(1)
    idle = block.references()
    view = block.owner[:1].view(np.int8).reshape(1, 1)
    used = block.references()
    del view
    return (used, block.references()) == (idle + 1, idle)


_EXACT = _counts_references()
_IDLE = Block(1).references()


class Recycler:
    """Arrays in memory whose former arrays are gone; private to each calling thread, as the workspace is.

    Large arrays are views of blocks that the recycler keeps. A block's reference count tells when no array uses it any
    more, so nothing has to be given back, and an array that is kept stays as it is.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """An array whose numbers are undefined, aligned to a cache line if large."""
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes < _SMALL or not _EXACT:
            return np.empty(shape, dtype)
        block = self._block(nbytes)
        return np.ndarray(shape, dtype, buffer=block.owner, offset=block.offset)

    def clear(self) -> None:
        """Drops all blocks of the calling thread; memory that arrays still use stays theirs."""
        self._blocks().clear()

    @property
    def nbytes(self) -> int:
        """Bytes of the calling thread's blocks, in use or idle."""
        return sum(block.owner.nbytes for blocks in self._blocks().values() for block in blocks)

    def _blocks(self) -> dict[int, list[Block]]:
        """The calling thread's blocks by size."""
        blocks: dict[int, list[Block]] = self._local.__dict__.setdefault("blocks", {})
        return blocks

    def _block(self, nbytes: int) -> Block:
        """The first idle block of the right size, or of up to twice that, or a new one.

        The first, so that spare ones fall out of use; of twice the size, as the layers of a network halve their images
        one after the other, and while one size is in demand another is idle.
        """
        self._local.requests = request = getattr(self._local, "requests", 0) + 1
        if request % _PATIENCE == 0:
            self._drop_unused(request - _PATIENCE)
        # Sizes in eight steps to an octave, so that a slightly other shape finds a block as well.
        step = 1 << max(0, nbytes.bit_length() - 4)
        size = -(-nbytes // step) * step
        blocks = self._blocks()
        block = _idle(blocks.get(size, ()))
        if block is None:
            others = sorted(each for each in blocks if size < each <= 2 * size)
            block = next(filter(None, (_idle(blocks[each]) for each in others)), None)
        if block is None:
            block = Block(size)
            blocks.setdefault(size, []).append(block)
        block.last_used = request
        return block

    def _drop_unused(self, before: int) -> None:
        """Forgets blocks that were last asked for before that request; one in use goes when its arrays do."""
        blocks = self._blocks()
        for size in list(blocks):
            blocks[size] = [block for block in blocks[size] if block.last_used >= before]
            if not blocks[size]:
                del blocks[size]


def _idle(blocks: Iterable[Block]) -> Block | None:
    """The first block that no array uses."""
    for block in blocks:
        if block.references() == _IDLE:
            return block
    return None


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
            block = Block(nbytes)
            buffer = buffers[name] = block.owner[block.offset : block.offset + nbytes]
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
