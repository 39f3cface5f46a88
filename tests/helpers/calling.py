"""Calling a kernel from a test, with the rules that hold for all of them checked on every call."""

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from minigan.backends import Backend
from minigan.backends.geometry import ConvGeometry

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
# A little over one rounding error for each doubling of a sum's length, at the lengths of these tests.
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}

seeds = st.integers(0, 2**32 - 1)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def draws(seed: int, dtype: Any, *shapes: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """One array of standard normal numbers for each shape."""
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


def assert_close(actual: np.ndarray, expected: np.ndarray, *, tolerance: float | None = None) -> None:
    """Equal up to the rounding of actual's dtype, measured against the largest number of expected.

    Against the largest one, because a sum that happens to cancel keeps the rounding error of its terms.
    """
    assert actual.shape == expected.shape
    if expected.size == 0:
        return
    tolerance = TOLERANCE[actual.dtype] if tolerance is None else tolerance
    expected = np.asarray(expected, dtype=np.float64)
    error = np.abs(actual - expected).max()
    scale = max(np.abs(expected).max(), 1.0)
    assert error <= tolerance * scale, f"off by {error:.3e}, allowed {tolerance * scale:.3e}"


def assert_same_bits(actual: Any, expected: Any) -> None:
    """The same numbers to the last bit, NaN included; None equals None, tuples go item by item."""
    assert type(actual) is type(expected)
    if isinstance(actual, tuple):
        for one, other in zip(actual, expected, strict=True):
            assert_same_bits(one, other)
    elif actual is not None:
        assert actual.dtype == expected.dtype
        assert actual.tobytes() == expected.tobytes()


def to_backend(backend: Backend, value: Any) -> Any:
    """A fresh copy of each host array on the backend; other values as they are."""
    if isinstance(value, np.ndarray):
        return backend.asarray(value.copy())
    if isinstance(value, tuple) and not isinstance(value, ConvGeometry):
        return tuple(to_backend(backend, item) for item in value)
    return value


def to_host(backend: Backend, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(to_host(backend, item) for item in value)
    return value if value is None else np.array(backend.to_numpy(value))


def flat(values: Any) -> list[Any]:
    """All arrays in a tuple of arrays, tuples and other values."""
    if isinstance(values, tuple):
        return [array for item in values for array in flat(item)]
    return [values] if hasattr(values, "dtype") and hasattr(values, "flags") else []


def call(backend: Backend, kernel: str, *args: Any, **options: Any) -> Any:
    """The kernel's result as NumPy arrays; `(result, add_to)` when an array to add to is given.

    Checks that inputs stay as they are and that outputs are C-contiguous, of the inputs' dtype and share no
    memory with the inputs.
    """
    arguments = tuple(to_backend(backend, a) for a in args)
    settings = {key: to_backend(backend, value) for key, value in options.items()}
    add_to = settings.get("add_to")
    inputs = flat(arguments) + flat(tuple(v for key, v in settings.items() if key != "add_to"))
    before = [backend.to_numpy(array).tobytes() for array in inputs]

    result = getattr(backend, kernel)(*arguments, **settings)

    for array, bits in zip(inputs, before, strict=True):
        assert backend.to_numpy(array).tobytes() == bits, f"{kernel} changed an input"
    for output in flat(result if isinstance(result, tuple) else (result,)):
        assert output.flags.c_contiguous, f"{kernel} returned an array that is not C-contiguous"
        assert output.dtype == inputs[0].dtype, f"{kernel} of {inputs[0].dtype} returned {output.dtype}"
        for array in inputs:
            assert not backend.xp.may_share_memory(output, array), f"{kernel} returned a view of an input"
    if add_to is None:
        return to_host(backend, result)
    return to_host(backend, result), to_host(backend, add_to)


def widen(value: Any) -> Any:
    """Arrays in float64; tuples item by item; other values as they are."""
    if isinstance(value, tuple):
        return tuple(widen(item) for item in value)
    return value.astype(np.float64) if isinstance(value, np.ndarray) else value


def assert_agree(
    backend: Backend, reference: Backend, kernel: str, *args: Any, tolerance: float | None = None, **options: Any
) -> None:
    """The backend's results are those that the reference computes from the same numbers in float64."""
    actual = flat((call(backend, kernel, *args, **options),))
    expected = flat((call(reference, kernel, *widen(args), **{k: widen(v) for k, v in options.items()}),))
    for one, other in zip(actual, expected, strict=True):
        assert_close(one, other, tolerance=tolerance)


def update(backend: Backend, kernel: str, *args: np.ndarray, **options: Any) -> tuple[np.ndarray, ...]:
    """Runs an in-place step `(w, dw, state...)` or `(x,)`: all arrays afterwards, and dw is as it was."""
    arguments = tuple(to_backend(backend, a) for a in args)
    assert getattr(backend, kernel)(*arguments, **options) is None
    for after, before in zip(arguments[1:2], args[1:2], strict=True):
        assert backend.to_numpy(after).tobytes() == before.tobytes(), f"{kernel} changed dw"
    return to_host(backend, arguments)


@st.composite
def geometries(draw: st.DrawFn, *, largest: int = 7, deepest: int = 3, most_groups: int = 3) -> ConvGeometry:
    """Any convolution: non-square images, filters, strides and paddings, asymmetric ones and ones wider than
    the filter included, filters smaller than the stride too; in groups, each with as many channels as `deepest`."""
    groups = draw(st.integers(1, most_groups))
    R, S = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pads = st.integers(0, 4)
    padding = draw(st.tuples(st.tuples(pads, pads), st.tuples(pads, pads)))
    H = draw(st.integers(max(1, R - sum(padding[0])), max(largest, R)))
    W = draw(st.integers(max(1, S - sum(padding[1])), max(largest, S)))
    C, K = draw(st.integers(1, deepest)), draw(st.integers(1, deepest))
    return ConvGeometry(H, W, C * groups, K * groups, R, S, stride, padding, groups)
