"""bfloat16 numbers: float32 without the lower 16 bits, half the memory, and two products for one on some processors.

A processor multiplies them in pairs: a lane of a vector holds two neighbors along the depth of a product, and their
products are added to one float32 sum. So a factor is packed in blocks of 32 of depth by 32 columns,

    block[half][pair][column][2]        half: columns 0-15 or 16-31; pair: of 16, two neighbors along the depth

and the other factor is rows of 32 along the depth. The functions here read float32 or bfloat16 (as uint16, which is all
that NumPy and LLVM need to know of it) and write one or the other. Rounding is to the nearest, halves to even, which
keeps infinities and NaN; numbers too small for a normalized one become 0.

**Three products for float32 digits.** x = high + low, both bfloat16, leaves an error of 2^-17 of x. Of the four
products of two such sums the one of the low parts is as small as that error and left out. `Unit.products` says whether
a function packs the low parts too: they lie `low` numbers after the high ones.

Sources: Intel, "BFLOAT16 - Hardware Numerics Definition", 2018; Henry, Tang & Heinecke 2019, "Leveraging the bfloat16
artificial intelligence datatype for higher-precision computations", section II.
"""

from llvmlite import ir
from numba import types

from minigan.backends.cpu.simd import (
    _INDEX,
    _INT32,
    BFloat,
    _broadcast,
    _call,
    _leaky,
    _mask,
    _masked_load,
    _masked_store,
    _pointer,
    _shuffle,
    _transposed,
    intrinsic,
    rounded,
    widened,
)
from minigan.backends.cpu.target import FEATURES

DEPTH = 32  # numbers in a row of a tile, and in a block's depth
SIDE = 32  # rows of a result's block, and its columns
BLOCK = DEPTH * SIDE  # numbers of a packed block
LANES = 16  # float32 numbers of a vector

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_WORDS = ir.VectorType(_INT32, LANES)
_PAIRS = ir.VectorType(ir.IntType(16), 2 * LANES)
BFLOATS = ir.VectorType(BFloat(), 2 * LANES)

