"""Maps of classes among the pictures of pairs: recognized by their values, and painted in colors.

A map is a picture whose values mean classes: plain numbers (gray, 8 or 16 bits), the indices of a palette, or exact
colors. Networks draw colors, so numbers are painted in those of Pascal VOC's palette, which keeps them well apart.
Maps are scaled without interpolation, which would invent classes along the edges.

Pictures are maps if all of them (of many, `SURVEYED` evenly spread ones) together have few values, see `find_maps`. A
photograph has many, also a gray one, and the first look at one ends the survey. JPEGs have no exact values: maps kept
so are pictures to the reader, and `minigan.evaluation.find_palette` finds their colors.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigan.data.cache import PixelArray
from minigan.data.pillow import load_pillow
from minigan.data.resize import covering_box
from minigan.errors import DataError

__all__ = ["SURVEYED", "ClassMaps", "MapPixels", "find_maps", "map_pixels", "voc_palette"]

SURVEYED = 300  # pictures of a side that are looked at
FEW = 40  # values in all pictures
MOST, MOST_IN_ONE = 255, 64  # values in all and in one, where neighboring pixels are mostly alike
ALIKE = 0.7  # share of neighboring pixels of one value in a map
SPACED = 16  # gray levels further apart than this can be told apart as they are
VOID = 255
VOID_COLORS = ((224, 224, 192), (255, 0, 255), (255, 255, 255), (0, 255, 255))  # Pascal VOC's, and others
DARK = 40  # a JPEG with no value above this may have held numbers

Colors = npt.NDArray[np.uint8]


class MapPixels(NamedTuple):
    """Pixels of a picture as its file has them, before anything is made of them.

    Attributes:
        values: uint8 or integers (H, W): numbers, gray levels or indices; or uint8 (H, W, 3).
        palette: the colors (256, 3) of the indices, or None.
        exact: the format keeps values as they were; JPEG does not.
    """

    values: npt.NDArray[Any]
    palette: Colors | None = None
    exact: bool = True


@dataclass(frozen=True)
class ClassMaps:
    """The classes of one side's maps.

    Attributes:
        kind: numbers, palette or colors.
        numbers: the classes' numbers, ascending; () for colors.
        colors: the classes' colors (K, 3), in that order.
        void: the color of pixels without a class; None if there are none.
        paint: the colors (256, 3) of all numbers; None for colors.
    """

    kind: str
    numbers: tuple[int, ...]
    colors: tuple[tuple[int, int, int], ...]
    void: tuple[int, int, int] | None
    paint: Colors | None = field(repr=False, default=None)

    def painted(self, pixels: MapPixels, *, size: tuple[int, int], channels: int, where: str) -> PixelArray:
        """A map in colors, uint8 (H, W, channels), scaled to cover `size` by the nearest pixels.

        Raises:
            DataError: it holds numbers, where the other maps hold colors.
        """
        values = pixels.values
        if self.paint is not None:
            if values.ndim == 3:
                raise DataError(f"{where}: expected numbers of classes like the other maps, found colors. Convert it.")
            values = self.paint[_covered(_narrow(values, where=where), size)]
        else:
            values = _colored(pixels, where=where)
            values = _covered(values, size)
        return np.ascontiguousarray(values[..., :channels])

    def strange(self, pixels: MapPixels) -> tuple[int, ...]:
        """Numbers in a map that are neither classes nor void."""
        if self.paint is None or pixels.values.ndim == 3:
            return ()
        found = np.unique(pixels.values)
        void = (VOID, 0xFFFF) if self.void is not None else ()
        return tuple(int(n) for n in found if n not in self.numbers and n not in void)

    def describe(self) -> str:
        """The classes in words, for a note."""
        classes = len(self.colors)
        if self.kind == "colors":
            return f"{classes} exact colors, each a class"
        how = {
            "numbers": "by number, painted in the colors of Pascal VOC's palette",
            "palette": "by index, in the colors of the files' own palette",
        }
        void = f", {VOID} is void" if self.void is not None else ""
        return f"{classes} classes {how[self.kind]} ({_ranges(self.numbers)}{void})"


def voc_palette() -> Colors:
    """Pascal VOC's colors of 256 numbers: uint8 (256, 3). The bits of a number are dealt to red, green and blue.

    Source: Everingham et al., the development kit of the Pascal VOC challenge, VOClabelcolormap.m.
    """
    numbers = np.arange(256)
    colors = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= (((numbers >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colors


def map_pixels(image: Any, *, exact: bool, box: tuple[int, int, int, int] | None = None) -> MapPixels:
    """The pixels of a decoded Pillow image, or of a box (left, top, right, bottom) of it, in the file's own values.

    Where a picture is transparent it has no class: its numbers become void, its colors white, as in all pictures.
    """
    if box is not None:
        image = image.crop(box)
    if image.mode == "P":
        palette = np.zeros((256, 3), dtype=np.uint8)
        own = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
        palette[: len(own)] = own
        identity = (palette == np.arange(256)[:, None])[: max(len(own), 1)].all()
        return MapPixels(np.asarray(image), None if identity else palette, exact)
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA"):
        return _without_alpha(image.convert("RGBA"), exact=exact)
    if image.mode != "L" and not image.mode.startswith("I") and image.mode != "F":
        image = image.convert("RGB")
    return MapPixels(_gray_if_equal(np.asarray(image)), None, exact)


def _without_alpha(image: Any, *, exact: bool) -> MapPixels:
    pixels = np.asarray(image)
    clear = pixels[..., 3] < 128
    values = _gray_if_equal(pixels[..., :3])
    if not clear.any():
        return MapPixels(values, None, exact)
    values = values.copy()
    values[clear] = VOID  # of numbers; of colors it is white
    return MapPixels(values, None, exact)


def _gray_if_equal(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One channel of three that are equal; floats that are whole numbers as integers; -1 as void."""
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values == np.rint(values)).all():
        values = values.astype(np.int64)
    if values.dtype.kind == "i" and values.size and values.min() == -1:
        values = np.where(values == -1, VOID, values)
    return values


