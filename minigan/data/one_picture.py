"""One picture from a file or an array, brought to the size and the channels that somebody asks for."""

import contextlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigan.data.channels import convert_channels
from minigan.data.dataset import FloatArray
from minigan.data.files import SingleFileStore
from minigan.data.image_files import ImageFiles, probe_file
from minigan.data.layout import all_files
from minigan.data.options import SourceOptions
from minigan.data.resize import covering_box, resized
from minigan.errors import ConfigError, DataError
from minigan.support.arguments import kind_of
from minigan.support.arguments import path as expect_path

__all__ = ["OnePicture", "one_picture"]


class OnePicture(NamedTuple):
    """A picture (H, W, C), float32 in [-1, 1], and lines on how it was changed to get there."""

    image: FloatArray
    notes: tuple[str, ...]


def one_picture(picture: str | os.PathLike[str] | np.ndarray, shape: tuple[int, int, int]) -> OnePicture:
    """A picture scaled and cropped to a shape.

    Args:
        picture: the path of a file; or an array (H, W, C) or (H, W), uint8 or floats in [-1, 1].
        shape: (H, W, C), with C = 1 for grayscale or 3 for RGB.
    Raises:
        ConfigError: it is neither a path nor such an array.
        DataError: the file cannot be read.
        MissingExtraError: a file is read, or an array scaled, and Pillow is not installed.
    """
    if isinstance(picture, str | os.PathLike):
        return _from_file(expect_path(picture, "picture"), shape)
    return _from_array(picture, shape)


def _from_file(path: Path, shape: tuple[int, int, int]) -> OnePicture:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise DataError(f"{path}: expected a picture, found {found}. Name a picture's file.")
    store = SingleFileStore(path)
    H, W, C = shape
    options = SourceOptions(size=(H, W), channels=C, count=None, cache_bytes=0)
    try:
        with contextlib.closing(ImageFiles(store, name=path.name, options=options, layout=all_files(store))) as images:
            probe = probe_file(store, 0)
            notes = _changes((probe.height, probe.width, 1 if probe.gray else 3), shape, cropped=False)
            return OnePicture(images.read([0])[0], (*notes, *images.notes))
    except DataError as error:  # on a file among many, which can be spared
        raise DataError(str(error).replace("Remove it.", "Name another picture.")) from None


def _from_array(array: Any, shape: tuple[int, int, int]) -> OnePicture:
    image = np.asarray(array)[..., None] if np.ndim(array) == 2 else np.asarray(array)
    floats = image.dtype.kind == "f"
    if image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size or not (floats or image.dtype == np.uint8):
        raise ConfigError(
            f"picture must be a path or an array (H, W, C), uint8 or floats in [-1, 1], got {kind_of(array)}. "
            "Write picture=images[0] for the first of several."
        )
    if floats and not np.abs(image).max() <= 1:  # NaN as well
        raise ConfigError(
            f"picture must have values in [-1, 1], got {image.min():g} to {image.max():g}. "
            "Convert them: pixels / 127.5 - 1."
        )
    plain = image.astype(np.float32) if floats else (image / 127.5 - 1).astype(np.float32)
    fitted = resized(convert_channels(plain[None], channels=shape[2]), size=shape[:2])[0]
    return OnePicture(np.clip(fitted, -1, 1), _changes(image.shape, shape, cropped=True))


def _changes(have: tuple[int, ...], want: tuple[int, int, int], *, cropped: bool) -> tuple[str, ...]:
    """Lines on a picture that is brought from one shape to another.

    Args:
        cropped: tell of what is cut off, too.
    """
    notes = []
    if have[:2] != want[:2]:
        notes.append(f"the picture is scaled from {have[0]}x{have[1]} to {want[0]}x{want[1]}")
        left, top, right, bottom = covering_box(have=(have[0], have[1]), want=want[:2])
        lost = 1 - (right - left) * (bottom - top) / (have[0] * have[1])
        if cropped and lost > 0.02:
            notes.append(f"the middle of the picture is used: {lost:.0%} at its sides are cut off")
    if have[2] > want[2]:
        notes.append("the picture has colors and is used in grayscale")
    if have[2] < want[2]:
        notes.append("the picture is grayscale and is used with three equal channels")
    return tuple(notes)
