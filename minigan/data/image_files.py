"""Picture files: decoding to 8-bit gray or color, and the dataset in a folder or zip of pictures."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from minigan.data.dataset import IndexArray, Look, PixelArray, PixelDataset
from minigan.data.files import FileStore
from minigan.data.foreign import TEXT, foreign_kind
from minigan.data.headers import HEAD, Probe, quick_probe
from minigan.data.layout import Layout, find_layout
from minigan.data.metadata import without_metadata
from minigan.data.options import LARGEST_SIDE, SourceOptions, chosen_rows
from minigan.data.pillow import load_pillow
from minigan.data.resize import cover
from minigan.data.tones import DARK, SIXTEEN_BITS, Tones, common_tones, dark_remarks
from minigan.errors import DataError, MiniganError, MixedSizesError

__all__ = [
    "RESIZE_REMEDY",
    "ImageFiles",
    "Probe",
    "common_size",
    "deep_values",
    "expect_modest",
    "load_image",
    "load_unchanged",
    "probe_file",
    "probe_files",
    "to_array",
]

RESIZE_REMEDY = "Give a size (`size=64`) to scale them all to."
MOST_PROBED = 100_000  # files whose headers are looked at when a folder is opened
MOST_DEEP = 4096  # files with more than 8 bits whose values are looked at
LOOKED_AT, MODEST = (
    16,
    2**20,
)  # pictures that are decoded to see whether all are black or of one value; pixels of such a one
# Pillow knows many more formats, but for some of them it runs other programs.
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
UNREADABLE = (64, 64)  # the size of pictures of which none can be read
LONGEST = 2**16 - 1  # pixels; no JPEG has a longer side, and decoders are slow with files that claim one
ORIENTATION = 0x0112  # EXIF tag
TIFF_SIZE = (0x0100, 0x0101)  # tags of width and height
GRAY_MODES = ("1", "L", "LA", "La", "I", "F")
CLEAR_MODES = ("RGBA", "RGBa", "LA", "La", "PA")
CROP_TOLD = 0.02  # share of a picture that may be cut off without a note


class Survey(NamedTuple):
    """Properties of a store's pictures, found when it is opened.

    Attributes:
        rows: indices of the pictures to use.
        shape: (H, W, C) of the dataset.
        tones: range of the values that are not 8-bit.
        pairs: all pictures have the shape of two squares side by side.
        mixed: they differ in size.
        complete: every picture was looked at.
        notes: lines on sizes, colors, values, and what cannot be read.
        probes: the headers, by row.
    """

    rows: IndexArray
    shape: tuple[int, int, int]
    tones: Tones
    pairs: bool
    mixed: bool
    complete: bool
    notes: list[str]
    probes: dict[int, Probe]


class ImageFiles(PixelDataset):
    """Dataset of the pictures in a store, decoded batch by batch.

    Without a size in the options all pictures must have one size. Without channels they are gray if all are.

    Args:
        layout: the pictures to use, and their classes; None finds both from the folders, see `find_layout`.
    Attributes:
        complete: every picture's header was looked at when the dataset was opened.
        side_by_side: those looked at have the shape of pairs, two squares side by side.
        mixed: they differ in size.
        files: the store's names of all picture files, also those that are not used.
    """

    varied: bool = True

    def __init__(self, store: FileStore, *, name: str, options: SourceOptions, layout: Layout | None = None) -> None:
        try:
            layout = layout or find_layout(store)
            found = survey(store, options, rows=layout.rows)
        except MiniganError:
            store.close()
            raise
        labels = None
        if layout.labels is not None:
            labels = layout.labels[chosen_rows(len(layout.rows), options, where=store.root)]
        super().__init__(
            name=name,
            count=len(found.rows),
            shape=found.shape,
            labels=labels,
            classes=layout.classes,
            cache_bytes=options.cache_bytes,
        )
        self.note(*layout.notes, *found.notes)
        self.complete = found.complete
        self._store = store
        self._rows = found.rows
        self._tones = found.tones
        self._resize = options.size is not None or options.lenient
        self._probes = found.probes if options.lenient else {}  # for a survey, which looks at each again
        self.side_by_side, self.mixed, self.files = found.pairs, found.mixed, tuple(store.names)
        self._cropped_pairs = found.pairs and found.shape[1] != 2 * found.shape[0]

    def describe(self) -> str:
        hint = "; these look like side-by-side pairs, of which only the center is used" if self._cropped_pairs else ""
        return f"{super().describe()}{hint}"

    def close(self) -> None:
        self._store.close()

    def look(self, index: int) -> Look:
        row = int(self._rows[index])
        return Look(*(self._probes.get(row) or probe_file(self._store, row))[:3])

    def whole(self, index: int) -> PixelArray:
        """A picture at its own size, of which nothing is cut off: uint8 (H, W, C).

        Raises:
            DataError: it cannot be read.
        """
        row = int(self._rows[index])
        data, where = self._store.read(row), self._store.where(row)
        return to_array(load_image(data, where=where, channels=self.shape[2], tones=self._tones))

    def decode(self, indices: IndexArray) -> PixelArray:
        images = np.empty((len(indices), *self.shape), dtype=np.uint8)
        for image, row in zip(images, self._rows[indices], strict=True):
            image[...] = self._decode_file(int(row))
        return images

    def _decode_file(self, row: int) -> PixelArray:
        height, width, channels = self.shape
        where = self._store.where(row)
        fit = (height, width) if self._resize else None
        if fit is None:
            expect_modest((height, width), where=where)
        image = load_image(self._store.read(row), where=where, channels=channels, fit=fit, tones=self._tones)
        if not self._resize and (image.height, image.width) != (height, width):
            raise DataError(
                f"{where}: expected {height}x{width} like the other images, found {image.height}x{image.width}. "
                f"{RESIZE_REMEDY}"
            )
        return to_array(cover(image, size=(height, width)))


def survey(store: FileStore, options: SourceOptions, *, rows: IndexArray) -> Survey:
    """Examines the headers of all pictures, and the values of those that are not 8-bit.

    Args:
        rows: indices of the pictures in the store.
    Raises:
        MixedSizesError: the options have no size, and the pictures differ in theirs.
        DataError: no picture can be read.
        ConfigError: the options do not fit the store.
    """
    rows = rows[chosen_rows(len(rows), options, where=store.root)]
    damaged: list[str] = []
    probes = _probes(store, rows, damaged=damaged, lenient=options.lenient)
    size = options.size or common_size(store, probes, lenient=options.lenient)
    channels = options.channels or (1 if probes and all(probe.gray for probe in probes.values()) else 3)
    notes = [] if options.lenient else _scaling(probes, size=size)
    notes += _remarks(probes, channels=channels)
    if damaged:
        these = (
            "a picture that cannot be read" if len(damaged) == 1 else f"{len(damaged):,} pictures that cannot be read"
        )
        notes.append(f"{these}, at which training stops: {', '.join(damaged[:3])}{', ...' if len(damaged) > 3 else ''}")
    tones = SIXTEEN_BITS
    deep = [row for row, probe in probes.items() if probe.deep]
    if deep:
        tones = common_tones(deep_values(store, deep), where=str(store.root))
        notes += tones.remarks()
    else:
        notes += _flat_remarks(store, probes, channels=channels)
    pairs = bool(probes) and all(probe.width == 2 * probe.height for probe in probes.values())
    mixed = len({probe[:2] for probe in probes.values()}) > 1
    return Survey(rows, (*size, channels), tones, pairs, mixed, len(probes) == len(rows), notes, probes)


def _probes(store: FileStore, rows: IndexArray, *, damaged: list[str], lenient: bool) -> dict[int, Probe]:
    """As `probe_files`; for a survey, which lists what is damaged, it is no error if none can be read."""
    try:
        return probe_files(store, rows, damaged=damaged)
    except DataError:
        if not lenient:
            raise
        return {}


def _scaling(probes: dict[int, Probe], *, size: tuple[int, int]) -> list[str]:
    """Lines on sizes that are changed, and on sides that are cut off."""
    notes = []
    sizes = sorted({probe[:2] for probe in probes.values()})
    if len(sizes) > 1:
        least, most = sizes[0], sizes[-1]
        notes.append(f"sizes from {least[0]}x{least[1]} to {most[0]}x{most[1]} are scaled to {size[0]}x{size[1]}")
    losses = [_cut_off(have, want=size) for have in sizes]
    if max(losses) > CROP_TOLD:
        upto = "up to " if len(sizes) > 1 else ""
        notes.append(f"the middle of each picture is used: {upto}{max(losses):.0%} at its sides are cut off")
    return notes


def _remarks(probes: dict[int, Probe], *, channels: int) -> list[str]:
    """Lines on colors, and on frames that are left out."""
    notes = []
    gray = sum(probe.gray for probe in probes.values())
    if channels == 3 and 0 < gray < len(probes):
        notes.append(f"{gray:,} of {len(probes):,} pictures are grayscale and are used with three equal channels")
    moving = sum(probe.moving for probe in probes.values())
    if moving:
        notes.append(f"{moving:,} file{'' if moving == 1 else 's'} of several frames or pages: the first is used")
    return notes


def _flat_remarks(store: FileStore, probes: dict[int, Probe], *, channels: int) -> list[str]:
    """Lines on pictures of one value, such as transparent ones, or nearly black ones, such as maps of class numbers.

    A few pictures of modest size decide, and of these mostly the first.
    """
    small = [row for row, probe in probes.items() if probe.height * probe.width <= MODEST]
    count = min(len(small), LOOKED_AT)
    lowest, highest = 255, 0
    for row in (small[k * len(small) // count] for k in range(count)):
        try:
            image = to_array(load_image(store.read(row), where=store.where(row), channels=channels))
        except DataError:
            continue
        lowest, highest = min(lowest, int(image.min())), max(highest, int(image.max()))
        if lowest < highest > DARK * 255:
            return []
    if lowest > highest:  # none could be read
        return []
    seen = "" if count == len(probes) else f" in the {count} pictures looked at"
    flat = [f"all values are {lowest}{seen}"] if lowest == highest else []
    return [*flat, *(f"{line}{seen}" for line in dark_remarks(highest, white=255))]


def _cut_off(have: tuple[int, int], *, want: tuple[int, int]) -> float:
    """Share of a picture (H, W) that is cut off when it is scaled to cover another size."""
    ratio = (have[0] * want[1]) / (have[1] * want[0])
    return 1 - min(ratio, 1 / ratio)


def deep_values(store: FileStore, rows: Sequence[int]) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of the files, or of evenly spread ones of many; damaged ones are passed over."""
    count = min(len(rows), MOST_DEEP)
    for row in (rows[k * len(rows) // count] for k in range(count)):
        try:
            where = store.where(row)
            with _naming(where), _opened(io.BytesIO(store.read(row)), where=where) as image:
                yield where, np.asarray(image)
        except DataError:
            continue


def probe_files(store: FileStore, rows: IndexArray, *, damaged: list[str] | None = None) -> dict[int, Probe]:
    """Reads the headers of files by their index in the store: of all, or of evenly spread ones of very many.

    Args:
        damaged: takes the names of files that cannot be read.
    Raises:
        DataError: none can be read.
    """
    load_pillow()  # without it, the headers that it is not needed for would promise too much
    sample = rows if len(rows) <= MOST_PROBED else rows[np.arange(MOST_PROBED) * len(rows) // MOST_PROBED]
    probes: dict[int, Probe] = {}
    first: DataError | None = None
    for row in map(int, sample):
        try:
            probes[row] = probe_file(store, row)
        except DataError as error:
            first = first or error
            if damaged is not None:
                damaged.append(store.names[row])
    if not probes and first is not None:
        raise first
    return probes


def probe_file(store: FileStore, row: int) -> Probe:
    """Reads the header of a file.

    Raises:
        DataError: it cannot be read.
    """
    return quick_probe(store.head(row)) or _probe(store, row)


def common_size(store: FileStore, probes: dict[int, Probe], *, lenient: bool = False) -> tuple[int, int]:
    """Height and width of all probed files.

    Args:
        lenient: take the commonest size.
    Raises:
        MixedSizesError: they differ.
    """
    if lenient:
        sizes = Counter(probe[:2] for probe in probes.values()) or Counter([UNREADABLE])
        return sizes.most_common(1)[0][0]
    (first, probe), *others = probes.items()
    other = next(((row, other) for row, other in others if other[:2] != probe[:2]), None)
    if other is None:
        return probe.height, probe.width
    ((height, width), number), *_ = Counter(probe[:2] for probe in probes.values()).most_common(1)
    raise MixedSizesError(
        f"{store.root}: the images differ in size ({store.names[first]} is {probe.height}x{probe.width}, "
        f"{store.names[other[0]]} is {other[1].height}x{other[1].width}). {RESIZE_REMEDY}",
        commonest=(height, width) if 2 * number > len(probes) else None,
    )


def expect_modest(size: tuple[int, int], *, where: str) -> None:
    """Checks that pictures of that size can be read unscaled, many at a time.

    Raises:
        DataError: they are too large.
    """
    if max(size) > LARGEST_SIDE:
        raise DataError(
            f"{where}: expected at most {LARGEST_SIDE:,} pixels a side, found {size[0]}x{size[1]}. {RESIZE_REMEDY}"
        )


def load_image(
    data: bytes, *, where: str, channels: int, fit: tuple[int, int] | None = None, tones: Tones = SIXTEEN_BITS
) -> Any:
    """Decodes a picture to an upright Pillow image of mode L or RGB.

    Transparency is laid over white, and only the first frame of an animation is used. Metadata that cannot be read are
    passed over.

    Args:
        where: names the picture in errors.
        channels: 1 for mode L, 3 for RGB.
        fit: the size (H, W) to which it will be scaled. A JPEG may then be decoded at a smaller size, at least twice
            that, which is much quicker.
        tones: range of gray that is not 8-bit; by default 16 bits.
    Raises:
        DataError: it cannot be decoded.
    """
    with _naming(where):
        try:
            return _decoded(data, where=where, channels=channels, fit=fit, tones=tones)
        except MiniganError:
            raise
        except Exception:
            plain = without_metadata(data)
            if plain is None:
                raise
        return _decoded(plain, where=where, channels=channels, fit=fit, tones=tones)


def _decoded(data: bytes, *, where: str, channels: int, fit: tuple[int, int] | None, tones: Tones) -> Any:
    with _opened(io.BytesIO(data), where=where) as image:
        if fit is not None:
            image.draft(None, (2 * max(fit), 2 * max(fit)))
        image.load()
        return _flattened(_upright(image), channels=channels, where=where, tones=tones)


def load_unchanged(data: bytes, *, where: str) -> Any:
    """Decodes a picture to an upright Pillow image in the mode, and with the values, that its file has.

    Raises:
        DataError: it cannot be decoded.
    """
    with _naming(where):
        try:
            return _loaded(data, where=where)
        except MiniganError:
            raise
        except Exception:
            plain = without_metadata(data)
            if plain is None:
                raise
        return _loaded(plain, where=where)


def _loaded(data: bytes, *, where: str) -> Any:
    with _opened(io.BytesIO(data), where=where) as image:
        image.load()
        return _upright(image)


def to_array(image: Any) -> PixelArray:
    """Converts a Pillow image of mode L or RGB to uint8 (H, W, C)."""
    pixels: PixelArray = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _probe(store: FileStore, row: int) -> Probe:
    """A picture's size and kind, found by Pillow."""
    where = store.where(row)
    with _naming(where):
        try:
            with store.opened(row) as file:
                return _looked_at(file, where=where)
        except MiniganError:
            raise
        except Exception:
            plain = without_metadata(store.read(row))
            if plain is None:
                raise
        return _looked_at(io.BytesIO(plain), where=where)


def _looked_at(file: BinaryIO, *, where: str) -> Probe:
    with _opened(file, where=where) as image:
        height, width = image.height, image.width
        if _turn(image) >= 5:  # lies on its side
            height, width = width, height
        deep = image.mode == "F" or image.mode.startswith("I")
        return Probe(height, width, _is_gray(image), deep=deep, moving=_is_moving(image))


def _is_moving(image: Any) -> bool:
    """Whether a file holds several frames or pages; a phone's second picture (MPO) does not count."""
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # a later frame is damaged; the first may be sound
        return True


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Turns any error of a decoder into a DataError that names the file."""
    try:
        yield
    except MiniganError:
        raise
    # for damaged bytes Pillow's plugins raise nearly anything: OSError, SyntaxError, struct.error, KeyError ...
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "cannot identify image file" in reason:
            reason = "no known image format"
        raise DataError(f"{where}: expected an image, found one that cannot be read ({reason}). Remove it.") from error


def _opened(file: BinaryIO, *, where: str) -> Any:
    """A picture of which only the header has been read so far."""
    pillow = load_pillow()
    try:
        image = pillow.open(file, formats=FORMATS)
        pixels, limit = image.width * image.height, pillow.MAX_IMAGE_PIXELS
        bomb = limit is not None and pixels > limit
    except pillow.DecompressionBombError:
        bomb = True
    except pillow.UnidentifiedImageError:
        file.seek(0)
        head = file.read(HEAD)
        if not head:
            raise DataError(f"{where}: expected an image, found an empty file. Remove it.") from None
        foreign = foreign_kind(head, name=where.rpartition("/")[2])
        if foreign in (None, TEXT):
            raise
        raise DataError(f"{where}: expected an image, found {foreign.what}. {foreign.remedy}") from None
    if not bomb and max(image.size) > LONGEST:
        raise DataError(f"{where}: the image claims a side of {max(image.size):,} pixels. Scale it down first.")
    if bomb:
        raise DataError(f"{where}: the image claims more than {pillow.MAX_IMAGE_PIXELS:,} pixels. Scale it down first.")
    return image


def _turn(image: Any) -> int:
    """The turn that EXIF asks for, 1 to 8, and 1 if there is none or it cannot be read.

    Pillow turns a TIFF itself when it loads it, and then forgets the tag. The newer versions state the upright size
    before.
    """
    try:
        if image.format == "TIFF":
            tags = image.tag_v2
            stored = tuple(tags.get(tag) for tag in TIFF_SIZE)
            turn = tags.get(ORIENTATION, 1) if image.size == stored else 1
        else:
            turn = image.getexif().get(ORIENTATION, 1)
    except Exception:  # of damaged metadata, nearly anything
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _upright(image: Any) -> Any:
    """Turns a picture as its EXIF orientation says; phones store portraits lying on their side."""
    turn = _turn(image)
    transpose = load_pillow().Transpose
    steps = {
        2: transpose.FLIP_LEFT_RIGHT,
        3: transpose.ROTATE_180,
        4: transpose.FLIP_TOP_BOTTOM,
        5: transpose.TRANSPOSE,
        6: transpose.ROTATE_270,
        7: transpose.TRANSVERSE,
        8: transpose.ROTATE_90,
    }
    return image.transpose(steps[turn]) if turn in steps else image


def _is_gray(image: Any) -> bool:
    if image.mode == "P":
        palette = image.getpalette("RGB")
        if palette is None:
            return False
        colors = np.array(palette, dtype=np.uint8).reshape(-1, 3)
        return bool((colors == colors[:, :1]).all())
    return image.mode in GRAY_MODES or image.mode.startswith("I;16")


def _flattened(image: Any, *, channels: int, where: str, tones: Tones) -> Any:
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return load_pillow().fromarray(tones.pixels(np.asarray(image), where=where)).convert(mode)
    if image.mode in CLEAR_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        white = load_pillow().new("RGBA", image.size, "white")
        image = load_pillow().alpha_composite(white, image)
    return image.convert(mode)
