"""Sums over the pixels of images, and passes that know each number's channel: columns.cuh."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from minigan.backends.base import Array
from minigan.backends.gpu.engine import Engine
from minigan.backends.gpu.launch import THREADS, Settings, contiguous, vector_of
from minigan.distributed.ranks import Ranks

LANES = 32  # threads side by side, at most: of float32 they read 512 bytes together
STEPS = 4  # rows that are worth a thread
SUM_BLOCKS = 3  # for each multiprocessor, at most: so many run at a time, and what they sum must be added up
PASS_BLOCKS = 32
DOUBLE = np.dtype(np.float64)


class Columns(NamedTuple):
    """The layout of images' rows and columns among blocks of threads.

    Attributes:
        examples: matrices that are summed each for itself.
        rows, columns: of each.
        fold: pixels that stand side by side in a row.
        vector: numbers that a thread reads at once.
        lanes: threads side by side.
        parts: blocks along the rows.
    """

    examples: int
    rows: int
    columns: int
    fold: int
    vector: int
    lanes: int
    parts: int

    @property
    def grid(self) -> tuple[int, int]:
        return self.examples * self.parts, -(-self.columns // (self.vector * self.lanes))

    @property
    def arguments(self) -> tuple[Any, ...]:
        """PLACE_ARGUMENTS."""
        return np.int64(self.rows), self.columns, self.lanes, self.parts

    @property
    def settings(self) -> Settings:
        return (("VECTOR", self.vector),)


@lru_cache(maxsize=1024)
def plan_columns(examples: int, pixels: int, channels: int, *, wide: int, aligned: bool, blocks: int) -> Columns:
    """The layout for images.

    Args:
        pixels: of each example.
        wide: numbers in 16 bytes.
        aligned: whether all arrays begin at a multiple of 16 bytes.
        blocks: at most, unless there are more examples or tiles of columns.
    """
    fold = 1
    while pixels % (2 * fold) == 0 and (channels * fold % wide or 2 * channels * fold <= LANES * wide):
        fold *= 2
    rows, columns = pixels // fold, channels * fold
    vector = wide if aligned and columns % wide == 0 else 1
    across = -(-columns // vector)
    tiles = -(-across // LANES)
    lanes = -(-across // tiles)
    parts = max(1, min(-(-rows // (THREADS // lanes * STEPS)), blocks // (tiles * examples)))
    return Columns(examples, rows, columns, fold, vector, lanes, parts)


class Partials(NamedTuple):
    """Sums that are still to be added up.

    Attributes:
        sums: (examples * rows, channels, terms).
        rows: of each example.
        settings: of the kernel that made them.
    """

    sums: Array
    rows: int
    settings: Settings


class ColumnEngine(Engine):
    """The base of the families of kernels that go over the channels of images.

    `arrays` are images of one shape; each kernel takes them, PLACE_ARGUMENTS, its other arguments, and its results.
    """

    ranks: Ranks

    def partial_sums(
        self, family: str, kernel: str, arrays: tuple[Array, ...], *arguments: Any, examples: int, terms: int
    ) -> Partials:
        """Launches a kernel that makes so many sums of each channel."""
        arrays = tuple(map(contiguous, arrays))
        columns = self._columns(arrays, examples, SUM_BLOCKS)
        rows = columns.parts * columns.fold
        sums = self.empty((examples * rows, arrays[0].shape[-1], terms), DOUBLE)
        shared = THREADS * columns.vector * terms * DOUBLE.itemsize
        self._launch(family, kernel, columns, arrays, *arguments, sums, shared=shared)
        return Partials(sums, rows, columns.settings)

    def of_all_ranks(self, partials: Partials) -> Partials:
        """One batch's sums over all ranks, which stand for those of one process: the means over ranks."""
        if self.ranks.size == 1:
            return partials
        return partials._replace(sums=self.ranks.mean(partials.sums.sum(axis=0, keepdims=True)), rows=1)

    def whole_pass(
        self,
        family: str,
        kernel: str,
        arrays: tuple[Array, ...],
        *arguments: Any,
        examples: int,
        results: tuple[Array, ...],
    ) -> None:
        """Launches a kernel that makes images like those that it takes."""
        arrays = tuple(map(contiguous, arrays))
        columns = self._columns((*arrays, *results), examples, PASS_BLOCKS)
        self._launch(family, kernel, columns, arrays, *arguments, *results)

    def add_up(
        self, family: str, kernel: str, blocks: int, partials: Partials, *arguments: Any, dtype: np.dtype[Any]
    ) -> None:
        """Launches a kernel that takes partial sums and other arguments; its blocks add up equally many of them."""
        terms = partials.sums.shape[-1]
        threads = max(32, min(THREADS, 1 << (partials.sums.size // (blocks * terms) - 1).bit_length()))
        self.launch(
            family,
            kernel,
            (blocks,),
            partials.sums,
            *arguments,
            dtype=dtype,
            block=threads,
            shared=threads * terms * DOUBLE.itemsize,
            settings=partials.settings,
        )

    def _columns(self, arrays: tuple[Array, ...], examples: int, blocks: int) -> Columns:
        first = arrays[0]
        channels = first.shape[-1]
        return plan_columns(
            examples,
            first.size // (examples * channels),
            channels,
            wide=16 // first.dtype.itemsize,
            aligned=vector_of(*arrays, together=0) > 1,
            blocks=blocks * self.multiprocessors,
        )

    def _launch(
        self, family: str, kernel: str, columns: Columns, arrays: tuple[Array, ...], *arguments: Any, shared: int = 0
    ) -> None:
        self.launch(
            family,
            kernel,
            columns.grid,
            *arrays,
            *columns.arguments,
            *arguments,
            dtype=arrays[0].dtype,
            shared=shared,
            settings=columns.settings,
        )
