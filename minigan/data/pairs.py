"""The dataset of pairs of pictures in files, as in pix2pix's datasets (Isola et al. 2017)."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from minigan.data.cache import PixelCache
from minigan.data.class_maps import DARK, SURVEYED, ClassMaps, MapPixels, find_maps
from minigan.data.dataset import FloatArray, IndexArray, Look, PairDataset, PixelArray, unit_range
from minigan.data.headers import Probe
from minigan.data.image_files import RESIZE_REMEDY, expect_modest, to_array
from minigan.data.options import SourceOptions, chosen_rows
from minigan.data.pair_layouts import PairLayout
from minigan.data.resize import cover
from minigan.data.tones import SIXTEEN_BITS
from minigan.errors import ConfigError, DataError

__all__ = ["DIRECTIONS", "PairFiles", "split_rows"]

DIRECTIONS = ("AtoB", "BtoA")


class PairFiles(PairDataset):
    """Dataset of pairs in picture files, decoded batch by batch; each picture is scaled alone.

    Maps of classes are painted in colors, see `minigan.data.class_maps`; then both sides have three channels.
    """

    varied: bool = True

    def __init__(self, layout: PairLayout, *, name: str, options: SourceOptions, swap: bool, split: str | None) -> None:
        rows, split_note = split_rows(layout, split)
        rows = rows[chosen_rows(len(rows), options, where=layout.root)]
        probes = layout.probe(rows)
        # without a size the pairs keep that of A
        self._native = None if options.size or options.lenient else layout.native(probes)
        remarks = _attempt(lambda: [*layout.remarks(probes)], [], lenient=options.lenient)
        map_notes: list[str] = []
        self._maps = tuple(_maps_of(layout, side, map_notes.append) for side in (0, 1))
        self._tones = [SIXTEEN_BITS if maps else layout.tones(probes, side) for side, maps in enumerate(self._maps)]
        gray = all(probe.gray for side in probes for probe in side.values())
        channels = _channels(options, gray=gray, maps=self._maps, where=str(layout.root))
        height, width = options.size or (self._native[0] if self._native else _commonest(probes.a))
        shape = (height, width, channels)
        super().__init__(name=name, count=len(rows), a_shape=shape, b_shape=shape)
        self.maps = self._maps[0 if swap else 1]
        self.note(*layout.notes, *(line for store in layout.stores for line in store.left_out()), *remarks, *split_note)
        self.note(*map_notes, *_attempt(lambda: _map_notes(layout, self._maps), [], lenient=options.lenient))
        self.note(*(line for tones in self._tones if tones is not SIXTEEN_BITS for line in tones.remarks()))
        self.splits: frozenset[str] = frozenset().union(*layout.splits)
        self._layout = layout
        self._rows = rows
        self._probes = probes.a if options.lenient else {}  # for a survey, which looks at each again
        self._swap = swap
        self._cache = PixelCache(count=len(rows), shape=(2, *shape), limit=options.cache_bytes)

    def close(self) -> None:
        for store in self._layout.stores:
            store.close()

    def look(self, index: int) -> Look:
        row = int(self._rows[index])
        return Look(*(self._probes.get(row) or self._layout.probe(np.array([row])).a[row])[:3])

    def read(self, indices: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        both = self._cache.fetch(self.checked(indices), decode=self._decode)
        left, right = unit_range(both[:, 0]), unit_range(both[:, 1])
        return (right, left) if self._swap else (left, right)

    def _decode(self, indices: IndexArray) -> PixelArray:
        pairs = np.empty((len(indices), 2, *self.a_shape), dtype=np.uint8)
        for pair, row in zip(pairs, self._rows[indices], strict=True):
            self._decode_pair(int(row), pair)
        return pairs

    def _decode_pair(self, row: int, out: PixelArray) -> None:
        """Writes a pair into `out` (2, H, W, C)."""
        height, width, channels = self.a_shape
        if self._native:
            expect_modest((height, width), where=self._layout.where(row))
        pictures = [side for side in (0, 1) if self._maps[side] is None]
        images = self._layout.images(row, channels=channels, tones=self._tones, sides=pictures) if pictures else []
        for side, image in zip(pictures, images, strict=True):
            self._expect_native((image.height, image.width), row, side)
            out[side] = to_array(cover(image, size=(height, width)))
        for side, maps in enumerate(self._maps):
            if maps is None:
                continue
            pixels, where = self._layout.pixels(row, side), self._layout.where(row, side)
            self._expect_native((pixels.values.shape[0], pixels.values.shape[1]), row, side)
            out[side] = maps.painted(pixels, size=(height, width), channels=channels, where=where)
            if strange := maps.strange(pixels):
                numbers = ", ".join(map(str, strange[:8]))
                self.note(f"{where} has numbers that the maps looked at do not have: {numbers}")

    def _expect_native(self, size: tuple[int, int], row: int, side: int) -> None:
        if self._native and size != self._native[side]:
            height, width = self._native[side]
            raise DataError(
                f"{self._layout.where(row, side)}: expected halves of {height}x{width} like the other pairs, "
                f"found {size[0]}x{size[1]}. {RESIZE_REMEDY}"
            )


def _commonest(probes: dict[int, Probe]) -> tuple[int, int]:
    """The size (H, W) that most pictures have."""
    return Counter(probe[:2] for probe in probes.values()).most_common(1)[0][0]


def split_rows(layout: PairLayout, split: str | None) -> tuple[IndexArray, tuple[str, ...]]:
    """Indices of the pairs in folders named `split`; by default in `train`, or all pairs if there is none.

    Without such folders all pairs are `train`.

    Returns:
        The indices, and a note if pairs were left out, or if they are none to train on.
    Raises:
        ConfigError: no pair lies in such a folder.
    """
    splits = sorted(frozenset().union(*layout.splits))
    wanted = split if split is not None or "train" not in splits else "train"
    held_out = [name for name in splits if name in ("val", "test")]
    if wanted is None or (wanted == "train" and "train" not in splits and not held_out):
        note = f"the pairs of {' and '.join(held_out)} are taken; there is no training set"
        return np.arange(len(layout), dtype=np.intp), (note,) if held_out else ()
    rows = np.array([row for row, found in enumerate(layout.splits) if wanted in found], dtype=np.intp)
    if not rows.size:
        found = ", ".join(splits) or "no folders"
        raise ConfigError(f"{layout.root}: expected a folder named {wanted!r}, found {found}. Choose another split.")
    if len(rows) == len(layout):
        return rows, ()
    return rows, (f"the split {wanted} is taken, {len(rows):,} of {len(layout):,} pairs",)


Found = TypeVar("Found")
Other = TypeVar("Other")


def _attempt(call: Callable[[], Found], otherwise: Other, *, lenient: bool) -> Found | Other:
    """Something found in pictures; for a survey, which lists what is damaged, a damaged one is no error."""
    try:
        return call()
    except DataError:
        if not lenient:
            raise
        return otherwise


def _maps_of(layout: PairLayout, side: int, note: Callable[[str], None]) -> ClassMaps | None:
    """The classes of a side; all pairs are looked at, whatever the split, so that each split has the same classes."""
    count = min(len(layout), SURVEYED)
    rows = np.arange(count) * len(layout) // count
    return find_maps(_readable(layout, side, rows.tolist()), complete=count == len(layout), note=note)


def _readable(layout: PairLayout, side: int, rows: Iterable[int]) -> Iterator[tuple[str, MapPixels]]:
    """Names and pixels of a side's files; damaged ones are passed over until they are needed."""
    for row in rows:
        with contextlib.suppress(DataError):
            pixels = layout.pixels(row, side)
            yield layout.where(row, side), pixels


