"""Checks of the arrays that metrics are given, and their conversion to a type in which nothing overflows.

NumPy computes in the type of its arguments: 16 times a uint8 label of 16 is 0, and a sum of float16 ends at 65,504. So
a metric converts at its entrance.
"""

import numpy as np
import numpy.typing as npt

from minigan.errors import ConfigError, DataError, DTypeError, ShapeError

__all__ = [
    "FloatArray",
    "IntegerArray",
    "check_count",
    "images_pair",
    "integers",
    "numbers",
    "vectors",
    "vectors_pair",
    "wide",
]

FloatArray = npt.NDArray[np.float64]
IntegerArray = npt.NDArray[np.int64]


def wide(x: np.ndarray) -> np.ndarray:
    """x itself in single or double precision, and any other real numbers (integers, bool, float16) in double."""
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float64)


def numbers(name: str, x: np.ndarray) -> FloatArray:
    """Checks that x holds finite real numbers, and converts them to float64.

    Raises:
        DTypeError: its values are not real numbers.
        DataError: a number is not finite.
    """
    _check_numbers(name, x)
    return x.astype(np.float64, copy=False)


def integers(name: str, x: np.ndarray) -> IntegerArray:
    """Checks that x holds integers, such as labels, or truth values, and converts them to int64.

    Raises:
        DTypeError: it holds other values.
    """
    if x.dtype.kind not in "iub":
        raise DTypeError(f"{name}: expected integers, got {x.dtype}. Convert the array.")
    return x.astype(np.int64, copy=False)


def vectors(name: str, x: np.ndarray, *, least: int = 1) -> FloatArray:
    """Checks that x is a set of at least `least` finite vectors (N, F), and converts it to float64.

    Raises:
        ShapeError: it has other axes, or too few rows.
        DTypeError: its values are not real numbers.
        DataError: a number is not finite.
    """
    x = numbers(name, x)
    if x.ndim != 2 or not x.shape[1]:
        raise ShapeError(f"{name}: expected feature vectors (N, F), got {x.shape}. Flatten each example.")
    if len(x) < least:
        raise ShapeError(f"{name}: expected at least {least:,} examples, got {len(x):,}. Give more.")
    return x


def vectors_pair(
    names: tuple[str, str], x: np.ndarray, y: np.ndarray, *, least: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Checks two sets of vectors (N, F) and (M, F) as `vectors` does.

    Raises:
        ShapeError, DTypeError, DataError: they are not two sets of finite vectors of one length.
    """
    x, y = vectors(names[0], x, least=least), vectors(names[1], y, least=least)
    if x.shape[1] != y.shape[1]:
        raise ShapeError(
            f"expected {names[0]} and {names[1]} of the same length, got {x.shape[1]} and {y.shape[1]} features. "
            "Extract both with the same function."
        )
    return x, y


def images_pair(names: tuple[str, str], x: np.ndarray, y: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """Checks two batches of finite images (N, H, W, C) of one shape, and converts them to float64.

    Raises:
        ShapeError, DTypeError, DataError: the arrays are something else.
    """
    x, y = numbers(names[0], x), numbers(names[1], y)
    for name, images in zip(names, (x, y), strict=True):
        if images.ndim != 4 or 0 in images.shape:
            raise ShapeError(f"{name}: expected images (N, H, W, C), got {images.shape}. Add the missing axes.")
    if x.shape != y.shape:
        raise ShapeError(f"expected {names[0]} and {names[1]} of one shape, got {x.shape} and {y.shape}. Pair them.")
    return x, y


def check_count(name: str, value: int, *, least: int = 1, most: int | None = None) -> None:
    """Checks the range of a number.

    Raises:
        ConfigError: the value is out of range.
    """
    if value < least or (most is not None and value > most):
        limit = f"from {least:,} up" if most is None else f"from {least:,} to {most:,}"
        raise ConfigError(f"{name}: expected a whole number {limit}, got {value:,}. Choose another.")


def _check_numbers(name: str, x: np.ndarray) -> None:
    if x.dtype.kind not in "fiub":
        raise DTypeError(f"{name}: expected real numbers, got {x.dtype}. Convert the array.")
    if not np.isfinite(x).all():
        bad = int(np.count_nonzero(~np.isfinite(x)))
        raise DataError(
            f"{name}: expected finite numbers, found {bad:,} of {x.size:,} that are not. "
            "The generator has diverged: take an earlier checkpoint, or train again."
        )
