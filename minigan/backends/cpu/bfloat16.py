"""Activations in bfloat16: the dtype, conversion, and how kernels that know float32 alone take it."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minigan.backends.base import KERNELS, Array, Kernel, expect
from minigan.backends.cpu.engine import Engine, flat
from minigan.backends.cpu.halves import load, store
from minigan.backends.cpu.jit import kernel
from minigan.errors import MissingExtraError

FLOAT32 = np.dtype(np.float32)

# Kernels whose later results are a mean and a variance, not activations.
WITH_STATISTICS = frozenset({"batchnorm", "batchnorm_leaky_relu", "group_norm"})


def bfloat16() -> np.dtype[Any]:
    """NumPy's dtype.

    Raises:
        MissingExtraError: ml_dtypes is not installed.
    """
    try:
        import ml_dtypes
    except ImportError:
        purpose = '`precision="bf16"` on the cpu backend'
        raise MissingExtraError.of(package="ml_dtypes", extra="numba", purpose=purpose) from None
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def takes_bfloat16(method: Kernel) -> Kernel:
    """Marks a kernel that takes activations in bfloat16, and returns such, by itself."""
    method.takes_bfloat16 = True  # type: ignore[attr-defined]
    return method


def is_bfloat16(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "V" and value.dtype.name == "bfloat16"


def bits(array: Array) -> Array:
    """The array as compiled kernels see it: bfloat16 as uint16."""
    return array.view(np.uint16) if is_bfloat16(array) else array


def flat_bits(array: Array) -> Array:
    """The array as one row for compiled kernels."""
    return bits(flat(array))


@kernel
def convert(part, parts, x, y):
    first, last = len(x) * part // parts, len(x) * (part + 1) // parts
    x, y = x[first:last], y[first:last]
    for i in range(len(x)):
        store(y, i, load(x, i))


@kernel
def sum_of_two(part, parts, a, b, y):
    first, last = len(a) * part // parts, len(a) * (part + 1) // parts
    a, b, y = a[first:last], b[first:last], y[first:last]
    for i in range(len(a)):
        store(y, i, load(a, i) + load(b, i))


@kernel
def product_of_two(part, parts, a, b, y):
    first, last = len(a) * part // parts, len(a) * (part + 1) // parts
    a, b, y = a[first:last], b[first:last], y[first:last]
    for i in range(len(a)):
        store(y, i, load(a, i) * load(b, i))


class NarrowArrays(Engine):
    """Arrays of float32 and bfloat16, and passes over both."""

    def cast(self, array: Array, dtype: np.dtype[Any]) -> Array:
        if array.dtype == dtype:
            return array
        if {array.dtype.itemsize, dtype.itemsize} != {2, 4}:
            return array.astype(dtype)
        y = self.empty(array.shape, dtype)
        self.team.run(convert, flat_bits(array), flat_bits(y), parts=self.parts(array.size))
        return y

    def add(self, a: Array, b: Array, *, out: Array | None = None) -> Array:
        return self._joined(sum_of_two, a, b, self.empty(a.shape, a.dtype) if out is None else out)

    def multiply(self, a: Array, b: Array) -> Array:
        return self._joined(product_of_two, a, b, self.empty(a.shape, a.dtype))

    def _joined(self, pass_over: Callable[..., None], a: Array, b: Array, y: Array) -> Array:
        expect("b", b, a.shape, b.dtype)
        self.team.run(pass_over, flat_bits(a), flat_bits(b), flat_bits(y), parts=self.parts(a.size))
        return y


def widening(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that knows float32 alone, for activations in bfloat16: they are widened for it, its results narrowed."""

    @functools.wraps(method)
    def run(self: Any, *arguments: Any, **settings: Any) -> Any:
        narrow = next((a.dtype for a in (*arguments, *settings.values()) if is_bfloat16(a)), None)
        if narrow is None:
            return method(self, *arguments, **settings)

        def wide(value: Any) -> Any:
            return self.cast(value, FLOAT32) if is_bfloat16(value) else value

        found = method(self, *map(wide, arguments), **{key: wide(value) for key, value in settings.items()})
        if isinstance(found, tuple):
            activations = 1 if name in WITH_STATISTICS else len(found)
            return *(self.cast(y, narrow) for y in found[:activations]), *found[activations:]
        return found if found is None or found is settings.get("add_to") else self.cast(found, narrow)

    return run


def widened_kernels(backend: type) -> dict[str, Callable[..., Any]]:
    """Kernels by name, around those of a class that do not take bfloat16 by themselves."""
    methods = {name: getattr(backend, name) for name in KERNELS}
    return {n: widening(n, method) for n, method in methods.items() if not getattr(method, "takes_bfloat16", False)}
