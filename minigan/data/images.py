"""Picture files: decoding them to 8-bit grey or colour, and the dataset of a folder or zip of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from minigan.data.dataset import IndexArray, PixelArray, PixelDataset
from minigan.data.files import FileStore, class_labels
from minigan.data.options import LARGEST_SIDE, Options, chosen_rows
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
    "probe_files",
    "to_array",
]

RESIZE_REMEDY = "Give a size (`size=64`) to scale them all to."
SAMPLE = 16  # files looked at when a folder is opened
# Pillow knows many more, some of which have other programs read the file.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
LONGEST = 2**16 - 1  # pixels; a JPEG can have no longer side, and decoders are slow with what claims one
ORIENTATION = 0x0112  # EXIF tag
GREY_MODES = ("1", "L", "LA", "La", "I", "F")
CLEAR_MODES = ("RGBA", "RGBa", "LA", "La", "PA")


class Probe(NamedTuple):
    """What the header of a picture file tells."""

    height: int
    width: int
    grey: bool


class Survey(NamedTuple):
    """What is known of a store's pictures when it is opened."""

    rows: IndexArray
    shape: tuple[int, int, int]
    pairs: bool  # all have the shape of two square pictures side by side


class ImageFiles(PixelDataset):
    """The pictures in a store, decoded batch by batch; folders are classes.

    With no size given all pictures must have the size of the first; with no channels given they are grey if a
    sample of 16 is.
    """

    def __init__(self, store: FileStore, *, name: str, options: Options) -> None:
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
        hint = "; these look like side-by-side pairs: only the centre of each is used" if self._cropped_pairs else ""
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


def survey(store: FileStore, options: Options) -> Survey:
    """What a few pictures tell of all: with no size given they must agree on one."""
    rows = chosen_rows(len(store.names), options, where=store.root)
    probes = probe_files(store, rows)
    size = options.size or common_size(store, probes)
    channels = options.channels or (1 if all(probe.grey for probe in probes.values()) else 3)
    return Survey(rows, (*size, channels), all(probe.width == 2 * probe.height for probe in probes.values()))


def probe_files(store: FileStore, rows: IndexArray) -> dict[int, Probe]:
    """The headers of a few files, evenly spread, by their index in the store."""
    sample = rows if len(rows) <= SAMPLE else rows[np.arange(SAMPLE) * len(rows) // SAMPLE]
    return {int(row): _probe(store.read(int(row)), where=store.where(int(row))) for row in sample}


def common_size(store: FileStore, probes: dict[int, Probe]) -> tuple[int, int]:
    """The height and width on which all probed files agree."""
    (first, probe), *others = probes.items()
    for row, other in others:
        if other[:2] != probe[:2]:
            raise MixedSizesError(
                f"{store.root}: the images differ in size ({store.names[first]} is {probe.height}x{probe.width}, "
                f"{store.names[row]} is {other.height}x{other.width}). {RESIZE_REMEDY}"
            )
    return probe.height, probe.width


def expect_modest(size: tuple[int, int], *, where: str) -> None:
    """Raises DataError if pictures of that size are too large to be read as they are, by many at a time."""
    if max(size) > LARGEST_SIDE:
        raise DataError(f"{where}: {size[0]}x{size[1]} is more than {LARGEST_SIDE:,} pixels a side. {RESIZE_REMEDY}")


def load_image(data: bytes, *, where: str, channels: int, fit: tuple[int, int] | None = None) -> Any:
    """The picture as a Pillow image of mode L or RGB, upright; `where` names it in errors.

    16-bit grey is scaled by its full range, transparency is laid over white, of an animation the first frame is
    taken. If the picture is to be scaled to `fit` (H, W), a JPEG may be decoded at a smaller size, at least twice
    that, which is much quicker.
    """
    with _naming(where), _opened(data, where=where) as image:
        if fit is not None:
            image.draft(None, (2 * max(fit), 2 * max(fit)))
        image.load()
        return _flattened(_upright(image), channels=channels, where=where)


def to_array(image: Any) -> PixelArray:
    """A Pillow image of mode L or RGB as uint8 (H, W, C)."""
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
    """Turns whatever a decoder raises into a DataError that names the file."""
    try:
        yield
    except MiniganError:
        raise
    # given damaged bytes Pillow's plugins raise nearly anything: OSError, SyntaxError, struct.error, KeyError ...
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "BytesIO" in reason:
            reason = "no known image format"
        raise DataError(f"{where}: expected an image, found one that cannot be read ({reason}).") from error


def _opened(data: bytes, *, where: str) -> Any:
    """The picture, its header read, its pixels not yet."""
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
    """Turned as the camera's EXIF note says; phones store portraits lying on their side."""
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
    """Pillow would clip 16-bit grey at 255 when converting it: scale it by its full range instead."""
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 0xFFFF:
        raise DataError(
            f"{where}: expected at most 16 bits a channel, found 32-bit values from {values.min()} to {values.max()}. "
            "Save it with 8 or 16 bits."
        )
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
