"""The birthday-paradox test: how many different images can a generator draw?

Of N equally likely images, a batch of about sqrt(N) has two alike with even odds, as 23 people have a birthday in
common. Source: Arora & Zhang 2018 ("Do GANs learn the distribution? Some theory and empirics"), section 2.
There people look at the closest pairs; here a threshold on the distance tells.
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


class Birthday(NamedTuple):
    """What a batch tells.

    Attributes:
        pairs: how many pairs the batch has, N (N - 1) / 2.
        duplicates: how many of them are near-duplicates.
        support: about how many images there are, were all equally likely: pairs / duplicates; infinite without any.
        even_batch: the batch in which a near-duplicate is as likely as not, sqrt(2 ln 2 support).
        closest: indices (n, 2) of the closest pairs, closest first, to be looked at.
        distances: theirs, (n,).
    """

    pairs: int
    duplicates: int
    support: float
    even_batch: float
    closest: npt.NDArray[np.intp]
    distances: FloatArray


def birthday_test(samples: np.ndarray, *, threshold: float, show: int = 10) -> Birthday:
    """Counts the pairs of a batch that are near-duplicates.

    Any two of the batch meet with the probability sum of p², which is 1 / N for N equally likely images; so the share
    of near-duplicates among all pairs, turned over, estimates the support, without bias from the batch's size.

    Args:
        samples: vectors (N, F), N >= 2.
        threshold: two samples no farther apart than this are near-duplicates; see `close_distance`.
        show: how many of the closest pairs to return, at most.
    Raises:
        ConfigError: the threshold is negative.
        ShapeError, DTypeError, DataError: the samples are not a set of finite vectors.
    """
    x = vectors("samples", samples, least=2)
    if not threshold >= 0:
        raise ConfigError(f"threshold: expected a distance from 0 up, got {threshold}. Take close_distance's.")
    duplicates = 0
    rows, columns, found = np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0)
    for part, upper in _upper_blocks(x):
        duplicates += int((upper <= threshold).sum())
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
    """The distance below which the given share of the pairs of real images lies: a yardstick for near-duplicates.

    Args:
        real: vectors (N, F), N >= 2.
        share: in (0, 1]; at least one pair is taken.
    Raises:
        ConfigError: the share is not in (0, 1].
        ShapeError, DTypeError, DataError: these are not finite vectors.
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
    """The table of distances in blocks of rows, each pair once: infinite on and below the diagonal."""
    columns = np.arange(len(x))
    for part, block in distance_blocks(x, x):
        block[columns <= np.arange(part.start, part.stop)[:, None]] = np.inf
        yield part, block
