"""Batches that are remembered, so that the steps on them can be done again with the same random numbers."""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

__all__ = ["RememberedBatches"]


class RememberedBatches:
    """An iterator over batches that keeps them, until they are forgotten.

    Args:
        batches: may draw from `rng`.
        rng: a batch that is given again leaves it as it was after that batch.
    """

    def __init__(self, batches: Iterator[Any], rng: np.random.Generator) -> None:
        self._batches, self._rng = batches, rng
        self._kept: list[tuple[Any, Any]] = []  # each with the state of `rng` after it
        self._next = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self._next < len(self._kept):
            batch, self._rng.bit_generator.state = self._kept[self._next]
        else:
            batch = next(self._batches)
            self._kept.append((batch, self._rng.bit_generator.state))
        self._next += 1
        return batch

    def forget(self) -> None:
        """Forgets the batches that were given so far."""
        del self._kept[: self._next]
        self._next = 0

    @property
    def given(self) -> int:
        """The number of batches since the last `forget`."""
        return self._next

    def rewind(self, to: int = 0) -> None:
        """Gives those that are remembered again, after so many of them."""
        self._next = to
