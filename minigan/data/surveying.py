"""A survey of a source of data: what it holds, and with a check of every item what is wrong with it."""

import contextlib
import hashlib
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace as changed
from typing import Any

import numpy as np

from minigan.data.dataset import Collection, Dataset, Look, PairDataset, PixelDataset
from minigan.data.image_files import ImageFiles
from minigan.data.options import SourceOptions, parse_options
from minigan.data.pair_names import MOSTLY, find_sides, match_names
from minigan.data.source import open_pairs_with, open_with
from minigan.data.subset import Subset
from minigan.data.survey_result import Survey
from minigan.data.unpaired import UnpairedDataset
from minigan.data.unpaired_sources import UnpairedSource, open_unpaired_with
from minigan.errors import ConfigError, DataError
from minigan.support.arguments import flag

__all__ = ["Watch", "items_of", "open_for_survey", "open_sides_for_survey", "survey", "survey_of"]

LOOKED_AT = 100_000  # files whose headers are read without a check
READ = 64  # items that decide the range of values without a check
SECONDS = 2.0  # that either may take
PIECE = 2**24  # bytes of items read together
Watch = Callable[[int, str | None], None]  # (items read so far, what is wrong with the last of them)


def survey(
    source: str | os.PathLike[str] | np.ndarray,
    *,
    targets: str | os.PathLike[str] | None = None,
    check: bool = False,
    pairs: bool | None = None,
    split: str | None = None,
    watch: Watch | None = None,
) -> Survey:
    """Finds out what a source of data holds: kind, number, sizes, color, classes, and what was left out.

        print(minigan.survey("photos/", check=True))

    Args:
        source: see `minigan.open_dataset` and, for pairs, `minigan.data.open_pairs`.
        targets: folder or zip of the other pictures of pairs, see `open_pairs`.
        check: read every item, and count duplicates and pictures of one color. Without it the headers of up
            to 100,000 files and 64 items, evenly spread, are read, or as many as two seconds each allow.
        pairs: take pictures as pairs, or not; None decides by their names and shapes.
        split: of pairs, the part to take; None takes `train` if there is one.
        watch: called after each item that is read for a check, with the number read so far and what is wrong with it,
            or None.
    Returns:
        The survey. Damaged items are listed there and are no error.
    Raises:
        DataError: the source cannot be found, or its kind is not known, or nothing of it can be read.
        ConfigError: an argument does not fit the source.
    """
    with contextlib.closing(open_for_survey(source, targets=targets, pairs=pairs, split=split)) as dataset:
        return survey_of(dataset, check=flag(check, "check"), watch=watch)


def open_for_survey(
    source: str | os.PathLike[str] | np.ndarray,
    *,
    targets: str | os.PathLike[str] | None = None,
    pairs: bool | None = None,
    split: str | None = None,
) -> Collection:
    """Opens a source in which pictures may be damaged or differ in size; mixed sizes are scaled to the commonest.

    Args:
        targets, pairs, split: see `survey`.
    Raises:
        DataError, ConfigError: see `survey`.
    """
    options = _lenient()
    if pairs is False and (split is not None or targets is not None):
        raise ConfigError("`split` and `targets` are of pairs. Leave them out, or take the pictures as pairs.")
    if pairs or split is not None or targets is not None:
        return _open_pairs(source, options, targets=targets, split=split)
    dataset = open_with(source, options, seed=0)
    if pairs is False or not isinstance(dataset, ImageFiles):
        return dataset
    if dataset.side_by_side:
        why = "every picture is twice as wide as high"
    elif _named_in_pairs(dataset.files):
        why = "the names agree two by two"
    else:
        return dataset
    dataset.close()
    taken = _open_pairs(source, options)
    taken.note(f"{why}: taken as pairs")
    return taken


def open_sides_for_survey(source: UnpairedSource, *, held_back: int = 0) -> UnpairedDataset:
    """Opens unpaired images in the same way; see `minigan.data.open_unpaired`.

    Args:
        held_back: images of each side that a training would hold out.
    """
    return open_unpaired_with(source, [_lenient()] * 2, held_back=held_back)


def _lenient() -> SourceOptions:
    return changed(parse_options(size=None, channels=None, count=None, cache_bytes=0), lenient=True)


def _open_pairs(source: Any, options: SourceOptions, *, targets: Any = None, split: str | None = None) -> PairDataset:
    return open_pairs_with(source, options, targets=targets, direction="AtoB", split=split, seed=0)


def _named_in_pairs(names: Sequence[str]) -> bool:
    """Whether files are named in pairs: in two folders named like the sides, or with ends that tell the sides apart."""
    try:
        sides = find_sides(names, root="")
    except DataError:  # several folders could be one side
        return False
    if sides is None or sides.unsure or sides.unpaired or len(sides.a) + len(sides.b) < len(names):
        return False
    found = match_names([names[row] for row in sides.a], [names[row] for row in sides.b])
    return found is not None and len(found.rows) >= MOSTLY * max(len(sides.a), len(sides.b))