# Two vectors of 32 numbers, a and b, to pairs (a[j], b[j]) of the first 16 and of the last.
_FIRST_PAIRS = [i // 2 + 32 * (i % 2) for i in range(32)]
_LAST_PAIRS = [16 + lane for lane in _FIRST_PAIRS]


def _narrow(builder, first, last):
    """Two vectors of 16 floats, as 32 rounded numbers of 16 bits."""
    if "avx512bf16" in FEATURES:
        narrow = _call(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", BFLOATS, [last, first])
        return builder.bitcast(narrow, _PAIRS)
    return _shuffle(builder, rounded(builder, first), rounded(builder, last), list(range(2 * LANES)))


def _widen(builder, numbers):
    """32 numbers of 16 bits, as two vectors of 16 floats."""
    halves = (_shuffle(builder, numbers, numbers, list(range(first, first + LANES))) for first in (0, LANES))
    return [widened(builder, half) for half in halves]


def _is_wide(array_type):
    return array_type.dtype == types.float32


def _moved(builder, pointer, offset):
    return builder.gep(pointer, [offset if isinstance(offset, ir.Value) else ir.Constant(_INDEX, offset)])


def _address(builder, vector_type, pointer, offset=0):
    """Where a vector lies, `offset` numbers behind a number's address."""
    return builder.bitcast(_moved(builder, pointer, offset), vector_type.as_pointer())


def _load(builder, array_type, pointer, count):
    """32 numbers as floats (two vectors) or as they are (one), zeros after the first `count`."""
    if not _is_wide(array_type):
        return [_masked_load(builder, _PAIRS, _address(builder, _PAIRS, pointer), _mask(builder, count, 2 * LANES))]
    return [
        _masked_load(builder, _FLOATS, _address(builder, _FLOATS, pointer, first), _mask(builder, count, LANES, first))
        for first in (0, LANES)
    ]


def _parts(builder, unit, vectors):
    """The high parts of 32 loaded numbers, and their low ones if the unit wants them."""
    if len(vectors) == 1:
        return [vectors[0]] if unit.value.products == 1 else [vectors[0], ir.Constant(_PAIRS, None)]
    high = _narrow(builder, *vectors)
    if unit.value.products == 1:
        return [high]
    rest = [builder.fsub(number, part) for number, part in zip(vectors, _widen(builder, high), strict=True)]
    return [high, _narrow(builder, *rest)]


def _store(builder, pointer, vector):
    builder.store(vector, _address(builder, vector.type, pointer), align=2)


def _rows(context, builder, signature, arguments, number):
    """The parts of `number` rows of 32 numbers, of an intrinsic with these last arguments:

        source, index, step, rows, count     row m is source[index + m * step : ... + count]; those from `rows` on are 0

    Where nothing is read, an address is another's: a processor takes hundreds of clocks for a masked load of memory
    that a process does not have, though it loads none of it.
    """
    (unit, *_), array_type = signature.args, signature.args[-5]
    source, index, step, rows, count = arguments[-5:]
    nothing = ir.Constant(_INDEX, 0)
    least = builder.select(builder.icmp_signed("<", rows, count), rows, count)
    index = builder.select(builder.icmp_signed(">", least, nothing), index, nothing)
    pointer, parts = _pointer(context, builder, array_type, source, index), []
    for m in range(number):
        there = builder.icmp_signed("<", ir.Constant(_INDEX, m), rows)
        row = builder.select(there, builder.mul(step, ir.Constant(_INDEX, m)), nothing)
        here = builder.select(there, count, nothing)
        parts.append(_parts(builder, unit, _load(builder, array_type, _moved(builder, pointer, row), here)))
    return list(zip(*parts, strict=True))


# ---------------------------------------------------------------------------------------------------- intrinsics


@intrinsic
def take_row(_typing, unit, to, at, low, source, index, count):
    """to[at : at + 32] = source[index : index + count], rounded, then zeros."""

    def emit(context, builder, signature, arguments):
        _, to, at, low, source, index, count = arguments
        pointer = _pointer(context, builder, signature.args[4], source, index)
        place = _pointer(context, builder, signature.args[1], to, at)
        for part in _parts(builder, signature.args[0], _load(builder, signature.args[4], pointer, count)):
            _store(builder, place, part)
            place = _moved(builder, place, low)
        return context.get_dummy_value()

    return types.void(unit, to, at, low, source, index, count), emit


@intrinsic
def keep_row(_typing, unit, source, index, to, at, low, count):
    """take_row without the zeros: what follows in `to` stays."""

    def emit(context, builder, signature, arguments):
        _, source, index, to, at, low, count = arguments
        pointer = _pointer(context, builder, signature.args[1], source, index)
        place = _pointer(context, builder, signature.args[3], to, at)
        for part in _parts(builder, signature.args[0], _load(builder, signature.args[1], pointer, count)):
            _masked_store(builder, part, _address(builder, _PAIRS, place), _mask(builder, count, 2 * LANES))
            place = _moved(builder, place, low)
        return context.get_dummy_value()

    return types.void(unit, source, index, to, at, low, count), emit


@intrinsic
def pair_rows(_typing, unit, to, at, low, source, index, step, rows, count):
    """One pair of a packed block: the first `count` numbers of the rows at source[index] and source[index + step].

    Args:
        rows: how many of the two there are; what is not there is 0.
    """

    def emit(context, builder, signature, arguments):
        _, to, at, low, *_ = arguments
        place = _pointer(context, builder, signature.args[1], to, at)
        for first, second in _rows(context, builder, signature, arguments, 2):
            _store(builder, place, _shuffle(builder, first, second, _FIRST_PAIRS))
            _store(builder, _moved(builder, place, BLOCK // 2), _shuffle(builder, first, second, _LAST_PAIRS))
            place = _moved(builder, place, low)
        return context.get_dummy_value()

    return types.void(unit, to, at, low, source, index, step, rows, count), emit


@intrinsic
def turn_half(_typing, unit, to, at, low, source, index, step, rows, count):
    """Half a packed block from a transposed matrix: column j is source[index + j * step : ... + count], j < rows."""

    def emit(context, builder, signature, arguments):
        _, to, at, low, *_ = arguments
        place = _pointer(context, builder, signature.args[1], to, at)
        for part in _rows(context, builder, signature, arguments, LANES):
            words = [builder.bitcast(row, _WORDS) for row in part]
            for i, vector in enumerate(_transposed(builder, words)):
                _store(builder, _moved(builder, place, i * DEPTH), vector)
            place = _moved(builder, place, low)
        return context.get_dummy_value()

    return types.void(unit, to, at, low, source, index, step, rows, count), emit


@intrinsic
def turn_rows(_typing, unit, to, at, low, source, index, step, rows, count):
    """32 rows of 32 along the depth, from a transposed matrix: to[at + c * 32 + m] = source[index + m * step + c].

    Args:
        rows, count: how many m and c there are; what is not there is 0.
    """

    def emit(context, builder, signature, arguments):
        _, to, at, low, *_ = arguments
        place = _pointer(context, builder, signature.args[1], to, at)
        for part in _rows(context, builder, signature, arguments, DEPTH):
            for half, lanes in enumerate((_FIRST_PAIRS, _LAST_PAIRS)):
                pairs = [_shuffle(builder, part[m], part[m + 1], lanes) for m in range(0, DEPTH, 2)]
                words = [builder.bitcast(each, _WORDS) for each in pairs]
                for c, vector in enumerate(_transposed(builder, words)):
                    _store(builder, _moved(builder, place, (half * LANES + c) * DEPTH), vector)
            place = _moved(builder, place, low)
        return context.get_dummy_value()

    return types.void(unit, to, at, low, source, index, step, rows, count), emit


@intrinsic
def put_sums(_typing, y, at, sums, index, bias, bias_at, slope, count):
    """y[at : at + count] = sums[index :] + bias[bias_at :], through a LeakyReLU, in y's type; 32 numbers at most."""

    def emit(context, builder, signature, arguments):
        y, at, sums, index, bias, bias_at, slope, count = arguments
        everything, factor = ir.Constant(_INDEX, SIDE), _broadcast(builder, _FLOATS, slope)
        row, start = (
            _load(builder, kind, _pointer(context, builder, kind, array, place), everything)
            for kind, array, place in ((signature.args[2], sums, index), (signature.args[4], bias, bias_at))
        )
        totals = [builder.fadd(a, b) for a, b in zip(row, start, strict=True)]
        totals = [_leaky(builder, total, total, factor) for total in totals]
        _put(builder, signature.args[0], _pointer(context, builder, signature.args[0], y, at), totals, count)
        return context.get_dummy_value()

    return types.void(y, at, sums, index, bias, bias_at, slope, count), emit


@intrinsic
def add_sums(_typing, y, at, sums, index, count):
    """y[at : at + count] += sums[index :], of 32 numbers at most; float32."""

    def emit(context, builder, signature, arguments):
        y, at, sums, index, count = arguments
        pointer = _pointer(context, builder, signature.args[0], y, at)
        old = _load(builder, signature.args[0], pointer, count)
        new = _load(
            builder,
            signature.args[2],
            _pointer(context, builder, signature.args[2], sums, index),
            ir.Constant(_INDEX, SIDE),
        )
        totals = [builder.fadd(a, b) for a, b in zip(old, new, strict=True)]
        _put(builder, signature.args[0], pointer, totals, count)
        return context.get_dummy_value()

    return types.void(y, at, sums, index, count), emit


def _put(builder, array_type, pointer, vectors, count):
    """Stores the first `count` of two vectors of floats, in the array's type."""
    if not _is_wide(array_type):
        narrow = _narrow(builder, *vectors)
        _masked_store(builder, narrow, _address(builder, _PAIRS, pointer), _mask(builder, count, 2 * LANES))
        return
    for first, vector in zip((0, LANES), vectors, strict=True):
        place = _address(builder, _FLOATS, pointer, first)
        _masked_store(builder, vector, place, _mask(builder, count, LANES, first))
