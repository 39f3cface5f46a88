"""Euclidean distances between many vectors, computed in blocks so that the whole matrix is never in memory."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from minigan.evaluation.metrics.checks import FloatArray, check_count, vectors, vectors_pair

__all__ = ["distance_blocks", "inside", "kth_nearest", "nearest"]

IndexArray = npt.NDArray[np.intp]

BLOCK = 2**21  # distances in a block: 16 MB, which the next block reuses
FEW = 2**17  # numbers of the vectors that are subtracted from each other at a time: 1 MB
BORDER = 1e-8  # share of a radius that rounding may add or take, where distances have kept half of their digits
NEAR = 1e-6  # share of |x|² + |y|² below which |x - y|² has lost more than half of its digits


def distance_blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, FloatArray]]:
    """Yields the matrix of distances |x_i - y_j| in blocks of rows.

    Both sets are first shifted by their common mean. This changes no distance, and |x|² + |y|² - 2 x·y then loses fewer
    digits. Where the vectors are so near to each other that it would still lose many, the distance is the norm of their
    difference: that of copies is exactly 0.

    Args:
        x, y: (N, F) and (M, F).
    Returns:
        An iterator over slices of x's rows with their distances to all of y, float64 (rows, M).
    Raises:
        ShapeError, DTypeError, DataError: the arrays are not two sets of finite vectors of one length.
    """
    given_x, given_y = vectors_pair(("x", "y"), x, y)
    x, y = given_x, given_y
    center = (x.sum(axis=0) + y.sum(axis=0)) / (len(x) + len(y))
    x, y = x - center, y - center
    y_squares = np.einsum("jf,jf->j", y, y)
    y *= -2
    rows = max(1, BLOCK // len(y))
    for start in range(0, len(x), rows):
        part = slice(start, min(start + rows, len(x)))
        squares = x[part] @ y.T  # -2 x·y
        lengths = np.einsum("if,if->i", x[part], x[part])[:, None] + y_squares
        squares += lengths
        near = np.nonzero(squares <= NEAR * lengths)
        if near[0].size:
            squares[near] = _squared_differences(given_x[part], given_y, *near)
        yield part, np.sqrt(squares, out=squares)


def _squared_differences(x: FloatArray, y: FloatArray, rows: IndexArray, columns: IndexArray) -> FloatArray:
    """|x_i - y_j|² of pairs of rows, by their difference; for pairs of copies only once.

    Where a generator draws a few images again and again, nearly all pairs are of copies.
    """
    pairs, copies = np.unique(_first_copies(x)[rows] * len(y) + _first_copies(y)[columns], return_inverse=True)
    rows, columns = np.divmod(pairs, len(y))
    squares = np.empty(len(rows))
    step = max(1, FEW // x.shape[1])
    for start in range(0, len(rows), step):
        here = slice(start, start + step)
        difference = x[rows[here]] - y[columns[here]]
        squares[here] = np.einsum("pf,pf->p", difference, difference)
    return squares[copies]


def _first_copies(x: FloatArray) -> IndexArray:
    """For each row the index of the first row with the same bits."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(row.tobytes(), index) for index, row in enumerate(x)], dtype=np.intp)


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
        rows = np.arange(len(block))
        block[rows, rows + part.start] = np.inf  # no neighbor of itself
        columns = np.argpartition(block, k - 1, axis=1)[:, k - 1]
        result[part] = np.sqrt(_squared_differences(x[part], x, rows, columns))
    return result


def inside(block: FloatArray, radius: FloatArray, x: FloatArray, y: FloatArray) -> npt.NDArray[np.bool_]:
    """Tells which of a block's distances reach no farther than a radius.

    Those next to the radius are computed once more as the norm of a difference, so that a vector on the border, such as
    a copy, is inside, and nothing beyond it.

    Args:
        block: distances of x and y, (N, M); those next to the radius become more accurate.
        radius: one a row (N, 1) or one a column (M,), from `kth_nearest`.
        x, y: (N, F) and (M, F).
    Returns:
        bool (N, M).
    """
    near = np.nonzero(np.abs(block - radius) <= BORDER * radius)
    if near[0].size:
        block[near] = np.sqrt(_squared_differences(x, y, *near))
    within: npt.NDArray[np.bool_] = block <= radius
    return within


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
        if k == 1:  # far quicker, for few vectors above all
            indices[part, 0] = block.argmin(axis=1)
            distances[part, 0] = block.min(axis=1)
            continue
        found = np.argpartition(block, k - 1, axis=1)[:, :k]
        near = np.take_along_axis(block, found, axis=1)
        order = np.argsort(near, axis=1, kind="stable")
        indices[part] = np.take_along_axis(found, order, axis=1)
        distances[part] = np.take_along_axis(near, order, axis=1)
    return indices, distances
