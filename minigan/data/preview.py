"""A picture of a dataset's items with labels: a row for each class, pairs side by side, points as a density."""

from typing import Any

import numpy as np

from minigan.data.dataset import Collection, PixelArray, PixelDataset
from minigan.data.image_files import ImageFiles
from minigan.data.pictures import GAP, image_grid, point_density, to_pixels
from minigan.data.pillow import load_lettering, load_pillow
from minigan.data.resize import resized
from minigan.errors import DataError

__all__ = ["preview"]

WIDTH = 760  # pixels, about, of the picture
LONGEST = 128  # pixels a side of a shown item
MOST_COLUMNS, MOST_ROWS, PLAIN_ROWS = 10, 20, 6
POINTS = 10_000
GROUND, INK = 32, 220  # shades of gray
TYPE = 13  # pixels, the size of letters
STRIP = TYPE + 11  # pixels, the height of a line of text: nearer to what is above it
TRIES = 8  # items tried in place of one that cannot be read


def preview(dataset: Collection) -> PixelArray:
    """Draws some of a dataset's items: those of a class in a row above its name, or a few from all over the set.

    Pictures of mixed sizes are shown whole. Items that cannot be read are left out.

    Returns:
        uint8 (height, width, 3).
    Raises:
        DataError: none of the items that were tried can be read.
        MissingExtraError: Pillow, which writes the text, is not installed.
    """
    load_lettering()
    first = _first(dataset)
    if len(first) == 1 and first[0].ndim == 1:
        return _points(dataset)
    width = sum(part.shape[1] for part in first) + GAP * (len(first) - 1)
    columns = max(1, min(MOST_COLUMNS // len(first), WIDTH // (width + GAP)))
    if dataset.labels is None:
        return _plain(dataset, columns)
    return _by_class(dataset, dataset.labels, columns)


def _title(dataset: Collection) -> str:
    """The dataset in a line; where sizes are mixed, not by the one that they are scaled to."""
    mixed = isinstance(dataset, ImageFiles) and dataset.mixed
    return f"{dataset.name}: {len(dataset):,} pictures of mixed sizes" if mixed else dataset.describe()


def _by_class(dataset: Collection, labels: np.ndarray, columns: int) -> PixelArray:
    classes, counts = np.unique(labels, return_counts=True)
    shown = classes[:MOST_ROWS]
    strips: list[PixelArray | str] = [_title(dataset)]
    for label in shown:
        items = _some(dataset, np.flatnonzero(labels == label), columns)
        if items:
            name = dataset.classes[label] if dataset.classes is not None else str(label)
            strips += [_row(items, columns), f"{name}   {counts[classes == label][0]:,}"]
    if len(shown) < len(classes):
        strips.append(f"and {len(classes) - len(shown):,} classes more")
    return _stacked(strips)


def _plain(dataset: Collection, columns: int) -> PixelArray:
    items = _some(dataset, np.arange(len(dataset)), columns * PLAIN_ROWS)
    rows = [_row(items[start : start + columns], columns) for start in range(0, len(items), columns)]
    below = ["input | target in each pair"] if len(items[0]) > 1 else []
    return _stacked([_title(dataset), *rows, *below])


def _points(dataset: Collection) -> PixelArray:
    points = dataset.read(np.arange(min(len(dataset), POINTS)))
    density = point_density(points, extent=1.25 * float(np.abs(points).max() or 1.0))
    return _stacked([dataset.describe(), density.repeat(3, axis=2)])


def _first(dataset: Collection) -> tuple[np.ndarray, ...]:
    """The parts of the first item that can be read, as they will be shown.

    Raises:
        DataError: none can; why the first cannot.
    """
    items = _some(dataset, np.arange(len(dataset)), 1)
    if not items:
        dataset.read([0])
        raise DataError(f"{dataset.name}: expected items that can be read, found none. Check the files.")
    return items[0]


def _some(dataset: Collection, rows: np.ndarray, count: int) -> list[tuple[np.ndarray, ...]]:
    """Up to `count` items of these rows, evenly spread; the next one in place of one that cannot be read."""
    items: list[tuple[np.ndarray, ...]] = []
    tried = -1
    count = min(count, len(rows))
    for number in range(count):
        start = number * len(rows) // count
        for place in range(max(start, tried + 1), min(start + TRIES, len(rows))):
            tried = place
            try:
                items.append(_shown(dataset, int(rows[place])))
                break
            except DataError:
                continue
    return items


def _shown(dataset: Collection, row: int) -> tuple[np.ndarray, ...]:
    """An item's parts: points as they are, pictures as pixels (H, W, 3) of a size to look at."""
    if isinstance(dataset, ImageFiles) and dataset.mixed:
        return (_framed(_at_size(dataset.whole(row))),)
    found: Any = dataset.pixels([row]) if isinstance(dataset, PixelDataset) else dataset.read([row])
    parts = [part[0] for part in (found if isinstance(found, tuple) else (found,))]
    if parts[0].ndim == 1:
        return tuple(parts)
    return tuple(_at_size(part if part.dtype == np.uint8 else np.asarray(to_pixels(part))) for part in parts)


def _at_size(pixels: PixelArray) -> PixelArray:
    """A picture enlarged by a whole number if it is small, and scaled down if it is large; in color."""
    height, width, _ = pixels.shape
    if max(height, width) > LONGEST:
        scale = LONGEST / max(height, width)
        pixels = resized(pixels[None], size=(max(1, round(height * scale)), max(1, round(width * scale))))[0]
    enlarged = max(1, 64 // max(height, width))
    pixels = pixels.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    return pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2)


def _framed(pixels: PixelArray) -> PixelArray:
    """A picture in the middle of a square."""
    height, width, channels = pixels.shape
    square = np.full((LONGEST, LONGEST, channels), GROUND, np.uint8)
    top, left = (LONGEST - height) // 2, (LONGEST - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square


def _row(items: list[tuple[np.ndarray, ...]], columns: int) -> PixelArray:
    """Items next to each other, with room for as many as there are columns; a pair's parts touch."""
    joined = [np.concatenate(parts, axis=1) for parts in items]
    empty = np.full_like(joined[0], GROUND)
    return image_grid(np.stack([*joined, *[empty] * (columns - len(joined))]), columns=columns, scale=1)


def _stacked(strips: list[PixelArray | str]) -> PixelArray:
    """Pictures and lines of text below each other."""
    width = max(strip.shape[1] for strip in strips if not isinstance(strip, str))
    whole = []
    for strip in strips:
        if isinstance(strip, str):
            whole.append(_text(strip, width))
        else:
            padding = ((0, 0), (0, width - strip.shape[1]), (0, 0))
            whole.append(np.pad(strip, padding, constant_values=GROUND))
    return np.concatenate(whole)


def _text(text: str, width: int) -> PixelArray:
    """A line of text (STRIP, width, 3), cut where it would be wider."""
    drawing, fonts = load_lettering()
    try:
        font = fonts.load_default(TYPE)
    except TypeError:  # Pillow 10.0 has one size
        font = fonts.load_default()
    text = "".join(letter if letter.isprintable() else "?" for letter in text[:500])
    if isinstance(font, fonts.ImageFont):  # Pillow without FreeType
        text = text.encode("latin-1", "replace").decode("latin-1")
    room = width - 2 * GAP
    if font.getlength(text) > room:
        while text and font.getlength(f"{text}...") > room:
            text = text[:-1]
        text += "..."
    strip = load_pillow().new("L", (width, STRIP), GROUND)
    drawing.Draw(strip).text((GAP, 1), text, fill=INK, font=font)
    return np.asarray(strip)[..., None].repeat(3, axis=2)
