"""Pairs as they lie in files: side by side in one picture, or in two files whose names match."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from minigan.data.class_maps import MapPixels, map_pixels
from minigan.data.dataset import IndexArray
from minigan.data.files import FileStore
from minigan.data.image_files import Probe, common_size, deep_values, load_image, load_unchanged, probe_files
from minigan.data.map_files import JPEG_MAGIC
from minigan.data.pair_names import (
    MOSTLY,
    Matches,
    Sides,
    describe_some,
    find_sides,
    match_names,
    only_one_kind,
    splits_of,
)
from minigan.data.tones import SIXTEEN_BITS, Tones, common_tones
from minigan.errors import DataError

__all__ = ["PairLayout", "SideBySide", "TwoFolders", "find_pairs", "match_folders"]

BOTH = (0, 1)
WIDE = 1.9  # a picture this many times as wide as high may well be two
SEAMS = 16  # pictures in which a seam is looked for
EVEN = 0.25  # in the middle of a single photograph, columns differ at least this many times as much as elsewhere
FLAT = 1.0  # gray levels: where neighboring columns differ less on average, nothing is seen of a seam
SEAM = 2.0  # times the usual difference of neighboring columns, in the middle of a pair


class Probes(NamedTuple):
    """Sizes and kinds of some pairs' pictures, by row: of A and of B."""

    a: dict[int, Probe]
    b: dict[int, Probe]


class PairLayout(ABC):
    """Base of the ways in which pairs lie in files.

    Attributes:
        stores: of the files: one, or that of A and that of B.
        root: of the files, for messages.
        splits: the splits to which each pair belongs.
        notes: lines on how the files were understood.
    """

    def __init__(
        self, stores: tuple[FileStore, ...], splits: list[frozenset[str]], notes: tuple[str, ...] = ()
    ) -> None:
        self.stores = stores
        self.root = stores[0].root
        self.splits = splits
        self.notes = notes

    def __len__(self) -> int:
        return len(self.splits)

    @abstractmethod
    def where(self, row: int, side: int = 0) -> str:
        """A side's file, for messages."""

    @abstractmethod
    def probe(self, rows: IndexArray) -> Probes:
        """The headers of some pairs, evenly spread."""

    @abstractmethod
    def native(self, probes: Probes) -> tuple[tuple[int, int], tuple[int, int]]:
        """The one size (H, W) of all A, and that of all B.

        Raises:
            MixedSizesError: one side's pictures differ in size.
        """

    @abstractmethod
    def images(self, row: int, *, channels: int, tones: Sequence[Tones], sides: Sequence[int] = BOTH) -> list[Any]:
        """The pictures of some sides as Pillow images of mode L or RGB.

        Args:
            tones: of both sides, for values that are not 8-bit.
        """

    @abstractmethod
    def tones(self, probes: Probes, side: int) -> Tones:
        """The range of a side's values, where these are not 8-bit.

        Raises:
            DataError: they are of no range that tones have.
        """

    @abstractmethod
    def pixels(self, row: int, side: int) -> MapPixels:
        """A side's pixels in the file's own values."""

    @abstractmethod
    def remarks(self, probes: Probes) -> tuple[str, ...]:
        """Lines on the pictures that were probed.

        Raises:
            DataError: they are no pairs.
        """


