"""Euclidean distances between many vectors, computed in blocks so that the whole matrix is never in memory."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from minigan.evaluation.metrics.checks import FloatArray, check_count, vectors, vectors_pair

__all__ = ["distance_blocks", "kth_nearest", "nearest"]

IndexArray = npt.NDArray[np.intp]

BLOCK = 2**21  # distances in a block: 16 MB, which the next block reuses


def distance_blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, FloatArray]]:
    """Yields the matrix of distances |x_i - y_j| in blocks of rows.

    Both sets are first shifted by their common mean. This changes no distance, and |x|² + |y|² - 2 x·y then loses fewer
    digits.

    Args:
        x, y: (N, F) and (M, F).
    Returns:
        An iterator over slices of x's rows with their distances to all of y, float64 (rows, M).
    Raises:
        ShapeError, DTypeError, DataError: the arrays are not two sets of finite vectors of one length.
    """
    x, y = vectors_pair(("x", "y"), x, y)
    centre = (x.sum(axis=0) + y.sum(axis=0)) / (len(x) + len(y))
    x, y = x - centre, y - centre
    y_squares = np.einsum("jf,jf->j", y, y)
    y *= -2
    rows = max(1, BLOCK // len(y))
    for start in range(0, len(x), rows):
        part = slice(start, min(start + rows, len(x)))
        squares = x[part] @ y.T  # -2 x·y
        squares += np.einsum("if,if->i", x[part], x[part])[:, None]
        squares += y_squares
        yield part, np.sqrt(np.maximum(squares, 0, out=squares), out=squares)


def kth_nearest(x: np.ndarray, *, k: int) -> FloatArray:
    """Distance from each vector to the k-th nearest of the others.

    Args:
        x: (N, F), N > k.
        k: from 1 to N - 1.
    Returns:
        float64 (N,).
    Raises:
        ConfigError: k is not from 1 to N - 1.
        ShapeError, DTypeError, DataError: x is not a set of finite vectors.
    """
    x = vectors("x", x)
    check_count("k", k, most=len(x) - 1)
    result = np.empty(len(x))
    for part, block in distance_blocks(x, x):
        block[np.arange(len(block)), np.arange(part.start, part.stop)] = np.inf  # no neighbour of itself
        result[part] = np.partition(block, k - 1, axis=1)[:, k - 1]
    return result


def nearest(x: np.ndarray, y: np.ndarray, *, k: int = 1) -> tuple[IndexArray, FloatArray]:
    """Finds the k vectors of y nearest to each vector of x, nearest first.

    Args:
        x, y: (N, F) and (M, F), M >= k.
        k: from 1 to M.
    Returns:
        Indices into y (N, k), and distances float64 (N, k).
    Raises:
        ConfigError: k is not from 1 to M.
        ShapeError, DTypeError, DataError: the arrays are not two sets of finite vectors of one length.
    """
    check_count("k", k, most=len(y))
    indices, distances = np.empty((len(x), k), dtype=np.intp), np.empty((len(x), k))
    for part, block in distance_blocks(x, y):
        found = np.argpartition(block, k - 1, axis=1)[:, :k]
        near = np.take_along_axis(block, found, axis=1)
        order = np.argsort(near, axis=1, kind="stable")
        indices[part] = np.take_along_axis(found, order, axis=1)
        distances[part] = np.take_along_axis(near, order, axis=1)
    return indices, distances
