"""An explanation as a list of blocks, which `terminal` writes as text and `page` as HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigan.inspection.graph import Panel

__all__ = [
    "Block",
    "Code",
    "Document",
    "Facts",
    "Formulas",
    "Graph",
    "Heading",
    "Matrices",
    "Table",
    "Text",
    "Verbatim",
]


@dataclass(frozen=True)
class Heading:
    """The title of the blocks that follow."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        lead: the name of the thing that it is about, to stand before it; "" for none.
    """

    text: str
    lead: str = ""


@dataclass(frozen=True)
class Verbatim:
    """Lines that keep their own indentation, such as a docstring's."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Lines of a name and what is to be said of it."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Formulas:
    """Lines of a name and its formula; several lines of one name are one formula after the other."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table with a header.

    Attributes:
        left: the number of columns of words at the left; the others hold numbers.
        words: the columns of words after the numbers, at the right.
        total: whether the last row is a sum.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    words: int = 0
    total: bool = False


@dataclass(frozen=True)
class Bars:
    """Histograms side by side, over the same ranges.

    Attributes:
        header: the name of what is counted, then that of each histogram.
        rows: each range in words, and the length of each histogram's bar there, of at most 1.
    """

    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float]]]


@dataclass(frozen=True)
class Matrices:
    """Arrays with their names, side by side; each is at most two-dimensional."""

    arrays: Sequence[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class Code:
    """A piece of source text, for pages: a terminal shows its place only."""

    title: str
    place: str
    source: str


@dataclass(frozen=True)
class Graph:
    """A drawing of passes through networks, for pages; a terminal shows the text alone."""

    panels: Sequence[Panel]


Block = Heading | Text | Verbatim | Facts | Formulas | Table | Bars | Matrices | Code | Graph


@dataclass(frozen=True)
class Document:
    """An explanation.

    Attributes:
        title: one line.
        blocks: in the order in which they are read.
        record: the same as numbers and texts by name, which JSON can hold.
    """

    title: str
    blocks: Sequence[Block]
    record: Mapping[str, Any] = field(default_factory=dict)
