"""Reused memory for results that nothing refers to any more.

A kernel's result lives as long as it is referred to, perhaps by a tape: after that its bytes are handed out again.
Fresh memory costs a page fault every 4 KiB, and is not in any cache.
"""

import math
import sys
import threading
from itertools import chain
from typing import Any

import numpy as np

from minigan.backends.base import Array, Shape

CACHE_LINE = 64
_SMALL = 1 << 16  # bytes that the allocator hands out again by itself
_CHUNK = 1 << 26  # bytes that are asked for at once; what is never written takes no memory
_PATIENCE = 1000  # requests after which memory is given back that was not used: some ten training steps


class Block:
    """A piece of a chunk.

    Attributes:
        owner: all its bytes; arrays are made as views of it.
        start, end: its place in the chunk.
        last_used: the number of the request that it last served.
    """

    __slots__ = ("end", "last_used", "owner", "start")

    def __init__(self, memory: memoryview, start: int, nbytes: int) -> None:
        self.start, self.end, self.last_used = start, start + nbytes, 0
        # What is below the owner is no array, so NumPy takes the owner for the base of all views.
        self.owner = np.frombuffer(memory, np.uint8, nbytes, start)

    def references(self) -> int:
        """The number of references to the owner, which is constant as long as only this block refers to it.

        A view's `base` is the array that owns the memory, also if the view was made from another view, so each array
        on the block counts as one for as long as anything at all keeps it alive.
        """
        return sys.getrefcount(self.owner)


class Chunk:
    """Contiguous memory, in which blocks lie one after the other, with room between them.

    Attributes:
        memory: begins with a cache line.
        first: the address of its first byte.
        blocks: by their place.
        reached: bytes from the beginning that have ever been in a block: the others take no memory.
    """

    def __init__(self, nbytes: int) -> None:
        memory = np.empty(nbytes + CACHE_LINE - 1, np.uint8)
        offset = -memory.ctypes.data % CACHE_LINE
        self.memory = memory.data[offset : offset + nbytes]
        self.first = memory.ctypes.data + offset
        self.blocks: list[Block] = []
        self.reached = 0

    def needed(self, since: int) -> int:
        """Bytes from the beginning that were used since that request."""
        return max((block.end for block in self.blocks if block.last_used >= since), default=0)

    def place(self, nbytes: int) -> tuple[Block, list[Block]] | None:
        """A new block at the first place that is large enough, and the idle blocks that it replaces."""
        begin = first = 0
        for last, block in enumerate(self.blocks):
            if block.references() == _IDLE:
                continue
            if block.start - begin >= nbytes:
                return self._put(nbytes, begin, first, last)
            begin, first = block.end, last + 1
        return self._put(nbytes, begin, first, len(self.blocks)) if len(self.memory) - begin >= nbytes else None

    def _put(self, nbytes: int, begin: int, first: int, last: int) -> tuple[Block, list[Block]]:
        """Replaces as many as need be of the blocks from `first` to `last`, which are idle."""
        block = Block(self.memory, begin, nbytes)
        while last > first and self.blocks[last - 1].start >= block.end:
            last -= 1
        replaced, self.blocks[first:last] = self.blocks[first:last], [block]
        self.reached = max(self.reached, block.end)
        return block, replaced


def _counts_references() -> bool:
    """Tells whether `Block.references` can be trusted.

    CPython with its global lock counts exactly, and at once. Elsewhere the count may be a constant (PyPy has none),
    or split between threads (free-threaded CPython): there no block is ever used again.
    """
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    block = Block(memoryview(bytearray(1)), 0, 1)
    idle = block.references()
    view = block.owner[:1].view(np.int8).reshape(1, 1)
    used = block.references()
    del view
    return (used, block.references()) == (idle + 1, idle)


_EXACT = _counts_references()
_IDLE = Block(memoryview(bytearray(1)), 0, 1).references()


