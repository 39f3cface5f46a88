"""The kernel distance between two sets of feature vectors: the squared maximum mean discrepancy (MMD).

Source: Bińkowski et al. 2018 ("Demystifying MMD GANs"), sections 2.1 and 4: the KID. Unlike the Fréchet distance, its
expectation does not depend on the number of samples. An estimate of a small distance may be negative.
"""

from typing import NamedTuple

import numpy as np

from minigan.evaluation.metrics.checks import FloatArray, check_count, vectors_pair

__all__ = ["KernelDistance", "kernel_distance", "mmd"]


class KernelDistance(NamedTuple):
    """Mean and standard deviation of the squared MMD over subsets."""

    mean: float
    std: float


def mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate of the squared MMD with the kernel k(a, b) = (a·b / F + 1)³.

    It is the mean of k(x_i, x_j) over i ≠ j, plus the mean of k(y_i, y_j) over i ≠ j, minus twice that of k(x_i, y_j).

    Args:
        x, y: (N, F) and (M, F), N and M at least 2.
    Raises:
        ShapeError, DTypeError, DataError: the arrays are not two sets of finite vectors of one length.
    Source: Gretton et al. 2012, equation 3, and Bińkowski et al. 2018, section 4.
    """
    x, y = vectors_pair(("x", "y"), x, y, least=2)
    return _within(x) + _within(y) - 2 * float(_kernel(x, y).mean())


def kernel_distance(
    real: np.ndarray, fake: np.ndarray, *, rng: np.random.Generator, subsets: int = 100, subset_size: int = 1000
) -> KernelDistance:
    """The mean of `mmd` over random subsets of both sets, and its standard deviation from subset to subset.

    Args:
        real, fake: features (N, F) and (M, F).
        rng: draws the subsets, each without replacement.
        subsets: number of subsets.
        subset_size: vectors in a subset of either set; at most N and M are used.
    Raises:
        ConfigError: no subset, or a subset_size below 2.
        ShapeError, DTypeError, DataError: the arrays are not two sets of finite vectors of one length.
    """
    real, fake = vectors_pair(("real", "fake"), real, fake, least=2)
    check_count("subsets", subsets)
    check_count("subset_size", subset_size, least=2)
    size = min(subset_size, len(real), len(fake))
    values = [
        mmd(*(x[rng.choice(len(x), size, replace=False, shuffle=False)] for x in (real, fake))) for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(values)), float(np.std(values)))


def _kernel(x: FloatArray, y: FloatArray) -> FloatArray:
    base = x @ y.T
    base /= x.shape[1]
    base += 1
    cubes: FloatArray = base * base * base
    return cubes


def _within(x: FloatArray) -> float:
    """The mean of the kernel over pairs of different vectors."""
    k = _kernel(x, x)
    return float((k.sum() - np.trace(k)) / (len(x) * (len(x) - 1)))
