"""Sizes of images: how the setting is written, and the nearest size that a recipe's networks can draw."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from minigan.errors import ConfigError
from minigan.support.arguments import is_whole, kind_of

__all__ = ["Size", "as_pair", "as_size", "nearest_size", "plain_size", "scaling_in_words"]

Size = int | tuple[int, int]  # a side, or (height, width)

CROPPING = 3.2  # what a share that is cut off counts for, as against a change of scale by the same share


def as_size(value: Any, *, of: str) -> Size:
    """The setting `size` from a side, a pair (height, width) or a text like "48x64"; a square is a side.

    Args:
        of: the recipe's name.
    Raises:
        ConfigError: it is something else, or a side is not positive; a size of 0 is allowed.
    """
    sides = [int(side) for side in re.findall(r"\d+", value)] if _is_size_text(value) else value
    if is_whole(sides) and sides >= 0:
        return int(sides)
    if isinstance(sides, tuple | list) and 1 <= len(sides) <= 2 and all(is_whole(n) for n in sides):
        height, width = int(sides[0]), int(sides[-1])
        if min(height, width) > 0 or height == width == 0:
            return height if height == width else (height, width)
    raise ConfigError(
        f"{of}: size must be a side or (height, width), from 1 up (0 chooses by the data), got {kind_of(value)}. "
        "Write `size=64` or `size='48x64'`."
    )


def _is_size_text(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}\s*([xX]\s*\d{1,9}\s*)?", value, re.ASCII) is not None


def plain_size(size: Size) -> int | str:
    """A size as files keep it: a number, or a text like "48x64"."""
    return size if isinstance(size, int) else f"{size[0]}x{size[1]}"


def as_pair(size: Size) -> tuple[int, int]:
    """(height, width)."""
    return (size, size) if isinstance(size, int) else size


def nearest_size(
    size: tuple[int, int], can_draw: Callable[[tuple[int, int]], bool], *, largest: int
) -> tuple[int, int] | None:
    """The nearest drawable size (H, W) to that of the data.

    Images are scaled until they cover the new size, and what overhangs is cut off. With the ratios a = H / height and
    b = W / width, the scale is max(a, b), and the share min(a, b) / max(a, b) of an image is kept. The distance is
    |scale - 1| + 3.2 (1 - share), as a crop loses what rescaling only blurs; of equally near sizes it is the smaller.

    Args:
        size: the data's (height, width).
        can_draw: tells whether a size can be drawn.
        largest: the longest side that comes into question.
    Returns:
        None if there is none.
    """
    sides = np.arange(1, largest + 1)
    a, b = (sides / size[0])[:, None], sides / size[1]
    scale = np.maximum(a, b)
    distance = np.abs(scale - 1) + CROPPING * (1 - np.minimum(a, b) / scale)
    for index in np.argsort(distance.round(12), axis=None, kind="stable"):
        row, column = divmod(int(index), largest)
        if can_draw((row + 1, column + 1)):
            return row + 1, column + 1
    return None


def scaling_in_words(have: tuple[int, int], want: tuple[int, int], reason: str, *, crop: bool = True) -> str:
    """A line that tells of images that are scaled.

    Args:
        have: the images' size (height, width).
        want: the size that they are scaled to.
        reason: why that size was chosen.
        crop: tell how much of each is cut off, too.
    """
    scale = max(want[0] / have[0], want[1] / have[1])
    cropped = 1 - want[0] * want[1] / (scale * have[0] * scale * have[1])
    loss = f"; {cropped:.0%} of each is cropped" if crop and cropped >= 0.005 else ""
    return f"scaled from {have[0]}x{have[1]} to {want[0]}x{want[1]}, {reason}{loss}"