class Pool:
    """The chunks of one thread.

    A training step asks for the same sizes in the same order again and again: most requests find an idle block of just
    their size. Another one takes the first place that is large enough, be it empty or full of idle blocks. As a
    network's activations are freed in the reverse of their order, nearly nothing is lost between blocks: the pool
    takes as much memory as the arrays that are alive at the worst moment.

    Args:
        forgets: whether memory is given back that has long not been used.
    """

    def __init__(self, *, forgets: bool) -> None:
        self.forgets = forgets
        self.chunks: list[Chunk] = []
        self.requests = 0
        self._sizes: dict[int, list[Block]] = {}

    def block(self, nbytes: int) -> Block:
        """A block that no array uses."""
        self.requests += 1
        if self.forgets and self.requests % _PATIENCE == 0:
            self._drop_unused(self.requests - _PATIENCE)
        size = -(-nbytes // CACHE_LINE) * CACHE_LINE
        for block in self._sizes.get(size, ()):
            if block.references() == _IDLE:
                break
        else:
            block = self._new(size)
        block.last_used = self.requests
        return block

    def _new(self, size: int) -> Block:
        placed = next((place for chunk in self.chunks if (place := chunk.place(size))), None)
        block, replaced = placed or self._new_chunk(size)
        for each in replaced:
            self._sizes[each.end - each.start].remove(each)
        self._sizes.setdefault(size, []).append(block)
        return block

    def _new_chunk(self, size: int) -> tuple[Block, list[Block]]:
        try:
            chunk = Chunk(max(size, _CHUNK, sum(len(chunk.memory) for chunk in self.chunks)))
        except MemoryError:  # where what is asked for counts, and not what is written
            chunk = Chunk(size)
        self.chunks.append(chunk)
        return chunk._put(size, 0, 0, 0)

    def _drop_unused(self, before: int) -> None:
        """Forgets chunks of which the half or less was used since that request; one in use goes when its arrays do."""
        self.chunks = [chunk for chunk in self.chunks if 2 * chunk.needed(before) >= chunk.reached]
        self._sizes = {}
        for block in chain.from_iterable(chunk.blocks for chunk in self.chunks):
            self._sizes.setdefault(block.end - block.start, []).append(block)


class Recycler:
    """Arrays in memory whose former arrays are gone; private to each calling thread, as the workspace is.

    Large arrays are views of blocks that the recycler keeps. A block's reference count tells when no array uses it any
    more, so nothing has to be given back, and an array that is kept stays as it is.

    Args:
        forgets: whether memory is given back that has long not been used.
    """

    def __init__(self, *, forgets: bool = True) -> None:
        self.forgets = forgets
        self._local = threading.local()

    def uncounted(self, array: Array) -> Array:
        """The array in the same place, without a claim to it: its block is idle once other arrays are gone.

        An array that lies elsewhere is returned itself.
        """
        address = array.ctypes.data
        for chunk in self._pool().chunks:
            if chunk.first <= address < chunk.first + len(chunk.memory):
                return np.ndarray(array.shape, array.dtype, chunk.memory, address - chunk.first, array.strides)
        return array

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """An array whose numbers are undefined, aligned to a cache line if large."""
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes < _SMALL or not _EXACT:
            return np.empty(shape, dtype)
        return np.ndarray(shape, dtype, buffer=self._pool().block(nbytes).owner)

    def clear(self) -> None:
        """Drops all memory of the calling thread; what arrays still use stays theirs."""
        self._local.__dict__.clear()

    @property
    def in_use(self) -> int:
        """Bytes of the calling thread's memory that arrays use."""
        blocks = chain.from_iterable(chunk.blocks for chunk in self._pool().chunks)
        return sum(block.end - block.start for block in blocks if block.references() != _IDLE)

    @property
    def nbytes(self) -> int:
        """Bytes of the calling thread's memory, in use or idle."""
        return sum(chunk.reached for chunk in self._pool().chunks)

    def _pool(self) -> Pool:
        pool: Pool | None = self._local.__dict__.get("pool")
        if pool is None:
            pool = self._local.pool = Pool(forgets=self.forgets)
        return pool
