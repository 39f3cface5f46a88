"""Writing picture files: PNG with zlib alone, other formats by Pillow; the ending of the name decides."""

import os
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigan.data.pillow import load_pillow
from minigan.data.png import encode_png
from minigan.errors import ConfigError

__all__ = ["ENDINGS", "encode_picture", "expect_picture_name", "loss_of"]

QUALITY = 95  # of a JPEG


class Format(NamedTuple):
    """A format of pictures.

    Attributes:
        name: Pillow's.
        longest: the most pixels a side.
        choices: how Pillow writes it.
    """

    name: str
    longest: int
    choices: dict[str, Any] = {}  # noqa: RUF012 (never changed)


JPEG = Format("JPEG", 65_500, {"quality": QUALITY, "subsampling": 0})  # the full resolution of colors, too
TIFF = Format("TIFF", 2**31 - 1, {"compression": "tiff_adobe_deflate"})
FORMATS = {
    ".png": Format("PNG", 2**31 - 1),
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".webp": Format("WEBP", 16_383, {"lossless": True}),
    ".bmp": Format("BMP", 2**31 - 1),
    ".tif": TIFF,
    ".tiff": TIFF,
}
ENDINGS = tuple(FORMATS)


def expect_picture_name(path: str | os.PathLike[str]) -> None:
    """Checks that a picture can be written under that name, before work is done for it.

    Raises:
        ConfigError: its ending is no picture's that minigan writes.
        MissingExtraError: it is none of a PNG, and Pillow is not installed.
    """
    file = Path(path)
    if file.is_dir():
        return  # whoever writes it will be told
    if file.suffix.lower() not in FORMATS:
        raise ConfigError(
            f"{os.fspath(path)!r}: expected a name that ends with one of {' '.join(ENDINGS)}, which decides the "
            f"format. Name it {_as_png(file)}."
        )
    if file.suffix.lower() != ".png":
        load_pillow(purpose=f"writing {file.suffix} files")


def encode_picture(pixels: np.ndarray, path: str | os.PathLike[str]) -> bytes:
    """The bytes of a picture file, in the format that its name says.

    PNG, WebP, BMP and TIFF keep each pixel; JPEG is written with quality 95.

    Args:
        pixels: uint8 (H, W, C) with C = 1 or 3.
        path: the file's name; nothing is written.
    Raises:
        ConfigError: the ending is no picture's, or the picture is too large for the format.
        MissingExtraError: it is none of a PNG, and Pillow is not installed.
    """
    expect_picture_name(path)
    file = Path(path)
    format = FORMATS.get(file.suffix.lower(), FORMATS[".png"])
    if format.name == "PNG":
        return encode_png(pixels)
    if max(pixels.shape[:2]) > format.longest:
        raise ConfigError(
            f"{path}: a {format.name} has at most {format.longest:,} pixels a side, got a picture of "
            f"{pixels.shape[0]}x{pixels.shape[1]}. Name it {_as_png(file)}."
        )
    content = BytesIO()
    image = load_pillow().fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    try:
        image.save(content, format=format.name, **format.choices)
    except (OSError, ValueError, KeyError) as error:  # KeyError: a Pillow built without the format
        raise ConfigError(f"{path}: Pillow cannot write a {format.name} ({error}). Name it {_as_png(file)}.") from None
    return content.getvalue()


def loss_of(path: str | os.PathLike[str]) -> str | None:
    """A line on what a file of that name loses of a picture; None if it keeps each pixel."""
    if FORMATS.get(Path(path).suffix.lower()) is not JPEG:
        return None
    return f"{path}: a JPEG of quality {QUALITY} is not exact; {_as_png(Path(path))} would be."


def _as_png(file: Path) -> str:
    """The file's name as a PNG."""
    return f"{file.name.partition('.')[0] or 'samples'}.png"
