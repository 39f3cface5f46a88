"""Picture files: decoding to 8-bit grey or colour, and the dataset in a folder or zip of pictures."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from minigan.data.dataset import IndexArray, PixelArray, PixelDataset
from minigan.data.files import FileStore, class_labels
from minigan.data.options import LARGEST_SIDE, SourceOptions, chosen_rows
from minigan.data.pillow import load_pillow
from minigan.data.resize import cover
from minigan.errors import DataError, MiniganError, MixedSizesError

__all__ = [
    "RESIZE_REMEDY",
    "ImageFiles",
    "Probe",
    "common_size",
    "expect_modest",
    "load_image",
    "load_unchanged",
    "probe_files",
    "to_array",
]

RESIZE_REMEDY = "Give a size (`size=64`) to scale them all to."
SAMPLE = 16  # files whose headers are read when a folder is opened
# Pillow knows many more formats, but for some of them it runs other programs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
LONGEST = 2**16 - 1  # pixels; no JPEG has a longer side, and decoders are slow with files that claim one
ORIENTATION = 0x0112  # EXIF tag
GREY_MODES = ("1", "L", "LA", "La", "I", "F")
CLEAR_MODES = ("RGBA", "RGBa", "LA", "La", "PA")


class Probe(NamedTuple):
    """Size and kind of a picture, as its header states."""

    height: int
    width: int
    grey: bool


class Survey(NamedTuple):
    """Properties of a store's pictures, found when it is opened.

    Attributes:
        rows: indices of the pictures to use.
        shape: (H, W, C) of the dataset.
        pairs: all pictures looked at have the shape of two squares side by side.
    """

    rows: IndexArray
    shape: tuple[int, int, int]
    pairs: bool


class ImageFiles(PixelDataset):
    """Dataset of the pictures in a store, decoded batch by batch; folders are classes.

    Without a size in the options all pictures must have the size of the first. Without channels they are grey if a
    sample of 16 is.
    """

    def __init__(self, store: FileStore, *, name: str, options: SourceOptions) -> None:
        try:
            found = survey(store, options)
        except MiniganError:
            store.close()
            raise
        labels, classes = class_labels(store.names)
        super().__init__(
            name=name,
            count=len(found.rows),
            shape=found.shape,
            labels=None if labels is None else labels[found.rows],
            classes=classes,
            cache_bytes=options.cache_bytes,
        )
        self._store = store
        self._rows = found.rows
        self._resize = options.size is not None
        self._cropped_pairs = found.pairs and found.shape[1] != 2 * found.shape[0]

    def describe(self) -> str:
        hint = "; these look like side-by-side pairs, of which only the centre is used" if self._cropped_pairs else ""
        return f"{super().describe()}{hint}"

    def close(self) -> None:
        self._store.close()

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
        image = load_image(self._store.read(row), where=where, channels=channels, fit=fit)
        if not self._resize and (image.height, image.width) != (height, width):
            raise DataError(
                f"{where}: expected {height}x{width} like the other images, found {image.height}x{image.width}. "
                f"{RESIZE_REMEDY}"
            )
        return to_array(cover(image, size=(height, width)))


def survey(store: FileStore, options: SourceOptions) -> Survey:
    """Examines a few pictures.

    Raises:
        MixedSizesError: the options have no size, and the pictures differ in theirs.
        DataError: a picture cannot be read.
        ConfigError: the options do not fit the store.
    """
    rows = chosen_rows(len(store.names), options, where=store.root)
    probes = probe_files(store, rows)
    size = options.size or common_size(store, probes)
    channels = options.channels or (1 if all(probe.grey for probe in probes.values()) else 3)
    return Survey(rows, (*size, channels), all(probe.width == 2 * probe.height for probe in probes.values()))


def probe_files(store: FileStore, rows: IndexArray) -> dict[int, Probe]:
    """Reads the headers of a few files, evenly spread, by their index in the store."""
    sample = rows if len(rows) <= SAMPLE else rows[np.arange(SAMPLE) * len(rows) // SAMPLE]
    return {int(row): _probe(store.read(int(row)), where=store.where(int(row))) for row in sample}


def common_size(store: FileStore, probes: dict[int, Probe]) -> tuple[int, int]:
    """Height and width of all probed files.

    Raises:
        MixedSizesError: they differ.
    """
    (first, probe), *others = probes.items()
    for row, other in others:
        if other[:2] != probe[:2]:
            raise MixedSizesError(
                f"{store.root}: the images differ in size ({store.names[first]} is {probe.height}x{probe.width}, "
                f"{store.names[row]} is {other.height}x{other.width}). {RESIZE_REMEDY}"
            )
    return probe.height, probe.width


def expect_modest(size: tuple[int, int], *, where: str) -> None:
    """Checks that pictures of that size can be read unscaled, many at a time.

    Raises:
        DataError: they are too large.
    """
    if max(size) > LARGEST_SIDE:
        raise DataError(
            f"{where}: expected at most {LARGEST_SIDE:,} pixels a side, found {size[0]}x{size[1]}. {RESIZE_REMEDY}"
        )


def load_image(data: bytes, *, where: str, channels: int, fit: tuple[int, int] | None = None) -> Any:
    """Decodes a picture to an upright Pillow image of mode L or RGB.

    16-bit grey is scaled by its full range, transparency is laid over white, and only the first frame of an animation
    is used.

    Args:
        where: names the picture in errors.
        channels: 1 for mode L, 3 for RGB.
        fit: the size (H, W) to which it will be scaled. A JPEG may then be decoded at a smaller size, at least twice
            that, which is much quicker.
    Raises:
        DataError: it cannot be decoded.
    """
    with _naming(where), _opened(data, where=where) as image:
        if fit is not None:
            image.draft(None, (2 * max(fit), 2 * max(fit)))
        image.load()
        return _flattened(_upright(image), channels=channels, where=where)


def load_unchanged(data: bytes, *, where: str) -> Any:
    """Decodes a picture to an upright Pillow image in the mode, and with the values, that its file has.

    Raises:
        DataError: it cannot be decoded.
    """
    with _naming(where), _opened(data, where=where) as image:
        image.load()
        return _upright(image)


def to_array(image: Any) -> PixelArray:
    """Converts a Pillow image of mode L or RGB to uint8 (H, W, C)."""
    pixels: PixelArray = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _probe(data: bytes, *, where: str) -> Probe:
    with _naming(where), _opened(data, where=where) as image:
        height, width = image.height, image.width
        if image.getexif().get(ORIENTATION, 1) >= 5:  # lies on its side
            height, width = width, height
        return Probe(height, width, _is_grey(image))


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
        if "BytesIO" in reason:
            reason = "no known image format"
        raise DataError(f"{where}: expected an image, found one that cannot be read ({reason}). Remove it.") from error


def _opened(data: bytes, *, where: str) -> Any:
    """A picture of which only the header has been read so far."""
    pillow = load_pillow()
    try:
        image = pillow.open(BytesIO(data), formats=FORMATS)
        pixels, limit = image.width * image.height, pillow.MAX_IMAGE_PIXELS
        bomb = limit is not None and pixels > limit
    except pillow.DecompressionBombError:
        bomb = True
    if not bomb and max(image.size) > LONGEST:
        raise DataError(f"{where}: the image claims a side of {max(image.size):,} pixels. Scale it down first.")
    if bomb:
        raise DataError(f"{where}: the image claims more than {pillow.MAX_IMAGE_PIXELS:,} pixels. Scale it down first.")
    return image


def _upright(image: Any) -> Any:
    """Turns a picture as its EXIF orientation says; phones store portraits lying on their side."""
    turn = image.getexif().get(ORIENTATION, 1)
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


def _is_grey(image: Any) -> bool:
    if image.mode == "P":
        palette = image.getpalette("RGB")
        if palette is None:
            return False
        colours = np.array(palette, dtype=np.uint8).reshape(-1, 3)
        return bool((colours == colours[:, :1]).all())
    return image.mode in GREY_MODES or image.mode.startswith("I;16")


def _flattened(image: Any, *, channels: int, where: str) -> Any:
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return load_pillow().fromarray(_from_16_bits(image, where=where)).convert(mode)
    if image.mode in CLEAR_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        white = load_pillow().new("RGBA", image.size, "white")
        image = load_pillow().alpha_composite(white, image)
    return image.convert(mode)


def _from_16_bits(image: Any, *, where: str) -> PixelArray:
    """Scales 16-bit grey by its full range; Pillow's own conversion would clip it at 255."""
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 0xFFFF:
        raise DataError(
            f"{where}: expected at most 16 bits a channel, found 32-bit values from {values.min()} to {values.max()}. "
            "Save it with 8 or 16 bits."
        )
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