def find_maps(
    pictures: Iterable[tuple[str, MapPixels]], *, complete: bool, note: Callable[[str], None] | None = None
) -> ClassMaps | None:
    """Finds the classes of pictures that are maps; None if they are pictures of another kind.

    Pictures are maps if they have few values: at most 40 in all of them together; or at most 255 in all and 64 in
    each, and more than seven of ten neighboring pixels are alike. Of these, gray values are numbers of classes, unless
    they lie 16 or more apart: such levels are colors. Two colors alone are no map to the reader: a blend of them is
    no third class.

    Args:
        pictures: names and pixels of one side of the pairs; only as many are taken as are needed.
        complete: these are all there are; otherwise numbers between those found may occur in the rest.
        note: called with a line if a single picture is why these are no maps.
    Raises:
        DataError: the values are numbers, but of things rather than of classes.
    """
    found = _Survey()
    for where, pixels in pictures:
        if not found.take(where, pixels):
            if note is not None and found.dark:
                note(f"{where} is no map of class numbers, as those before it may be: all are taken as pictures")
            return None
    if found.palette is not None:
        return found.by_palette(complete) or found.by_number(complete)
    return found.by_number(complete) if found.gray else found.by_color()


class _Survey:
    """The values of the maps of one side."""

    def __init__(self) -> None:
        self.first = ""
        self.gray = True
        self.palette: Colors | None = None
        self.values: set[int] = set()  # numbers, levels or indices
        self.rgb: set[int] = set()
        self.alike = True
        self.varied = False  # some map has more than one value

    def take(self, where: str, pixels: MapPixels) -> bool:
        """Adds a map; False if it is none."""
        values = pixels.values
        if not pixels.exact or values.dtype.kind not in "iu" or not values.size or values.min() < 0:
            return False
        if not self.first:
            self.first, self.palette = where, pixels.palette
        if self.palette is not None and not self._same_palette(pixels):
            self.palette = None
        packed = _packed(values)
        self.alike &= _share_alike(packed) > ALIKE
        if values.ndim == 3 and not self.alike:
            return False
        own = _distinct(packed)
        if len(own) > (MOST_IN_ONE if self.alike else FEW):
            return False
        numbers = self.values | (own if values.ndim == 2 else set())
        self.rgb |= own if values.ndim == 3 else _colors_of(own, pixels.palette)
        if max(len(numbers), len(self.rgb)) > (MOST + 1 if self.alike else FEW):
            return False
        self.values = numbers
        self.varied |= len(own) > 1
        self.gray &= values.ndim == 2 and pixels.palette is None
        return True

    @property
    def dark(self) -> bool:
        """Whether the pictures so far may be numbers, and are nearly black as pictures."""
        return self.varied and self.gray and max(self.values - {VOID}) <= DARK

    def _same_palette(self, pixels: MapPixels) -> bool:
        if self.palette is None or pixels.palette is None:
            return False
        used = np.array(sorted(self.values | _distinct(pixels.values)), dtype=np.intp)
        return bool((self.palette[used] == pixels.palette[used]).all())

    def by_palette(self, complete: bool) -> ClassMaps | None:
        """The classes of indices into one palette; None if its colors do not tell them apart."""
        palette = self.palette
        numbers = _filled(self.values - {VOID}, complete=complete)
        if palette is None or len(numbers) < 2:
            return None
        colors = palette[list(numbers)].astype(np.int64)
        apart = np.abs(colors[:, None] - colors).max(axis=2) + 256 * np.eye(len(numbers), dtype=np.int64)
        if apart.min() < SPACED:
            return None
        return self._painted("palette", numbers, palette)

    def by_number(self, complete: bool) -> ClassMaps | None:
        """The classes of numbers; gray levels that are far apart are colors."""
        if not self.varied:
            return None
        values = self._of_16_bits() if max(self.values) > 0xFF else set(self.values)
        if values is None:
            return None
        levels = sorted(values)
        if min(np.diff(levels)) >= SPACED:
            return self.by_color()
        numbers = _filled(values - {VOID}, complete=complete)
        if len(numbers) < 2:
            return None
        return self._painted("numbers", numbers, voc_palette(), void=VOID in values)

    def _painted(self, kind: str, numbers: tuple[int, ...], palette: Colors, *, void: bool | None = None) -> ClassMaps:
        """Classes with their colors; void gets a color that no class has."""
        palette = palette.copy()
        colors = palette[[*numbers]].astype(np.int64)
        free = (wish for wish in (palette[VOID], *VOID_COLORS) if abs(colors - wish).max(axis=1).min() >= SPACED)
        palette[VOID] = next(free, VOID_COLORS[0])
        void = VOID in self.values if void is None else void
        return ClassMaps(kind, numbers, tuple(map(_color, colors)), _color(palette[VOID]) if void else None, palette)

    def _of_16_bits(self) -> set[int] | None:
        """Numbers of 16-bit maps, 65535 being void; None for levels of gray."""
        values = self.values
        if all(value % 257 == 0 for value in values):
            return None
        numbers = {VOID if value == 0xFFFF else value for value in values}
        if max(numbers) <= VOID:
            return numbers
        if min(np.diff(sorted(values))) >= SPACED * 257:
            return None
        raise DataError(
            f"{self.first}: expected numbers of classes from 0 to 254, found {len(values)} numbers up to "
            f"{max(values):,} in these maps, as for single objects. Use the maps of classes."
        )

    def by_color(self) -> ClassMaps | None:
        """The classes of exact colors. Two are left to interpolation: their blend is no third class."""
        colors = sorted(self.rgb)
        if len(colors) < 3 or not self.alike or not self.varied:
            return None
        return ClassMaps("colors", (), tuple((c >> 16, c >> 8 & 255, c & 255) for c in colors), None)