class SideBySide(PairLayout):
    """Pictures whose left half is A and right half is B.

    Args:
        store: the pictures.
        twins: two folders that hold files of the same names, as two sides of pairs do; () if there are none.
    """

    def __init__(self, store: FileStore, *, twins: tuple[str, ...] = ()) -> None:
        super().__init__((store,), [splits_of(name) for name in store.names])
        self._store = store
        self._twins = twins

    def where(self, row: int, side: int = 0) -> str:  # noqa: ARG002 (one file has both)
        return self._store.where(row)

    def probe(self, rows: IndexArray) -> Probes:
        whole = probe_files(self._store, rows)
        halves = {row: probe._replace(width=probe.width // 2) for row, probe in whole.items()}
        self._whole = whole
        return Probes(halves, halves)

    def native(self, probes: Probes) -> tuple[tuple[int, int], tuple[int, int]]:
        height, width = common_size(self._store, self._whole)
        half = height, _half_width(width, where=self.where(next(iter(probes.a))))
        return half, half

    def tones(self, probes: Probes, side: int) -> Tones:
        return _tones(self._store, [row for row, probe in probes[side].items() if probe.deep])

    def images(self, row: int, *, channels: int, tones: Sequence[Tones], sides: Sequence[int] = BOTH) -> list[Any]:
        image = load_image(self._store.read(row), where=self.where(row), channels=channels, tones=tones[0])
        return [image.crop(self._box(image, row, side)) for side in sides]

    def pixels(self, row: int, side: int) -> MapPixels:
        data = self._store.read(row)
        image = load_unchanged(data, where=self.where(row))
        if image.mode == "P":  # one palette for both halves: its indices are no classes
            image = image.convert("RGB")
        return map_pixels(image, exact=not data.startswith(JPEG_MAGIC), box=self._box(image, row, side))

    def _box(self, image: Any, row: int, side: int) -> tuple[int, int, int, int]:
        half = _half_width(image.width, where=self.where(row))
        return (half * side, 0, half * (side + 1), image.height)

    def remarks(self, probes: Probes) -> tuple[str, ...]:
        """The cut, which is always told.

        Narrow pictures must have a seam in the middle, where columns differ more than neighbors do elsewhere; or a
        margin, where they do not differ.
        """
        narrow = [row for row, probe in self._whole.items() if probe.width < WIDE * probe.height]
        look = self._gray(_spread(narrow or [*probes.a]))
        steps = _steps(look, at=1 / 2)
        seam = bool(steps) and float(np.median(steps)) >= SEAM
        margin = bool(steps) and float(np.quantile(steps, MOSTLY)) < EVEN
        if narrow and (not (seam or margin) or self._twins):
            raise self._no_pair(narrow[0], seam=seam)
        if not seam and all(_steps(look, at=at) and np.median(_steps(look, at=at)) >= SEAM for at in (1 / 3, 2 / 3)):
            row = next(iter(probes.a))
            raise DataError(
                f"{self.where(row)}: expected two images side by side, found what looks like three: seams at a third "
                "and at two thirds of the width. Save only the two that belong together."
            )
        first = next(iter(probes.a.values()))
        line = f"each picture is cut in the middle: its left half, {first.height}x{first.width}, is A, its right half B"
        if not seam:
            line += "; no seam is seen there: check that these are pairs"
        if self._twins:
            line += f"; the folders {' and '.join(self._twins)} hold files of the same names, which are not joined"
        return (line,)

    def _no_pair(self, row: int, *, seam: bool) -> DataError:
        probe = self._whole[row]
        found = f"a picture of {probe.height}x{probe.width}" + ("" if seam else " without a seam in its middle")
        remedy = "Give the folder of the other halves, too: `targets=FOLDER`."
        if self._twins:
            a, b = self._twins
            found += f"; the folders {a} and {b} hold files of the same names"
            folders = [self._folder(name) for name in (a, b)]
            given = "data=FOLDER, targets=FOLDER" if None in folders else "data={!r}, targets={!r}".format(*folders)
            remedy = f"If these are pairs, name the source and the target: `{given}`."
        return DataError(f"{self.where(row)}: expected two images side by side, found {found}. {remedy}")

    def _folder(self, name: str) -> str | None:
        """The path of the one folder of this name, fit to be given as a source; None for several, or in a zip."""
        parents = (PurePosixPath(file).parents for file in self._store.names)
        found = {folder for folders in parents for folder in folders if folder.name == name}
        return str(self.root / found.pop()) if len(found) == 1 and self.root.is_dir() else None

    def _gray(self, rows: list[int]) -> list[Any]:
        """Some pictures as gray levels (H, W); damaged ones are left out."""
        found = []
        for row in rows:
            with contextlib.suppress(DataError):
                image = load_image(self._store.read(row), where=self.where(row), channels=1)
                found.append(np.asarray(image, dtype=np.float32))
        return found


class TwoFolders(PairLayout):
    """Pictures in pairs of files.

    Args:
        stores: of A and of B; one store may be both.
        rows: the files of each pair: a row of A's store and one of B's.
        notes: see `PairLayout`.
    """

    def __init__(self, stores: tuple[FileStore, FileStore], rows: list[tuple[int, int]], notes: tuple[str, ...]):
        a, b = (store.names for store in stores)
        super().__init__(stores, [splits_of(a[x]) | splits_of(b[y]) for x, y in rows], notes)
        self._rows = rows

    def where(self, row: int, side: int = 0) -> str:
        return self.stores[side].where(self._rows[row][side])

    def probe(self, rows: IndexArray) -> Probes:
        found = []
        for side, store in enumerate(self.stores):
            files = np.array([self._rows[row][side] for row in rows], dtype=np.intp)
            of_pair = {int(file): int(row) for file, row in zip(files, rows, strict=True)}
            found.append({of_pair[file]: probe for file, probe in probe_files(store, files).items()})
        return Probes(*found)

    def native(self, probes: Probes) -> tuple[tuple[int, int], tuple[int, int]]:
        a, b = (
            common_size(store, {self._rows[row][side]: probe for row, probe in probes[side].items()})
            for side, store in enumerate(self.stores)
        )
        return a, b

    def tones(self, probes: Probes, side: int) -> Tones:
        deep = [self._rows[row][side] for row, probe in probes[side].items() if probe.deep]
        return _tones(self.stores[side], deep)

    def images(self, row: int, *, channels: int, tones: Sequence[Tones], sides: Sequence[int] = BOTH) -> list[Any]:
        return [
            load_image(self._read(row, side), where=self.where(row, side), channels=channels, tones=tones[side])
            for side in sides
        ]

    def pixels(self, row: int, side: int) -> MapPixels:
        data = self._read(row, side)
        image = load_unchanged(data, where=self.where(row, side))
        return map_pixels(image, exact=not data.startswith(JPEG_MAGIC))

    def _read(self, row: int, side: int) -> bytes:
        return self.stores[side].read(self._rows[row][side])

    def remarks(self, probes: Probes) -> tuple[str, ...]:
        for row in [row for row in probes.a if row in probes.b]:
            a, b = probes.a[row], probes.b[row]
            if abs(a.width * b.height - b.width * a.height) > 0.01 * a.width * b.height:
                return (
                    f"{self.where(row, 0)} is {a.height}x{a.width}, {self.where(row, 1)} {b.height}x{b.width}: each is "
                    "scaled and center-cropped alone, so that they may not lie on each other",
                )
            if (a.height, a.width) != (b.height, b.width):
                sizes = f"A is {a.height}x{a.width}, B {b.height}x{b.width}"
                return (f"{sizes}: both are scaled to one size, that of A if none is set",)
        return ()


def _tones(store: FileStore, deep: Sequence[int]) -> Tones:
    """The range of the values of a store's files that are not 8-bit."""
    return common_tones(deep_values(store, deep), where=str(store.root)) if deep else SIXTEEN_BITS


def find_pairs(store: FileStore) -> PairLayout:
    """The pairs of a folder or zip: in two folders of it, if their names say so; otherwise side by side.

    Raises:
        DataError: the folders are those of unpaired pictures, or do not say which side is which.
    """
    sides = find_sides(store.names, root=str(store.root))
    if sides is None:
        return SideBySide(store)
    if sides.unsure:
        return SideBySide(store, twins=(sides.a_word, sides.b_word))
    a, kind = [store.names[row] for row in sides.a], ""
    kept, kind = only_one_kind([store.names[row] for row in sides.b])
    b_rows = [sides.b[row] for row in kept]
    found = match_names(a, [store.names[row] for row in b_rows])
    if found is None or (sides.unpaired and len(found.rows) < MOSTLY * max(len(sides.a), len(b_rows))):
        raise _no_pairs(store, sides, found, b_rows)
    notes = _match_notes(found, a, [store.names[row] for row in b_rows], words=(sides.a_word, sides.b_word), kind=kind)
    if sides.unpaired:
        notes += (
            f"folders like train{sides.a_word} and train{sides.b_word} often hold unpaired pictures; these are taken "
            "as pairs, as their names agree: check that they are",
        )
    rows = [(sides.a[x], b_rows[y]) for x, y in found.rows]
    return TwoFolders((store, store), rows, _with_rest(notes, store, sides))


def match_folders(a: FileStore, b: FileStore) -> PairLayout:
    """The pairs of two folders or zips.

    Raises:
        DataError: no names agree.
    """
    if a.root.resolve() == b.root.resolve():
        raise DataError(f"{a.root}: expected the targets in another folder, found the same. Leave `targets` out.")
    a_rows, b_rows = _outside(a, b), _outside(b, a)
    kept, kind = only_one_kind([b.names[row] for row in b_rows])
    b_rows = [b_rows[row] for row in kept]
    a_names, b_names = [a.names[row] for row in a_rows], [b.names[row] for row in b_rows]
    found = match_names(a_names, b_names, beginnings=True) if a_names and b_names else None
    if found is None:
        raise DataError(
            f"{a.root} and {b.root}: expected pictures of the same names, found for example "
            f"{(a_names or ['none'])[0]} and {(b_names or ['none'])[0]}. Give both pictures of a pair one name, "
            "whatever its ending."
        )
    notes = _match_notes(found, a_names, b_names, words=(a.root.name, b.root.name), kind=kind)
    return TwoFolders((a, b), [(a_rows[x], b_rows[y]) for x, y in found.rows], notes)


def _outside(store: FileStore, other: FileStore) -> list[int]:
    """Rows of the files of a store that do not belong to another inside it."""
    root, inner = store.root.resolve(), other.root.resolve()
    if root not in inner.parents or not inner.is_dir():
        return list(range(len(store.names)))
    prefix = inner.relative_to(root).as_posix() + "/"
    return [row for row, name in enumerate(store.names) if not name.startswith(prefix)]


def _match_notes(
    found: Matches, a: Sequence[str], b: Sequence[str], *, words: tuple[str, str], kind: str
) -> tuple[str, ...]:
    """Lines on how names were matched, and on what has no partner."""
    x, y = found.rows[0]
    cut = " and ".join(text for text in found.trimmed if text)
    without = f", without {cut}" if cut else ""
    pairs = "1 pair" if len(found.rows) == 1 else f"{len(found.rows):,} pairs"
    notes = [f"{pairs} by name{without}: A is {a[x]}, B is {b[y]}, and so on"]
    if kind:
        notes.append(f"B are the files ending in {kind}; those of other kinds are left out")
    for left, names, word in ((found.a_left, a, words[0]), (found.b_left, b, words[1])):
        if left:
            where = f" of {word}" if word else ""
            have = "has no partner and is" if len(left) == 1 else "have no partner and are"
            notes.append(f"{len(left):,}{where} {have} left out: {describe_some([names[row] for row in left])}")
    return tuple(notes)


def _with_rest(notes: tuple[str, ...], store: FileStore, sides: Sides) -> tuple[str, ...]:
    """The notes, and one on files that belong to neither side."""
    used = {*sides.a, *sides.b}
    rest = [name for row, name in enumerate(store.names) if row not in used]
    if not rest:
        return notes
    return (*notes, f"{len(rest):,} files in other folders are left out: {describe_some(rest)}")


def _no_pairs(store: FileStore, sides: Sides, found: Matches | None, b_rows: list[int]) -> DataError:
    a_name, b_name = store.names[sides.a[0]], store.names[b_rows[0]]
    if sides.unpaired:
        shared = 0 if found is None else len(found.rows)
        return DataError(
            f"{store.root}: expected pairs, found the unpaired folders of {a_name} ({len(sides.a):,} pictures) and "
            f"{b_name} ({len(b_rows):,}), with {shared:,} names in common. Give both pictures of a pair one name, or "
            "train cyclegan, which needs no pairs."
        )
    return DataError(
        f"{store.root}: expected pictures of the same names in two folders, found for example {a_name} and {b_name}. "
        "Give both pictures of a pair one name, whatever its ending."
    )


def _half_width(width: int, *, where: str) -> int:
    if width % 2:
        raise DataError(
            f"{where}: expected two images of the same width side by side, found an odd width of {width}. "
            "Check that the folder holds pairs."
        )
    return width // 2


def _spread(rows: list[int]) -> list[int]:
    """A few of some rows, evenly spread."""
    count = min(len(rows), SEAMS)
    return [rows[k * len(rows) // count] for k in range(count)]


def _steps(pictures: Sequence[Any], *, at: float) -> list[float]:
    """How much the two columns at a place differ in each of some gray pictures (H, W), by neighbors elsewhere.

    Flat pictures, such as maps of small numbers, tell nothing and are left out.

    Args:
        at: the place, as a share of the width.
    """
    ratios = []
    for picture in pictures:
        column = round(picture.shape[1] * at)
        if column < 1:
            continue
        steps = np.abs(np.diff(picture, axis=1)).mean(axis=0)
        if steps.mean() >= FLAT:
            ratios.append(float(steps[column - 1]) / max(float(np.median(steps)), 1.0))
    return ratios
