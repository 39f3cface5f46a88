"""Documents as text for a terminal."""

import math
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence

import numpy as np

from minigan.inspection.document import (
    Bars,
    Block,
    Code,
    Document,
    Facts,
    Formulas,
    Graph,
    Heading,
    Matrices,
    Table,
    Text,
    Verbatim,
)

__all__ = ["as_text", "terminal_width"]

WIDEST, NARROWEST = 100, 60
BAR = 17
INDENT = "  "


def terminal_width() -> int:
    """Columns to write in: the terminal's, at most 100."""
    return max(NARROWEST, min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST))


def as_text(document: Document, *, width: int = WIDEST) -> str:
    """The document in lines of at most so many columns. Places of code are written, the code itself is not."""
    parts = [_wrapped(document.title, width)]
    before: Block | None = None
    for block in document.blocks:
        text = "\n".join(line.rstrip() for line in _lines(block, width))
        if not text:
            continue
        close = isinstance(block, Facts | Formulas) and isinstance(before, Text | Formulas)
        parts.append(("\n" if close else "\n\n") + text)
        before = block
    return _printable("".join(parts))


def _printable(text: str) -> str:
    """The text with control characters escaped: names in run folders come from strangers."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _lines(block: Block, width: int) -> Iterator[str]:
    if isinstance(block, Heading):
        yield block.text
        yield "-" * min(len(block.text), width)
    elif isinstance(block, Text):
        stop = "" if block.lead.endswith(("?", ".")) else "."
        yield _wrapped(f"{block.lead}{stop} {block.text}" if block.lead else block.text, width)
    elif isinstance(block, Facts | Formulas):
        yield from _named(block.rows, width)
    elif isinstance(block, Verbatim):
        for line in block.text.splitlines():
            yield from _kept_line(line, width)
    elif isinstance(block, Table):
        yield from _table(block, width)
    elif isinstance(block, Bars):
        yield from _table(_drawn_bars(block), width)
    elif isinstance(block, Matrices):
        yield from _matrices(block, width)
    elif isinstance(block, Graph | Code):
        return


def _kept_line(line: str, width: int) -> list[str]:
    """A line with its own indentation, which lines that follow from it share."""
    lead = " " * (len(line) - len(line.lstrip()))
    room = width - len(INDENT)
    wrapped = textwrap.wrap(line.strip(), room, initial_indent=lead, subsequent_indent=lead, break_on_hyphens=False)
    return [INDENT + part for part in wrapped] or [""]


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False))


def _named(rows: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    """Names at the left, once each; texts wrapped at the right."""
    left = max((15, *(len(name) for name, _ in rows)))
    hang = min(left, 2 * width // 5)
    before = None
    for name, text in rows:
        lines = textwrap.wrap(text, width - hang - 2 * len(INDENT), break_on_hyphens=False) or [""]
        shown = "" if name == before else name
        before = name
        if len(shown) > hang:
            yield f"{INDENT}{shown}"
            shown = ""
        for line in lines:
            yield f"{INDENT}{shown:{hang}}{INDENT}{line}"
            shown = ""


# ------------------------------------------------------------------------------------------ tables


def _drawn_bars(bars: Bars) -> Table:
    """Bars of up to BAR signs, as a table of words."""
    name, *names = bars.header
    header = (name, *(f"{each:{BAR}}" for each in names))
    rows = [(label, *("#" * math.ceil(BAR * length) for length in lengths)) for label, lengths in bars.rows]
    return Table(header, rows, left=len(header))


def _table(table: Table, width: int) -> Iterator[str]:
    rows = [list(table.header), *map(list, table.rows)]
    count = len(table.header)
    words = [*range(table.left), *range(count - table.words, count)]
    gap, widths = _fitted(rows, words, width)
    for index, row in enumerate(rows):
        if index == 1 or (table.total and index == len(rows) - 1):
            yield "-" * (sum(widths) + len(gap) * (count - 1))
        cells = [_cell(cell, widths[column], indent=column == 0) for column, cell in enumerate(row)]
        for line in range(max(map(len, cells))):
            texts = [cell[line] if line < len(cell) else "" for cell in cells]
            yield gap.join(
                f"{text:{'<' if column in words else '>'}{widths[column]}}" for column, text in enumerate(texts)
            )


def _fitted(rows: list[list[str]], words: list[int], width: int) -> tuple[str, list[int]]:
    """The gap, and each column's width: columns of words are wrapped, the widest first, until all fits."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for gap in ("  ", " "):
        room = width - len(gap) * (len(widths) - 1)
        if sum(widths) <= room:
            return gap, widths
    while sum(widths) > room:
        widest = max(words, key=lambda column: widths[column])
        if widths[widest] <= 8:
            break
        widths[widest] -= 1
    return gap, widths


def _cell(text: str, width: int, *, indent: bool) -> list[str]:
    """The lines of a cell; further lines of a first column stand a little to the right."""
    if len(text) <= width:
        return [text]
    lead = " " * (len(text) - len(text.lstrip()))
    hang = f"{lead} " if indent else ""
    lines = [lead]
    for piece in re.findall(r"\S+?[_.](?=\w)|\S+|\s+", text.strip()):  # also after an underscore or a dot
        if len(lines[-1]) + len(piece.rstrip()) > width and lines[-1].strip():
            lines.append(hang)
        lines[-1] += piece if lines[-1].strip() else piece.lstrip()
    return [line.rstrip() for line in lines]


# ------------------------------------------------------------------------------------------ matrices


def _matrices(block: Matrices, width: int) -> Iterator[str]:
    """Matrices side by side, as many as fit in a line; each under its name."""
    line: list[list[str]] = []
    used = 0
    for name, array in block.arrays:
        drawn = _drawn(name, array)
        wide = max(map(len, drawn)) + 4
        if line and used + wide > width:
            yield from _beside(line)
            yield ""
            line, used = [], 0
        line.append(drawn)
        used += wide
    yield from _beside(line)


def _beside(drawings: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, drawing)) for drawing in drawings]
    for row in range(max(map(len, drawings), default=0)):
        parts = [drawing[row] if row < len(drawing) else "" for drawing in drawings]
        yield INDENT + (2 * INDENT).join(f"{part:{width}}" for part, width in zip(parts, widths, strict=True))


def _drawn(name: str, array: np.ndarray) -> list[str]:
    texts = number_texts(array)
    width = max((len(text) for row in texts for text in row), default=0)
    return [name, *(" ".join(f"{text:>{width}}" for text in row) for row in texts)]


def number_texts(array: np.ndarray) -> list[list[str]]:
    """The numbers of a matrix as texts of one precision: whole where all are, else with up to four digits."""
    largest = float(np.abs(array).max()) if array.size else 0.0
    if np.array_equal(array, np.round(array)):
        digits = 0
    else:
        digits = 2 if largest >= 10 else 3 if largest >= 0.1 else 5
    return [[_number(value, digits) for value in row] for row in array.tolist()]


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text
