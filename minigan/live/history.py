"""Losses over the whole of a run, thinned out so that a page that is opened late can show them."""

from collections.abc import Iterator
from typing import NamedTuple, Self

__all__ = ["ValueHistory", "Values"]

MOST = 600


class Values(NamedTuple):
    """Values measured in a step, in host memory.

    Attributes:
        step: its number.
    """

    step: int
    d_loss: float
    g_loss: float
    d_real: float
    d_fake: float
    d_penalty: float


class ValueHistory:
    """Values by step, never more than 600: every other one is dropped when there are."""

    def __init__(self) -> None:
        self._kept: list[Values] = []

    def __iter__(self) -> Iterator[Values]:
        return iter(self._kept)

    def __len__(self) -> int:
        """The number of steps kept."""
        return len(self._kept)

    def add(self, values: Values) -> None:
        """Adds a step's values, later than all others."""
        self._kept.append(values)
        if len(self._kept) > MOST:
            del self._kept[1:-1:2]

    def cut(self, step: int) -> None:
        """Forgets later steps."""
        self._kept = [values for values in self._kept if values.step <= step]

    def copy(self) -> Self:
        """Another history with the same values."""
        other = type(self)()
        other._kept = list(self._kept)
        return other