def _channels(options: SourceOptions, *, gray: bool, maps: tuple[ClassMaps | None, ...], where: str) -> int:
    colored = any(found is not None and any(len({*color}) > 1 for color in found.colors) for found in maps)
    if colored and options.channels == 1:
        raise ConfigError(
            f"{where}: maps of classes are painted in colors, which 1 channel cannot hold. Leave `channels` out."
        )
    return options.channels or (3 if colored or not gray else 1)


def _map_notes(layout: PairLayout, maps: tuple[ClassMaps | None, ...]) -> list[str]:
    """Lines on the maps of either side, and on dark JPEGs that may once have been maps."""
    notes = []
    for side, (letter, found) in enumerate(zip("AB", maps, strict=True)):
        if found is not None:
            many = "" if len(layout) <= SURVEYED else f", as {SURVEYED} of {len(layout):,} maps show"
            notes.append(f"{letter} are maps: {found.describe()}{many}")
        elif _is_dark_jpeg(layout, side):
            notes.append(
                f"{letter} are JPEGs that are nearly black, with no value above {DARK}. If these are maps of class "
                "numbers, save them as PNG: JPEG changes numbers"
            )
    return notes


def _is_dark_jpeg(layout: PairLayout, side: int) -> bool:
    """Whether a few of a side's pictures are JPEGs, and all of them nearly black."""
    rows = np.linspace(0, len(layout) - 1, min(len(layout), 8), dtype=np.intp)
    looks = [pixels for _, pixels in _readable(layout, side, rows.tolist())]
    return bool(looks) and all(not pixels.exact and pixels.values.max() <= DARK for pixels in looks)
