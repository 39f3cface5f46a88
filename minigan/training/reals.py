"""Real examples that G's loss compares its fakes with."""

from typing import NamedTuple

from minigan.backends import Array
from minigan.support.representation import fields

__all__ = ["Reals"]


class Reals(NamedTuple):
    """A real batch for a loss that takes new ones in G's step; on the backend.

    Attributes:
        images: (N, *D.input_shape).
        condition: of them, (N, ...), or None.
    """

    images: Array
    condition: Array | None

    def __repr__(self) -> str:
        return fields(self)
