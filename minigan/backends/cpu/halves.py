"""Numbers in memory: float32, float64, or bfloat16, the upper half of a float32.

Numba knows no bfloat16; to kernels an array of it is one of uint16. A pass that reads with `load` and writes with
`store` is written once for all three. Its arithmetic is float32 where memory is bfloat16: a load moves the half to its
place, which is exact, and a store rounds to the nearest number, to the even one of two. Integer arithmetic does it, as
LLVM makes vectors of that. A number too large becomes infinite, NaN stays NaN, and denormals are rounded like others.
"""

import numpy as np
from numba import types
from numba.extending import overload

from minigan.backends.cpu.simd import _is_half, _pointer, intrinsic, rounded, widened


@intrinsic
def load(_typing, array, _index):
    """array[index] of a row."""
    is_half = _is_half(array.dtype)

    def emit(context, builder, signature, arguments):
        value = builder.load(_pointer(context, builder, signature.args[0], *arguments))
        return widened(builder, value) if is_half else value

    return (types.float32 if is_half else array.dtype)(array, types.intp), emit


@intrinsic
def store(_typing, array, _index, _value):
    """array[index] = value, in a row."""
    is_half = _is_half(array.dtype)
    number = types.float32 if is_half else array.dtype

    def emit(context, builder, signature, arguments):
        array, index, value = arguments
        to = _pointer(context, builder, signature.args[0], array, index)
        builder.store(rounded(builder, value) if is_half else value, to)
        return context.get_dummy_value()

    return types.void(array, types.intp, number), emit


def arithmetic(array):
    """The type of an array's numbers in registers."""
    return np.float32 if array.dtype == np.uint16 else array.dtype.type


@overload(arithmetic, inline="always")
def _arithmetic(array):
    if array.dtype == types.float64:
        return lambda array: np.float64  # noqa: ARG005
    return lambda array: np.float32  # noqa: ARG005


def widened_run(x, at, count, scratch):
    """An array and an index in it where x[at : at + count] is in single precision: x itself, or scratch."""
    raise NotImplementedError("for compiled code")


@overload(widened_run, inline="always")
def _widened_run(x, at, count, scratch):  # noqa: ARG001
    if not _is_half(x.dtype):
        return lambda x, at, count, scratch: (x, at)  # noqa: ARG005

    def widen(x, at, count, scratch):
        for i in range(count):
            scratch[i] = load(x, at + i)
        return scratch, at - at

    return widen
