"""Memorization: distances from samples to their nearest training examples."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigan.evaluation.metrics.checks import FloatArray, numbers, vectors
from minigan.evaluation.metrics.distances import kth_nearest, nearest

__all__ = ["Memorization", "memorization", "nearer_share"]


class Memorization(NamedTuple):
    """Nearness of samples to training examples, compared with real examples that were not trained on.

    Attributes:
        nearer: chance that a sample is nearer to the training set than a real example is. It is .5 for fresh draws from
            the data, 1 for copies (and for images so plain that they are near to all), below .5 for samples unlike the
            data.
        ratio: the samples' median distance divided by that of the real examples.
        neighbors: indices (N,) of the training examples nearest to each sample.
        distances: distances to them, (N,).
    """

    nearer: float
    ratio: float
    neighbors: npt.NDArray[np.intp]
    distances: FloatArray


def memorization(samples: np.ndarray, train: np.ndarray, *, held_out: np.ndarray | None = None) -> Memorization:
    """Compares the distances from samples to the training set with those from real examples.

    `nearer` is the statistic of Mann & Whitney's test (equal distances count half), as in Meehan et al. 2020 ("A
    Non-Parametric Test to Detect Data-Copying in Generative Models"), section 3.

    Args:
        samples: vectors (N, F).
        train: vectors (M, F) of the training set, M >= 2.
        held_out: vectors (K, F) of real examples outside it; None takes the training examples, each without itself.
    Raises:
        ShapeError, DTypeError, DataError: the arrays are not sets of finite vectors of one length.
    """
    train = vectors("train", train, least=2)
    indices, found = nearest(samples, train)
    own = found[:, 0]
    real = kth_nearest(train, k=1) if held_out is None else nearest(held_out, train)[1][:, 0]
    middle = float(np.median(real))
    return Memorization(
        nearer=nearer_share(own, real),
        ratio=float(np.median(own)) / middle if middle else float("inf"),
        neighbors=indices[:, 0],
        distances=own,
    )


def nearer_share(samples: FloatArray, real: FloatArray) -> float:
    """Chance that a sample's distance is less than a real example's; equal distances count half.

    It is the statistic of Mann & Whitney's test divided by N M.

    Args:
        samples, real: distances (N,) and (M,).
    """
    samples, real = numbers("samples", samples), np.sort(numbers("real", real))
    below, upto = np.searchsorted(real, samples, side="left"), np.searchsorted(real, samples, side="right")
    return float(1 - (below + upto).mean() / (2 * len(real)))
