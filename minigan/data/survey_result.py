"""The result of a survey of data: an object, and lines for people, none wider than 80 columns where names are short."""

import html
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Survey", "rows_of"]

WIDTH, TITLES = 79, 10  # columns: of the page, and of the titles on its left
MOST_SIZES, MOST_CLASSES = 6, 30
LONGEST_NAME, LONGEST_BAR = 30, 24


@dataclass(frozen=True)
class Survey:
    """The contents of a source of data: the result of `minigan.survey`.

    `print(found)` shows it as a table.

    Attributes:
        name: the source's, for people.
        kind: of the source: "folder of pictures", "IDX file" ...
        items: what it holds: "pictures", "points" or "pairs".
        count: the number of items.
        looked_at: the number of items whose size and tone were looked at, evenly spread.
        sizes: how many of those have which size (height, width), the commonest first; of pairs, that of the first
            picture; empty for points.
        grayscale, color: how many of those are grayscale, and how many are in color.
        read: the number of items that were read for their values; all of them with a check.
        lowest, highest: the range of values: 0 to 255 in 8 bits, -1 to 1 in floats; NaN if nothing could be read.
        eight_bits: whether the values have 8 bits.
        classes: the number of items of each class by its name; empty if they have none.
        notes: lines on how the source was understood: the split taken, files left out, values clipped.
        damaged: a line for each item that was found to be damaged, which names it and says why.
        duplicates: the number of items that are equal to an earlier one, value by value; None without a check.
        constant: the number of pictures of one color alone; None without a check.
    """

    name: str
    kind: str
    items: str
    count: int
    looked_at: int
    sizes: Mapping[tuple[int, int], int]
    grayscale: int
    color: int
    read: int
    lowest: float
    highest: float
    eight_bits: bool
    classes: Mapping[str, int]
    notes: tuple[str, ...]
    damaged: tuple[str, ...]
    duplicates: int | None = None
    constant: int | None = None

    @property
    def checked(self) -> bool:
        """Whether every item was read."""
        return self.duplicates is not None

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of all pictures looked at; None if they differ, or are points."""
        return next(iter(self.sizes)) if len(self.sizes) == 1 else None

    def __repr__(self) -> str:
        sizes = (
            " ".join(f"{height}x{width}" for height, width in self.sizes) if len(self.sizes) < 2 else "of mixed sizes"
        )
        parts = [" ".join(filter(None, (f"{self.count:,} {self.items}", sizes)))]
        parts += [f"{len(self.classes)} classes"] if self.classes else []
        parts += [f"{len(self.damaged):,} damaged"] if self.checked or self.damaged else []
        return f"<Survey {self.name}: {', '.join(parts)}>"

    def __str__(self) -> str:
        return _table(self)

    def _repr_html_(self) -> str:
        """For notebooks: the same facts as a table. Names of files and classes are a stranger's text."""
        rows = "".join(
            f"<tr><th>{html.escape(title)}</th><td><pre>{html.escape(chr(10).join(lines))}</pre></td></tr>"
            for title, lines in _facts(self).items()
        )
        return f"<table><caption>{html.escape(_cut(self.name, WIDTH))}</caption><tbody>{rows}</tbody></table>"

    def to_json(self) -> dict[str, Any]:
        """All of it, as values that JSON has."""
        sizes = [{"height": h, "width": w, "count": count} for (h, w), count in self.sizes.items()]
        return {**vars(self), "sizes": sizes, "classes": dict(self.classes)}


def _table(found: Survey) -> str:
    """The survey, a fact a row."""
    return "\n".join([_cut(found.name, WIDTH), *rows_of(_facts(found))])


def rows_of(facts: Mapping[str, list[str]]) -> list[str]:
    """Facts as rows: the titles on the left, the lines on the right, long ones on several rows."""
    rows = []
    for title, lines in facts.items():
        for number, line in enumerate(lines):
            first = f"  {title if number == 0 else '':{TITLES}}"
            rows += textwrap.wrap(line, WIDTH, initial_indent=first, subsequent_indent=" " * (2 + TITLES)) or [first]
    return rows


def _facts(found: Survey) -> dict[str, list[str]]:
    facts = {"kind": [found.kind] if found.kind else [], found.items: [_number(found)]}
    if found.items != "points":
        facts |= {"size": [_sizes(found)], "color": [_tones(found)]}
    facts["values"] = [_values(found)]
    if found.classes:
        facts["classes"] = list(_classes(found.classes))
    facts["note"] = list(found.notes)
    if found.checked:
        facts["check"] = list(_checked(found))
    elif found.damaged:
        facts["damaged"] = [f"{len(found.damaged):,} of those looked at"]
    return {title: lines for title, lines in facts.items() if lines}


def _number(found: Survey) -> str:
    if found.looked_at < found.count:
        return f"{found.count:,}; {found.looked_at:,} of them, evenly spread, were looked at"
    return f"{found.count:,}"


def _sizes(found: Survey) -> str:
    if found.size is not None:
        height, width = found.size
        return f"{height}x{width} (height x width)"
    if not found.sizes:
        return "none could be read"
    shown = [f"{height}x{width} ({count:,})" for (height, width), count in found.sizes.items()]
    text = ", ".join(shown[:MOST_SIZES])
    if len(shown) > MOST_SIZES:
        heights, widths = zip(*found.sizes, strict=True)
        text += f" and {len(shown) - MOST_SIZES:,} more; "
        text += f"heights {min(heights)} to {max(heights)}, widths {min(widths)} to {max(widths)}"
    return f"{text} (height x width)"


def _tones(found: Survey) -> str:
    if found.grayscale and found.color:
        return f"mixed: {found.color:,} in color, {found.grayscale:,} grayscale"
    return "grayscale" if found.grayscale else "color (RGB)"


def _values(found: Survey) -> str:
    if found.lowest != found.lowest:
        return "nothing could be read"
    if found.eight_bits:
        text = f"{found.lowest:.0f} to {found.highest:.0f}, 8 bits"
    else:
        text = f"{found.lowest:.3g} to {found.highest:.3g}, floats"
    return text if found.read == found.count else f"{text}, in {found.read:,} of them"


def _classes(classes: Mapping[str, int]) -> Iterator[str]:
    fewest, most = min(classes.values()), max(classes.values())
    yield f"{len(classes):,}, of {fewest:,}{f' to {most:,}' if most > fewest else ''} each"
    names = {name: _cut(name, LONGEST_NAME) for name in list(classes)[:MOST_CLASSES]}
    width, digits = max(map(len, names.values())), len(f"{max(classes.values()):,}")
    for name, shown in names.items():
        bar = "#" * round(LONGEST_BAR * classes[name] / max(classes.values()))
        yield f"  {shown:{width}}  {classes[name]:>{digits},}  {bar}".rstrip()
    others = [classes[name] for name in list(classes)[MOST_CLASSES:]]
    if others:
        yield f"  and {len(others):,} more, of {min(others):,} to {max(others):,} each"


def _checked(found: Survey) -> Iterator[str]:
    damaged = len(found.damaged)
    yield f"all {found.count:,} were read: {found.count - damaged:,} fine, {damaged:,} damaged"
    if found.duplicates:
        yield f"{found.duplicates:,} are equal to an earlier one"
    if found.constant:
        yield f"{found.constant:,} have one color alone"


def _cut(name: str, width: int) -> str:
    """A name in so many columns at most, on one line."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= width else f"{shown[: width - 3]}..."