def _packed(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Numbers (H, W) as they are, colors (H, W, 3) as 0xRRGGBB (H, W)."""
    if values.ndim == 2:
        return values
    red, green, blue = (values[..., channel].astype(np.uint32) for channel in range(3))
    return red << 16 | green << 8 | blue


def _distinct(values: npt.NDArray[Any]) -> set[int]:
    """The different values (H, W)."""
    if values.dtype == np.uint8:
        return set(np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist())
    flat = values.ravel()
    begins = np.flatnonzero(flat[1:] != flat[:-1]) + 1  # sorting the runs is much quicker than sorting the pixels
    return {int(flat[0]), *np.unique(flat[begins]).tolist()}


def _colors_of(numbers: set[int], palette: Colors | None) -> set[int]:
    """The colors, as 0xRRGGBB, of gray levels or indices; none of numbers that no gray level has."""
    small = [n for n in numbers if 0 <= n <= 0xFF]
    if palette is None:
        return {n * 0x010101 for n in small}
    return {r << 16 | g << 8 | b for r, g, b in palette[small].tolist()}


def _share_alike(values: npt.NDArray[Any]) -> float:
    """The share of neighboring pixels (H, W) that are equal."""
    equal = [values[:, 1:] == values[:, :-1], values[1:] == values[:-1]]
    total = sum(part.size for part in equal)
    return sum(int(np.count_nonzero(part)) for part in equal) / total if total else 1.0


def _filled(numbers: set[int], *, complete: bool) -> tuple[int, ...]:
    """The classes' numbers; where not all maps were read, also those between, if most of the range was found."""
    last = max(numbers, default=0)
    if not complete and 2 * len(numbers) > last:
        return tuple(range(last + 1))
    return tuple(sorted(numbers))


def _colored(pixels: MapPixels, *, where: str) -> PixelArray:
    """Pixels as colors, uint8 (H, W, 3)."""
    values = pixels.values
    if values.ndim == 3:
        return values.astype(np.uint8, copy=False)
    values = _narrow(values, where=where)
    if pixels.palette is not None:
        return pixels.palette[values]
    return np.repeat(values[..., None], 3, axis=2)


def _narrow(values: npt.NDArray[Any], *, where: str) -> PixelArray:
    """Numbers as uint8; 65535 is the void of 16-bit maps."""
    if values.dtype == np.uint8:
        return values
    values = np.where(values == 0xFFFF, VOID, values)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > VOID:
        raise DataError(
            f"{where}: expected numbers of classes from 0 to 254 like the other maps, found values from "
            f"{values.min():g} to {values.max():g}. Remove the file."
        )
    return values.astype(np.uint8)


def _covered(pixels: PixelArray, size: tuple[int, int]) -> PixelArray:
    """Scales and center-crops as `cover` does, but takes the nearest pixels."""
    have = (pixels.shape[0], pixels.shape[1])
    if have == size:
        return pixels
    pillow = load_pillow()
    image = pillow.fromarray(np.ascontiguousarray(pixels))
    box = covering_box(have=have, want=size)
    return np.asarray(image.resize((size[1], size[0]), pillow.Resampling.NEAREST, box=box))


def _color(rgb: npt.NDArray[Any]) -> tuple[int, int, int]:
    return int(rgb[0]), int(rgb[1]), int(rgb[2])


def _ranges(numbers: tuple[int, ...]) -> str:
    """Numbers in words: `0 to 11`, or `0, 2, 7`."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers[:12])) + (" ..." if len(numbers) > 12 else "")
