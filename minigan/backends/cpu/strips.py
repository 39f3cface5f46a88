"""Strips: neighboring numbers of a row in registers, with arithmetic, for passes over memory.

A pass takes a matrix strip by strip. What belongs to a strip's columns, such as sums over a block of rows, then stays
in registers, where LLVM's own vectors of a plain loop go through memory at each row. A kernel reads like the formula of
one number: `(x - mean) * scale` is that of STRIP_VECTORS vectors, as many as leave registers for a formula's other
operands. Beyond the matrix' last column nothing is read or written, and a strip is 0 there.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.datamodel.registry import register_default
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin

from minigan.backends.cpu.simd import (
    _INDEX,
    _broadcast,
    _is_half,
    _leaky,
    _load_lanes,
    _load_row,
    _multiply_add,
    _pointer,
    _store_lanes,
    _store_row,
    _vector,
    intrinsic,
    vector_lanes,
)

STRIP_VECTORS = 4


class Strip(types.Type):
    """STRIP_VECTORS vectors of a float type."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"Strip({dtype}, {STRIP_VECTORS} x {vector_lanes(dtype.bitwidth // 8)})")


@register_default(Strip)
class StripModel(models.PrimitiveModel):
    def __init__(self, manager, strip):
        super().__init__(manager, strip, ir.ArrayType(_vector(strip.dtype), STRIP_VECTORS))


def _arithmetic(dtype):
    """The type of an array's numbers in registers."""
    return types.float32 if _is_half(dtype) else dtype


def _vectors(builder, strip):
    return [builder.extract_value(strip, v) for v in range(strip.type.count)]


def _each(builder, function, *strips):
    """A strip of what the function makes of each vector."""
    vectors = zip(*(_vectors(builder, strip) for strip in strips), strict=True)
    return cgutils.pack_array(builder, [function(*each) for each in vectors])


@intrinsic
def strip_columns(_typing, array):
    """The numbers in a strip of an array's: a constant."""
    columns = STRIP_VECTORS * vector_lanes(_arithmetic(array.dtype).bitwidth // 8)

    def emit(_context, _builder, _signature, _arguments):
        return _INDEX(columns)

    return types.intp(array), emit


# ---------------------------------------------------------------------------------------------------- arithmetic


_OPERATORS = {operator.add: "fadd", operator.iadd: "fadd", operator.sub: "fsub", operator.mul: "fmul"}


class _OfStrips(AbstractTemplate):
    """Tells Numba that the result is a strip again."""

    def generic(self, operands, _keywords):
        first = operands[0]
        return signature(first, *operands) if isinstance(first, Strip) and set(operands) == {first} else None


def _lowering(instruction):
    def emit(_context, builder, _signature, arguments):
        return _each(builder, getattr(builder, instruction), *arguments)

    return emit


for _operator, _instruction in _OPERATORS.items():
    infer_global(_operator)(_OfStrips)
    lower_builtin(_operator, Strip, Strip)(_lowering(_instruction))


@intrinsic
def multiply_add(_typing, a, b, c):
    """a * b + c, rounded once: alike in every kernel, whatever else LLVM does there."""

    def emit(_context, builder, _signature, arguments):
        return _each(builder, lambda *vectors: _multiply_add(builder, *vectors), *arguments)

    return a(a, b, c), emit


@intrinsic
def leaky_strip(_typing, number, side, slope):
    """The number where `side` is positive, elsewhere `activation.weakened` of it: a LeakyReLU or its gradient."""

    def emit(_context, builder, _signature, arguments):
        number, side, slope = arguments
        factor = _broadcast(builder, number.type.element, slope)
        return _each(builder, lambda n, s: _leaky(builder, n, s, factor), number, side)

    return number(number, side, slope), emit


@intrinsic
def zero_strip(_typing, array):
    """Zeros to add an array's numbers to."""
    strip = Strip(_arithmetic(array.dtype))

    def emit(context, _builder, _signature, _arguments):
        return ir.Constant(context.get_value_type(strip), None)

    return strip(array), emit


# ---------------------------------------------------------------------------------------------------- memory


def _is_whole(builder, dtype, count):
    return builder.icmp_signed(">=", count, ir.Constant(_INDEX, STRIP_VECTORS * _vector(dtype).count))


@intrinsic
def load_strip(_typing, array, index, count):
    """array[index : index + count], all of a strip if count exceeds it."""
    strip = Strip(_arithmetic(array.dtype))

    def emit(context, builder, signature, arguments):
        array, index, count = arguments
        dtype = signature.args[0].dtype
        pointer = _pointer(context, builder, signature.args[0], array, index)
        with builder.if_else(_is_whole(builder, strip.dtype, count)) as (whole, part):
            with whole:
                all_lanes = cgutils.pack_array(builder, _load_row(builder, dtype, pointer, STRIP_VECTORS))
                whole_end = builder.block
            with part:
                some_lanes = cgutils.pack_array(builder, _load_lanes(builder, dtype, pointer, count, STRIP_VECTORS))
                part_end = builder.block
        loaded = builder.phi(all_lanes.type)
        loaded.add_incoming(all_lanes, whole_end)
        loaded.add_incoming(some_lanes, part_end)
        return loaded

    return strip(array, index, count), emit


@intrinsic
def store_strip(_typing, strip, array, index, count):
    """array[index : index + count] = strip[:count], all of it if count exceeds a strip."""

    def emit(context, builder, signature, arguments):
        strip, array, index, count = arguments
        dtype = signature.args[1].dtype
        pointer, vectors = _pointer(context, builder, signature.args[1], array, index), _vectors(builder, strip)
        with builder.if_else(_is_whole(builder, signature.args[0].dtype, count)) as (whole, part):
            with whole:
                _store_row(builder, dtype, pointer, vectors)
            with part:
                _store_lanes(builder, dtype, pointer, vectors, count)
        return context.get_dummy_value()

    return types.void(strip, array, index, count), emit
