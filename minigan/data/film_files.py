"""Writing films with Pillow: an animated PNG or a GIF; the ending of the name decides."""

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from minigan.data.pillow import load_pillow
from minigan.errors import ConfigError

__all__ = ["encode_film", "expect_film_name", "film_loss"]

FORMATS = {".png": "PNG", ".gif": "GIF"}
LENGTH = 10_000  # ms that a film lasts, if its pictures then last neither too briefly nor too long
SHORTEST, LONGEST, LAST = 50, 500, 2_000  # ms that a picture lasts, and the last one
LONGEST_SIDE = 65_535  # of a GIF


def expect_film_name(path: str | os.PathLike[str]) -> None:
    """Checks that a film can be written under that name, before work is done for it.

    Raises:
        ConfigError: its ending is no film's that minigan writes.
        MissingExtraError: Pillow is not installed.
    """
    file = Path(path)
    if file.suffix.lower() not in FORMATS and not file.is_dir():  # of a folder, whoever writes it will be told
        raise ConfigError(
            f"{os.fspath(path)!r}: expected a name that ends with .png or .gif, which decides the format. "
            f"Name it {file.name.partition('.')[0] or 'film'}.png."
        )
    load_pillow(purpose="writing films")


def encode_film(frames: Sequence[np.ndarray], path: str | os.PathLike[str], *, rest: bool = True) -> bytes:
    """The bytes of a film that repeats for ever, in the format that its name says.

    It lasts about ten seconds. A PNG keeps each pixel, and so does a GIF of grayscale. Where a PNG does not move,
    the last picture is shown if the film rests on it: the end of a training, not its noise.

    Args:
        frames: at least two; uint8 (H, W, C) of one shape, with C = 1 or 3.
        path: the file's name; nothing is written.
        rest: rest on the last picture, which a loop that passes on to the first does not.
    Raises:
        ConfigError: the ending is no film's, or the pictures are too large for the format.
        MissingExtraError: Pillow is not installed.
    """
    expect_film_name(path)
    format = FORMATS.get(Path(path).suffix.lower(), "PNG")
    if format == "GIF" and max(frames[0].shape[:2]) > LONGEST_SIDE:
        raise ConfigError(f"{path}: a GIF has at most {LONGEST_SIDE:,} pixels a side. Name it {Path(path).stem}.png.")
    pillow = load_pillow()
    first, *others = [pillow.fromarray(np.ascontiguousarray(f[..., 0] if f.shape[2] == 1 else f)) for f in frames]
    content = BytesIO()
    # In a GIF a picture stays where the next one covers it; times are whole hundredths of a second.
    choices: dict[str, Any] = {"disposal": 1} if format == "GIF" else {}
    each = min(LONGEST, max(SHORTEST, LENGTH // len(frames) // 10 * 10))
    lasting = [each] * len(others) + [LAST if rest else each]
    pictures = [first, *others]
    if format == "PNG" and rest:  # the default image, which is no frame of the film
        pictures, choices = [others[-1].copy(), *pictures], {"default_image": True}
    pictures[0].save(
        content, format=format, save_all=True, append_images=pictures[1:], duration=lasting, loop=0, **choices
    )
    return content.getvalue()


def film_loss(path: str | os.PathLike[str], frames: Sequence[np.ndarray]) -> str | None:
    """A line on what a film of that name loses of its pictures; None if it keeps each pixel."""
    if Path(path).suffix.lower() != ".gif" or frames[0].shape[2] == 1:
        return None
    return f"{path}: a GIF has 256 colors a picture; {Path(path).stem}.png would be exact."
