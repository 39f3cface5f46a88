"""The part of a run that those who watch it have chosen to see."""

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Unit", "View"]


class Unit(NamedTuple):
    """A layer whose activations are shown.

    Attributes:
        network: G or D.
        layer: its number, from 0.
        sample: of the fakes, the one that passes through it.
    """

    network: str
    layer: int
    sample: int


@dataclass(frozen=True)
class View:
    """The part of a run that is shown.

    Attributes:
        layers: names of what is drawn.
        unit: a layer whose activations are shown; None for none.
        is_still: whether nothing moves, so that there is time for detail.
    """

    layers: tuple[str, ...] = ()
    unit: Unit | None = None
    is_still: bool = True