def survey_of(dataset: Collection, *, check: bool = False, watch: Watch | None = None) -> Survey:
    """The survey of an open dataset; see `survey`."""
    count, items = len(dataset), items_of(dataset)
    points = items == "points"
    whole = dataset.source if isinstance(dataset, Subset) else dataset
    contents = _Contents(eight_bits=isinstance(whole, PixelDataset | PairDataset), check=check)
    sample = _sample(count)
    contents.look(dataset, () if check else sample)
    contents.take(dataset, np.arange(count) if check else sample[:READ], watch=watch)
    looks, gray = contents.looks, sum(number for look, number in contents.looks.items() if look.gray)
    sizes: Counter[tuple[int, int]] = Counter()
    for look, number in looks.items():
        sizes[look.height, look.width] += number
    return Survey(
        name=dataset.name,
        kind=dataset.kind,
        items=items,
        count=count,
        looked_at=contents.looked_at,
        sizes={} if points else dict(sizes.most_common()),
        grayscale=0 if points else gray,
        color=0 if points else looks.total() - gray,
        read=contents.read,
        lowest=contents.lowest,
        highest=contents.highest,
        eight_bits=contents.eight_bits,
        classes=_class_counts(dataset),
        notes=dataset.notes,
        damaged=tuple(contents.damaged[row] for row in sorted(contents.damaged)),
        duplicates=contents.duplicates if check else None,
        constant=contents.constant if check else None,
    )


def items_of(dataset: Collection) -> str:
    """A word for the items: pictures, points or pairs."""
    if isinstance(dataset, PairDataset):
        return "pairs"
    return "points" if isinstance(dataset, Dataset) and len(dataset.shape) == 1 else "pictures"


def _sample(total: int) -> np.ndarray:
    """Some of `total` rows, evenly spread, in such an order that the first few of them come from all over, too."""
    count = min(LOOKED_AT, total)
    return np.random.default_rng(0).permutation(count) * total // count


class _Contents:
    """Looks and values of items, gathered piece by piece; without a check, only until time is up."""

    def __init__(self, *, eight_bits: bool, check: bool) -> None:
        self.eight_bits, self.check = eight_bits, check
        self.looks: Counter[Look] = Counter()
        self.damaged: dict[int, str] = {}  # what is wrong, by row
        self.looked_at = self.read = self.duplicates = self.constant = 0
        self.lowest = self.highest = math.nan
        self._seen: set[bytes] = set()

    def look(self, dataset: Collection, rows: Iterable[int]) -> None:
        """Looks at items; where all are alike, at one for all."""
        if not dataset.varied:
            self.looks, self.looked_at = Counter({dataset.look(0): len(dataset)}), len(dataset)
            return
        began = time.monotonic()
        for row in map(int, rows):
            if not self.check and time.monotonic() - began > SECONDS:
                return
            self.looked_at += 1
            try:
                self.looks[dataset.look(row)] += 1
            except DataError as error:
                self.damaged[row] = str(error)

    def take(self, dataset: Collection, rows: np.ndarray, *, watch: Watch | None) -> None:
        """Reads items one after the other, and for a check looks at each; those that cannot be read are remembered."""
        began = time.monotonic()
        for row, found in _items(dataset, rows):
            if not self.check and time.monotonic() - began > SECONDS:
                return
            if self.check and dataset.varied:
                self.look(dataset, [row])
            if isinstance(found, str):
                self.damaged.setdefault(row, found)
            else:
                self._add(found)
            self.read += 1
            if watch is not None and self.check:
                watch(self.read, self.damaged.get(row))

    def _add(self, parts: tuple[np.ndarray, ...]) -> None:
        """Takes the parts of an item: a picture, or both of a pair."""
        if self.eight_bits and parts[0].dtype != np.uint8:
            parts = tuple((part + 1) * np.float32(127.5) for part in parts)
        low, high = min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
        self.lowest, self.highest = np.fmin(self.lowest, low).item(), np.fmax(self.highest, high).item()
        if not self.check:
            return
        content = repr([part.shape for part in parts]).encode() + b"".join(part.tobytes() for part in parts)
        digest = hashlib.blake2b(content, digest_size=16).digest()
        self.duplicates += digest in self._seen
        self._seen.add(digest)
        self.constant += any(part.ndim == 3 and bool((part == part[:1, :1]).all()) for part in parts)


def _items(dataset: Collection, rows: np.ndarray) -> Iterator[tuple[int, tuple[np.ndarray, ...] | str]]:
    """Each row with its item's parts, or with what is wrong with it."""
    look = None if dataset.varied else dataset.look(0)
    at_once = 1 if look is None else max(1, min(256, PIECE // (12 * look.height * look.width)))
    for piece in np.split(rows, range(at_once, len(rows), at_once)):
        try:
            parts = _parts(dataset, piece)
        except DataError as error:
            if len(piece) == 1:
                yield int(piece[0]), str(error)
            else:  # one by one, to find which
                yield from (item for row in piece for item in _items(dataset, np.array([row])))
            continue
        for place, row in enumerate(piece):
            yield int(row), tuple(part[place] for part in parts)


def _parts(dataset: Collection, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Items as they are: pictures (n, H, W, C), those of files one at a time and unscaled, both of pairs, or points."""
    if isinstance(dataset, Subset):
        return _parts(dataset.source, dataset.taken[rows])
    if isinstance(dataset, ImageFiles):
        return (dataset.whole(int(rows[0]))[None],)
    found = dataset.pixels(rows) if isinstance(dataset, PixelDataset) else dataset.read(rows)
    return found if isinstance(found, tuple) else (found,)


def _class_counts(dataset: Collection) -> dict[str, int]:
    """The number of items of each class, in the order of the classes."""
    if dataset.labels is None:
        return {}
    if dataset.classes is None:
        labels, counts = np.unique(dataset.labels, return_counts=True)
        return {str(label): int(count) for label, count in zip(labels, counts, strict=True)}
    sizes = np.bincount(dataset.labels, minlength=len(dataset.classes))
    return {name: int(count) for name, count in zip(dataset.classes, sizes, strict=True)}
