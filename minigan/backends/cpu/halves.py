"""Numbers in memory: float32, float64, or bfloat16, the upper half of a float32.

Numba knows no bfloat16; to kernels an array of it is one of uint16. A pass that reads with `load` and writes with
`store` is written once for all three. Its arithmetic is float32 where memory is bfloat16: a load moves the half to its
place, which is exact, and a store rounds to the nearest number, to the even one of two. Integer arithmetic does it, as
LLVM makes vectors of that. A number too large becomes infinite, NaN stays NaN, and denormals are rounded like others.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import overload

intrinsic: Any = numba_intrinsic  # what it returns is called from compiled code only, with other arguments

_HALF, _WORD, _FLOAT = ir.IntType(16), ir.IntType(32), ir.FloatType()


def _address(context, builder, array_type, array, index):
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def widened(builder, half):
    """A float of an i16."""
    return builder.bitcast(builder.shl(builder.zext(half, _WORD), _WORD(16)), _FLOAT)


def rounded(builder, number):
    """The i16 next to a float."""
    bits = builder.bitcast(number, _WORD)
    upper = builder.lshr(bits, _WORD(16))
    to_even = builder.add(_WORD(0x7FFF), builder.and_(upper, _WORD(1)))
    nearest = builder.lshr(builder.add(bits, to_even), _WORD(16))
    quiet = builder.or_(upper, _WORD(0x40))  # a NaN of lower bits alone would become infinite
    return builder.trunc(builder.select(builder.fcmp_unordered("uno", number, number), quiet, nearest), _HALF)


@intrinsic
def load(_typing, array, _index):
    """array[index] of a row."""
    is_half = array.dtype == types.uint16

    def emit(context, builder, signature, arguments):
        value = builder.load(_address(context, builder, signature.args[0], *arguments))
        return widened(builder, value) if is_half else value

    return (types.float32 if is_half else array.dtype)(array, types.intp), emit


@intrinsic
def store(_typing, array, _index, _value):
    """array[index] = value, in a row."""
    is_half = array.dtype == types.uint16
    number = types.float32 if is_half else array.dtype

    def emit(context, builder, signature, arguments):
        array, index, value = arguments
        to = _address(context, builder, signature.args[0], array, index)
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
