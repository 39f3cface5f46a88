"""The birthday-paradox test: how many different images can a generator draw?

If N images are equally likely, a batch of about sqrt(N) has two alike with even odds, as two of 23 people share a
birthday. Source: Arora & Zhang 2018 ("Do GANs learn the distribution? Some theory and empirics"), section 2. In the
paper people look at the closest pairs; here a threshold on the distance decides.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigan.errors import ConfigError
from minigan.evaluation.metrics.checks import FloatArray, vectors
from minigan.evaluation.metrics.distances import distance_blocks

__all__ = ["Birthday", "birthday_test", "close_distance"]

ROUNDING = 1e-9


class Birthday(NamedTuple):
    """Result of a birthday-paradox test.

    Attributes:
        pairs: number of pairs in the batch, N (N - 1) / 2.
        duplicates: number of near-duplicates among them.
        support: estimated number of different images if all were equally likely, pairs / duplicates; infinite if there
            are no duplicates.
        even_batch: batch size at which a near-duplicate is as likely as not, sqrt(2 ln 2 support).
        closest: indices (n, 2) of the closest pairs, closest first.
        distances: distances of these pairs, (n,).
    """

    pairs: int
    duplicates: int
    support: float
    even_batch: float
    closest: npt.NDArray[np.intp]
    distances: FloatArray


def birthday_test(samples: np.ndarray, *, threshold: float, show: int = 10) -> Birthday:
    """Counts the pairs of a batch that are near-duplicates.

    A difference of rounding, a billionth of the threshold, does not count.

    Any two samples are the same image with probability sum of p², which is 1 / N for N equally likely images. So the
    inverse of the share of near-duplicates among all pairs estimates the support, whatever the batch's size.

    Args:
        samples: vectors (N, F), N >= 2.
        threshold: largest distance between near-duplicates; see `close_distance`.
        show: number of the closest pairs to return, at most.
    Raises:
        ConfigError: the threshold is negative.
        ShapeError, DTypeError, DataError: the samples are not a set of finite vectors.
    """
    x = vectors("samples", samples, least=2)
    if not threshold >= 0:
        raise ConfigError(f"threshold: expected a distance from 0 up, got {threshold}. Use close_distance.")
    upto, duplicates = threshold * (1 + ROUNDING), 0
    rows, columns, found = np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0)
    for part, upper in _upper_blocks(x):
        duplicates += int((upper <= upto).sum())
        flat = upper.ravel()
        few = np.argpartition(flat, min(show, flat.size - 1))[:show]
        row, column = np.unravel_index(few, upper.shape)
        rows, columns = np.concatenate([rows, row + part.start]), np.concatenate([columns, column])
        found = np.concatenate([found, flat[few]])
    order = np.argsort(found, kind="stable")[:show]
    order = order[np.isfinite(found[order])]
    pairs = len(x) * (len(x) - 1) // 2
    support = pairs / duplicates if duplicates else math.inf
    return Birthday(
        pairs=pairs,
        duplicates=duplicates,
        support=support,
        even_batch=math.sqrt(2 * math.log(2) * support),
        closest=np.stack([rows[order], columns[order]], axis=1),
        distances=found[order],
    )


def close_distance(real: np.ndarray, *, share: float = 1e-5) -> float:
    """The largest distance among the closest pairs of real images, a threshold for near-duplicates.

    Args:
        real: vectors (N, F), N >= 2.
        share: share of all pairs that count as closest, in (0, 1]; at least one pair does.
    Raises:
        ConfigError: the share is not in (0, 1].
        ShapeError, DTypeError, DataError: the real images are not a set of finite vectors.
    """
    x = vectors("real", real, least=2)
    if not 0 < share <= 1:
        raise ConfigError(f"share: expected a number in (0, 1], got {share}. 1e-5 is usual.")
    wanted = max(1, round(share * len(x) * (len(x) - 1) / 2))
    smallest = np.empty(0)
    for _, upper in _upper_blocks(x):
        smallest = np.concatenate([smallest, upper[np.isfinite(upper)]])
        if smallest.size > wanted:
            smallest = np.partition(smallest, wanted - 1)[:wanted]
    return float(smallest.max())


def _upper_blocks(x: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    """Blocks of rows of the distance matrix, with infinity on and below the diagonal so that each pair counts once."""
    columns = np.arange(len(x))
    for part, block in distance_blocks(x, x):
        block[columns <= np.arange(part.start, part.stop)[:, None]] = np.inf
        yield part, block
