"""SourceOptions for reading a source, checked once."""

import os
from dataclasses import dataclass

import numpy as np

from minigan.data.dataset import IndexArray
from minigan.errors import ConfigError
from minigan.support.arguments import is_whole

__all__ = ["LARGEST_SIDE", "Size", "SourceOptions", "chosen_rows", "parse_options"]

Size = int | tuple[int, int]

LARGEST_SIDE = 4096


@dataclass(frozen=True)
class SourceOptions:
    size: tuple[int, int] | None  # height, width; None keeps the source's own
    channels: int | None  # 1 or 3; None keeps the source's own
    count: int | None  # how many items; None takes all
    cache_bytes: int  # decoded images are kept when the whole set takes no more
    lenient: bool = False  # for a survey: damaged files are no error, and mixed sizes are scaled to the commonest


def parse_options(*, size: Size | None, channels: int | None, count: int | None, cache_bytes: int) -> SourceOptions:
    if channels not in (None, 1, 3):
        raise ConfigError(
            f"channels must be 1 (grayscale) or 3 (color), got {channels!r}. Leave it out for the source's own."
        )
    if count is not None and not _is_positive(count):
        raise ConfigError(f"count must be a positive integer, got {count!r}.")
    if isinstance(cache_bytes, bool) or not isinstance(cache_bytes, int) or cache_bytes < 0:
        raise ConfigError(f"cache_bytes must be an integer from 0 up (0 keeps nothing), got {cache_bytes!r}.")
    return SourceOptions(_parse_size(size), channels, count, cache_bytes)


def chosen_rows(total: int, options: SourceOptions, *, where: str | os.PathLike[str]) -> IndexArray:
    """Indices of the items to take of `total`: all, or `options.count` evenly spread ones.

    An even spread takes items of all classes from a sorted source.

    Raises:
        ConfigError: the source has fewer items.
    """
    count = total if options.count is None else options.count
    if count > total:
        raise ConfigError(f"{os.fspath(where)}: count is {count:,}, but the source holds {total:,} items. Lower count.")
    return np.arange(count, dtype=np.intp) * total // max(count, 1)


def _parse_size(size: Size | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = size if isinstance(size, tuple) else (size, size)
    if len(pair) != 2 or not all(_is_positive(side) for side in pair):
        raise ConfigError(f"size must be a positive integer or (height, width), got {size!r}.")
    if max(pair) > LARGEST_SIDE:
        raise ConfigError(f"size can be at most {LARGEST_SIDE:,} pixels a side, got {size!r}.")
    height, width = pair
    return int(height), int(width)


def _is_positive(value: object) -> bool:
    return is_whole(value) and bool(value > 0)
