"""Explicit SIMD for Numba: a block of vector registers, and the few operations a matrix product needs.

LLVM vectorizes simple loops by itself, but it does not find the one arrangement that reaches a core's limit in a
matrix product: a block of the result kept in registers all along, updated by outer products. So that arrangement
is spelled out. `Tile` is a Numba type whose value is TILE_ROWS x TILE_VECTORS hardware vectors. Each function below
is an intrinsic: where a kernel calls it, Numba pastes the LLVM instructions that it emits.

            b: TILE_VECTORS vectors of one row of a packed panel
            +-----------+-----------+
     a[0] x | tile 0, 0 | tile 0, 1 |     `outer` loads the row of b once and each a once, and does
     a[1] x | tile 1, 0 | tile 1, 1 |     TILE_ROWS * TILE_VECTORS fused multiply-adds: with 8 x 2, 16 for
      ...   |    ...    |    ...    |     10 loads. Every CPU since 2013 does two of each in a cycle, so the
     a[7] x | tile 7, 0 | tile 7, 1 |     multiply-adds are what takes the time. That is the limit.
            +-----------+-----------+

A multiply-add's result is ready after four cycles; 16 independent ones keep two units busy for eight.

In memory a number may also be bfloat16, the upper half of a float32. Numba has no type for it, so an array of uint16
means that: what is loaded from it is a float, and what is stored is rounded to the nearest, halves to even.
"""

import os
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.datamodel.registry import register_default
from numba.extending import intrinsic as numba_intrinsic

from minigan.backends.cpu.target import FEATURES
from minigan.errors import ConfigError

intrinsic: Any = numba_intrinsic  # what it returns is called from compiled code only, with other arguments

IS_X86 = llvm.get_process_triple().startswith(("x86_64", "i386", "i686"))


def _vector_bytes() -> int:
    """The widest vectors that Numba compiles for, or MINIGAN_VECTOR_BYTES."""
    override = os.environ.get("MINIGAN_VECTOR_BYTES")
    if override:
        if override not in ("16", "32", "64"):
            raise ConfigError(f"MINIGAN_VECTOR_BYTES must be 16, 32 or 64, got {override!r}.")
        return int(override)
    if "avx512f" in FEATURES:
        return 64
    return 32 if "avx2" in FEATURES else 16


VECTOR_BYTES = _vector_bytes()
# 16 accumulators want 32 registers (AVX-512, NEON); with 16, 12 of them leave two for b, one for a.
TILE_ROWS = 8 if VECTOR_BYTES == 64 or not IS_X86 else 6
TILE_VECTORS = 2
HAS_FMA = not IS_X86 or "fma" in FEATURES  # without the instruction, LLVM's fma is a library call


def describe() -> str:
    names = {64: "AVX-512", 32: "AVX2", 16: "SSE"} if IS_X86 else {}
    return f"{names.get(VECTOR_BYTES, 'SIMD')} ({VECTOR_BYTES}-byte vectors)"


def vector_lanes(itemsize: int) -> int:
    return VECTOR_BYTES // itemsize


def tile_columns(itemsize: int) -> int:
    """The number of columns of the result that a tile holds; the width of a packed panel."""
    return TILE_VECTORS * vector_lanes(itemsize)


# ---------------------------------------------------------------------------------------------------- the type


class Tile(types.Type):
    """TILE_ROWS x TILE_VECTORS vectors of a float type; or narrow, with one vector a row."""

    def __init__(self, dtype, vectors=TILE_VECTORS):
        self.dtype = dtype
        self.vectors = vectors
        super().__init__(name=f"Tile({dtype}, {vectors} x {VECTOR_BYTES} bytes)")


def _vector(dtype):
    scalar = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
    return ir.VectorType(scalar, VECTOR_BYTES * 8 // dtype.bitwidth)


@register_default(Tile)
class TileModel(models.PrimitiveModel):
    """An LLVM array of vectors; as a local variable, LLVM splits it into registers."""

    def __init__(self, manager, tile):
        super().__init__(manager, tile, ir.ArrayType(_vector(tile.dtype), TILE_ROWS * tile.vectors))


class Vector(types.Type):
    """One vector of a float type."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype}, {VECTOR_BYTES} bytes)")


@register_default(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, _vector(vector.dtype))


# ---------------------------------------------------------------------------------------------------- emitters

_INDEX, _INT32, _INT16 = ir.IntType(64), ir.IntType(32), ir.IntType(16)


class BFloat(ir.Type):  # type: ignore[misc]
    """llvmlite has no bfloat, but its name is all that LLVM's text needs."""

    def _to_string(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, BFloat)

    def __hash__(self):
        return hash(BFloat)


def _pointer(context, builder, array_type, array, index):
    """The address of a flat array's element."""
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _call(builder, name, result, arguments):
    """Calls a function that LLVM knows by its name."""
    kind = ir.FunctionType(result, [each.type for each in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _alike(kind, scalar):
    """A type of these scalars, with as many lanes as another; no vector if that is none."""
    return ir.VectorType(scalar, kind.count) if isinstance(kind, ir.VectorType) else scalar


def _every(kind, value):
    return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)


def widened(builder, halves):
    """Floats from the bits of bfloat16 numbers, of a vector or of one."""
    words = _alike(halves.type, _INT32)
    bits = builder.shl(builder.zext(halves, words), _every(words, 16))
    return builder.bitcast(bits, _alike(words, ir.FloatType()))


def rounded(builder, floats):
    """The bits of the bfloat16 numbers next to floats, of a vector or of one; NaN stays NaN."""
    if "avx512bf16" in FEATURES and floats.type == ir.VectorType(ir.FloatType(), 16):
        narrow = _alike(floats.type, BFloat())
        narrow = _call(builder, "llvm.x86.avx512bf16.cvtneps2bf16.512", narrow, [floats])
        return builder.bitcast(narrow, _alike(floats.type, _INT16))
    words = _alike(floats.type, _INT32)

    def every(value):
        return _every(words, value)

    bits = builder.bitcast(floats, words)
    upper = builder.lshr(bits, every(16))
    to_even = builder.add(every(0x7FFF), builder.and_(upper, every(1)))
    nearest = builder.lshr(builder.add(bits, to_even), every(16))
    quiet = builder.or_(upper, every(0x40))  # a NaN of lower bits alone would become infinite
    upper = builder.select(builder.fcmp_unordered("uno", floats, floats), quiet, nearest)
    return builder.trunc(upper, _alike(words, _INT16))


def _is_half(dtype):
    return dtype == types.uint16


def _in_memory(dtype):
    """The type of a vector of an array's numbers as it lies in memory."""
    return ir.VectorType(_INT16, VECTOR_BYTES // 4) if _is_half(dtype) else _vector(dtype)


def _vector_pointer(builder, dtype, pointer, offset):
    moved = builder.gep(pointer, [ir.Constant(_INDEX, offset)])
    return builder.bitcast(moved, _in_memory(dtype).as_pointer())


def _loaded(builder, dtype, vector):
    return widened(builder, vector) if _is_half(dtype) else vector


def _stored(builder, dtype, vector):
    return rounded(builder, vector) if _is_half(dtype) else vector


def _load_row(builder, dtype, pointer, vectors=TILE_VECTORS):
    """A row of vectors from consecutive memory, aligned no better than its elements."""
    lanes = _in_memory(dtype).count
    return [
        _loaded(
            builder,
            dtype,
            builder.load(_vector_pointer(builder, dtype, pointer, v * lanes), align=dtype.bitwidth // 8),
        )
        for v in range(vectors)
    ]


def _store_row(builder, dtype, pointer, vectors):
    for v, vector in enumerate(vectors):
        address = _vector_pointer(builder, dtype, pointer, v * vector.type.count)
        builder.store(_stored(builder, dtype, vector), address, align=dtype.bitwidth // 8)


def _masks(builder, dtype, count, vectors):
    """Masks of the lanes that are among the first `count` numbers, one for each vector of a row."""
    lanes = _in_memory(dtype).count
    return [_mask(builder, count, lanes, v * lanes) for v in range(vectors)]


def _mask(builder, count, lanes, first=0):
    """The lanes whose number, from `first` on, is among the first `count`."""
    counts = _broadcast(builder, ir.VectorType(_INT32, lanes), builder.trunc(count, _INT32))
    return builder.icmp_signed("<", ir.Constant(counts.type, list(range(first, first + lanes))), counts)


def _element(vector_type):
    """LLVM's short name of a vector's numbers, and their bytes."""
    return {ir.FloatType(): ("f32", 4), ir.DoubleType(): ("f64", 8), _INT16: ("i16", 2)}[vector_type.element]


def _masked_load(builder, vector_type, pointer, mask):
    """The lanes of the mask, others 0."""
    name, size = _element(vector_type)
    arguments = [pointer, _INT32(size), mask, ir.Constant(vector_type, None)]
    return _call(builder, f"llvm.masked.load.v{vector_type.count}{name}.p0", vector_type, arguments)


def _masked_store(builder, vector, pointer, mask):
    name, size = _element(vector.type)
    arguments = [vector, pointer, _INT32(size), mask]
    _call(builder, f"llvm.masked.store.v{vector.type.count}{name}.p0", ir.VoidType(), arguments)


def _load_lanes(builder, dtype, pointer, count, vectors=TILE_VECTORS):
    """A row of which only the first `count` numbers may be read; the others are 0."""
    vector_type = _in_memory(dtype)
    row = []
    for v, mask in enumerate(_masks(builder, dtype, count, vectors)):
        address = _vector_pointer(builder, dtype, pointer, v * vector_type.count)
        row.append(_loaded(builder, dtype, _masked_load(builder, vector_type, address, mask)))
    return row


def _store_lanes(builder, dtype, pointer, vectors, count):
    for v, (mask, vector) in enumerate(zip(_masks(builder, dtype, count, len(vectors)), vectors, strict=True)):
        address = _vector_pointer(builder, dtype, pointer, v * vector.type.count)
        _masked_store(builder, _stored(builder, dtype, vector), address, mask)


def _broadcast(builder, vector_type, scalar):
    undefined = ir.Constant(vector_type, ir.Undefined)
    single = builder.insert_element(undefined, scalar, _INT32(0))
    zeros = ir.Constant(ir.VectorType(_INT32, vector_type.count), None)
    return builder.shuffle_vector(single, undefined, zeros)


def _shuffle(builder, a, b, mask):
    """The lanes of a and b, counted through, that the mask names."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INT32, len(mask)), mask))


def _multiply_add(builder, a, b, c):
    if not HAS_FMA:
        return builder.fadd(builder.fmul(a, b), c)
    suffix = "f32" if isinstance(a.type.element, ir.FloatType) else "f64"
    return _call(builder, f"llvm.fma.v{a.type.count}{suffix}", a.type, [a, b, c])


def _leaky(builder, number, side, slope):
    """The number where `side` is positive, else slope times it, but 0 where that is 0 times infinity."""
    zero = ir.Constant(number.type, None)
    weak = builder.fmul(slope, number)
    lost = builder.and_(builder.fcmp_ordered("ord", number, number), builder.fcmp_unordered("uno", weak, weak))
    weak = builder.select(lost, zero, weak)
    return builder.select(builder.fcmp_ordered(">", side, zero), number, weak)


def _opaque(builder, pointer):
    """The pointer, its origin hidden from the optimizer by an empty piece of assembly.

    Else LLVM unrolls the loop around and computes a pointer for every row and step in advance. They do not fit into
    the 16 address registers of an x86, and to set them up takes as long as a short run itself.
    """
    same = ir.FunctionType(pointer.type, [pointer.type])
    return builder.asm(same, "", "=r,0", [pointer], side_effect=False)


def _transposed(builder, rows):
    """As many vectors as each has lanes, transposed: log2(lanes) stages, each of one shuffle a vector.

    A shuffle within pieces of 16 bytes is the cheapest one of an x86, and one that moves whole pieces the next. So each
    square of numbers that fill a piece is transposed first, by interleaving, and then the square of pieces.
    """
    rows, lanes = list(rows), len(rows)
    size = {ir.FloatType(): 4, ir.DoubleType(): 8, _INT32: 4}[rows[0].type.element]
    piece, side = min(lanes, 16 // size), 1
    while side < piece:
        # Of two vectors, in each piece, the units of `side` numbers by turns: those of lower halves, then of upper.
        low = [
            first + unit * side + vector * lanes + number
            for first in range(0, lanes, piece)
            for unit in range(piece // side // 2)
            for vector in range(2)
            for number in range(side)
        ]
        high = [each + piece // 2 for each in low]
        for i in (i for i in range(lanes) if not i & side):
            a, b = rows[i], rows[i + side]
            rows[i], rows[i + side] = _shuffle(builder, a, b, low), _shuffle(builder, a, b, high)
        side *= 2
    bits = piece.bit_length() - 1
    order = [int(f"{i:0{bits}b}"[::-1], 2) if bits else 0 for i in range(piece)]
    rows = [rows[first + i] for first in range(0, lanes, piece) for i in order]
    pieces, columns = lanes // piece, [None] * lanes
    for i in range(piece):
        for j, vector in enumerate(_square_of_pieces(builder, rows[i::piece], pieces)):
            columns[j * piece + i] = vector
    return columns


def _square_of_pieces(builder, rows, pieces):
    """As many vectors as each has pieces, transposed; 1, 2 or 4."""
    if pieces == 1:
        return rows
    lanes = rows[0].type.count
    size = lanes // pieces

    def every_other(a, b, first):
        mask = [piece * size + number for piece in range(first, 2 * pieces, 2) for number in range(size)]
        return _shuffle(builder, a, b, mask)

    even, odd = ([every_other(a, b, first) for a, b in zip(rows[::2], rows[1::2], strict=True)] for first in (0, 1))
    if pieces == 2:
        return even + odd
    # Of the 4 pieces of 64 bytes, an even vector has the first and the third one of two rows.
    return [every_other(own[0], own[1], first) for first in (0, 1) for own in (even, odd)]


def _row(builder, tile, m):
    vectors = tile.type.count // TILE_ROWS
    return [builder.extract_value(tile, m * vectors + v) for v in range(vectors)]


# ---------------------------------------------------------------------------------------------------- intrinsics


@intrinsic
def tile_from_row(_typing, array, index):
    """A tile whose every row is array[index : index + columns]: a bias, or zeros, to start from."""

    def emit(context, builder, signature, arguments):
        dtype = signature.args[0].dtype
        row = _load_row(builder, dtype, _pointer(context, builder, signature.args[0], *arguments))
        return cgutils.pack_array(builder, row * TILE_ROWS)

    return Tile(array.dtype)(array, index), emit


@intrinsic
def narrow_tile_from_row(_typing, array, index):
    """tile_from_row for a narrow tile."""

    def emit(context, builder, signature, arguments):
        dtype = signature.args[0].dtype
        row = _load_row(builder, dtype, _pointer(context, builder, signature.args[0], *arguments), 1)
        return cgutils.pack_array(builder, row * TILE_ROWS)

    return Tile(array.dtype, 1)(array, index), emit


@intrinsic
def load_rows(_typing, table, index):
    """(table[index], ..., table[index + TILE_ROWS - 1]): where in a each row of a tile begins."""

    def emit(context, builder, signature, arguments):
        first = _pointer(context, builder, signature.args[0], *arguments)
        rows = [builder.load(builder.gep(first, [ir.Constant(_INDEX, m)])) for m in range(TILE_ROWS)]
        return cgutils.pack_array(builder, rows)

    return types.UniTuple(types.int64, TILE_ROWS)(table, index), emit


@intrinsic
def outer(_typing, tile, a, rows, a_index, b, b_index):
    """tile[m, :] + a[rows[m] + a_index] * b[b_index : b_index + columns], for every row m: the innermost step."""

    def emit(context, builder, signature, arguments):
        tile_type, a_type, _, _, b_type, _ = signature.args
        tile, a, rows, a_index, b, b_index = arguments
        vector_type = _vector(tile_type.dtype)
        b_row = _load_row(builder, b_type.dtype, _pointer(context, builder, b_type, b, b_index), tile_type.vectors)
        a_here = _opaque(builder, _pointer(context, builder, a_type, a, a_index))
        for m in range(TILE_ROWS):
            scalar = builder.load(builder.gep(a_here, [builder.extract_value(rows, m)]))
            a_m = _broadcast(builder, vector_type, scalar)
            for v in range(tile_type.vectors):
                register = m * tile_type.vectors + v
                updated = _multiply_add(builder, a_m, b_row[v], builder.extract_value(tile, register))
                tile = builder.insert_value(tile, updated, register)
        return tile

    return tile(tile, a, rows, a_index, b, b_index), emit


@intrinsic
def leaky_tile(_typing, tile, slope):
    """The tile through a LeakyReLU, with `weakened` of `activation.py` left of the kink."""

    def emit(_context, builder, _signature, arguments):
        tile, slope = arguments
        factor = _broadcast(builder, tile.type.element, slope)
        for register in range(tile.type.count):
            number = builder.extract_value(tile, register)
            tile = builder.insert_value(tile, _leaky(builder, number, number, factor), register)
        return tile

    return tile(tile, slope), emit


@intrinsic
def store_tile(_typing, tile, y, rows, index):
    """y[rows[m] + index : ... + columns] = tile[m, :], for every row m."""

    def emit(context, builder, signature, arguments):
        tile, y, rows, index = arguments
        here = _pointer(context, builder, signature.args[1], y, index)
        for m in range(TILE_ROWS):
            pointer = builder.gep(here, [builder.extract_value(rows, m)])
            _store_row(builder, signature.args[1].dtype, pointer, _row(builder, tile, m))
        return context.get_dummy_value()

    return types.void(tile, y, rows, index), emit


@intrinsic
def add_tile(_typing, tile, y, rows, index):
    """y[rows[m] + index : ... + columns] += tile[m, :], for every row m; rows must not overlap."""

    def emit(context, builder, signature, arguments):
        tile, y, rows, index = arguments
        dtype, vectors = signature.args[1].dtype, signature.args[0].vectors
        here = _pointer(context, builder, signature.args[1], y, index)
        for m in range(TILE_ROWS):
            pointer = builder.gep(here, [builder.extract_value(rows, m)])
            old = _load_row(builder, dtype, pointer, vectors)
            sums = [builder.fadd(a, b) for a, b in zip(old, _row(builder, tile, m), strict=True)]
            _store_row(builder, dtype, pointer, sums)
        return context.get_dummy_value()

    return types.void(tile, y, rows, index), emit


@intrinsic
def store_corner(_typing, tile, y, rows, index, count, width):
    """store_tile for the first `count` rows and `width` columns only."""

    def emit(context, builder, signature, arguments):
        tile, y, rows, index, count, width = arguments
        here = _pointer(context, builder, signature.args[1], y, index)
        for m in range(TILE_ROWS):
            with builder.if_then(builder.icmp_signed("<", ir.Constant(_INDEX, m), count)):
                pointer = builder.gep(here, [builder.extract_value(rows, m)])
                _store_lanes(builder, signature.args[1].dtype, pointer, _row(builder, tile, m), width)
        return context.get_dummy_value()

    return types.void(tile, y, rows, index, count, width), emit


@intrinsic
def add_corner(_typing, tile, y, rows, index, count, width):
    """add_tile for the first `count` rows and `width` columns only."""

    def emit(context, builder, signature, arguments):
        tile, y, rows, index, count, width = arguments
        dtype, vectors = signature.args[1].dtype, signature.args[0].vectors
        here = _pointer(context, builder, signature.args[1], y, index)
        for m in range(TILE_ROWS):
            with builder.if_then(builder.icmp_signed("<", ir.Constant(_INDEX, m), count)):
                pointer = builder.gep(here, [builder.extract_value(rows, m)])
                old = _load_lanes(builder, dtype, pointer, width, vectors)
                sums = [builder.fadd(a, b) for a, b in zip(old, _row(builder, tile, m), strict=True)]
                _store_lanes(builder, dtype, pointer, sums, width)
        return context.get_dummy_value()

    return types.void(tile, y, rows, index, count, width), emit


@intrinsic
def copy_row(_typing, to, to_index, source, index):
    """to[to_index : ... + columns] = source[index : ... + columns], one row of a tile."""

    def emit(context, builder, signature, arguments):
        to_type, _, source_type, _ = signature.args
        to, to_index, source, index = arguments
        row = _load_row(builder, source_type.dtype, _pointer(context, builder, source_type, source, index))
        _store_row(builder, to_type.dtype, _pointer(context, builder, to_type, to, to_index), row)
        return context.get_dummy_value()

    return types.void(to, to_index, source, index), emit


@intrinsic
def prefetch_row(_typing, array, index):
    """Asks for array[index : ... + columns] before it is needed; the index may lie beyond the array's end.

    For rows that lie far apart: the processor foresees only what is contiguous.
    """

    def emit(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], *arguments)
        pointer = builder.bitcast(pointer, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, _INT32, _INT32, _INT32])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        lanes = TILE_VECTORS * _in_memory(signature.args[0].dtype).count
        for first in range(0, lanes * signature.args[0].dtype.bitwidth // 8, 64):  # a cache line
            line = builder.gep(pointer, [ir.Constant(_INDEX, first)])
            builder.call(prefetch, [line, _INT32(0), _INT32(3), _INT32(1)])  # to read, into all caches, data
        return context.get_dummy_value()

    return types.void(array, index), emit


@intrinsic(prefer_literal=True)
def prefetch_lines(_typing, array, index, step, write):
    """Asks for the cache lines of array[index + i * step], one for each lane of a vector; the places may lie outside.

    Args:
        write: a literal, whether they are going to be written.
    """
    wanted = int(write.literal_value)

    def emit(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), _INT32, _INT32, _INT32])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for i in range(_vector(signature.args[0].dtype).count):
            line = builder.gep(pointer, [builder.mul(arguments[2], ir.Constant(_INDEX, i))])
            line = builder.bitcast(line, ir.IntType(8).as_pointer())
            builder.call(prefetch, [line, _INT32(wanted), _INT32(3), _INT32(1)])
        return context.get_dummy_value()

    return types.void(array, index, step, write), emit


@intrinsic
def take_lanes(_typing, to, to_index, source, index, count):
    """copy_row, if no more than `count` numbers are to be read; zeros take the others' place."""

    def emit(context, builder, signature, arguments):
        to_type, _, source_type, _, _ = signature.args
        to, to_index, source, index, count = arguments
        row = _load_lanes(builder, source_type.dtype, _pointer(context, builder, source_type, source, index), count)
        _store_row(builder, to_type.dtype, _pointer(context, builder, to_type, to, to_index), row)
        return context.get_dummy_value()

    return types.void(to, to_index, source, index, count), emit


@intrinsic
def put_sum(_typing, to, to_index, a, a_index, b, b_index, slope, count):
    """to[to_index : ... + count] = a[a_index : ... + count] + b[b_index : ... + count], through a LeakyReLU.

    A row of a tile at most; of a and b whole rows are read.
    """

    def emit(context, builder, signature, arguments):
        to_type, _, a_type, _, b_type, *_ = signature.args
        to, to_index, a, a_index, b, b_index, slope, count = arguments
        one = _load_row(builder, a_type.dtype, _pointer(context, builder, a_type, a, a_index))
        other = _load_row(builder, b_type.dtype, _pointer(context, builder, b_type, b, b_index))
        sums, factor = (
            [builder.fadd(x, y) for x, y in zip(one, other, strict=True)],
            _broadcast(builder, one[0].type, slope),
        )
        sums = [_leaky(builder, each, each, factor) for each in sums]
        _store_lanes(builder, to_type.dtype, _pointer(context, builder, to_type, to, to_index), sums, count)
        return context.get_dummy_value()

    return types.void(to, to_index, a, a_index, b, b_index, slope, count), emit


@intrinsic
def add_lanes(_typing, to, to_index, source, index, count):
    """to[to_index : to_index + count] += source[index : index + count], `count` being a row of a tile at most."""

    def emit(context, builder, signature, arguments):
        to_type, _, source_type, _, _ = signature.args
        to, to_index, source, index, count = arguments
        here = _pointer(context, builder, to_type, to, to_index)
        old = _load_lanes(builder, to_type.dtype, here, count)
        new = _load_row(builder, to_type.dtype, _pointer(context, builder, source_type, source, index))
        sums = [builder.fadd(a, b) for a, b in zip(old, new, strict=True)]
        _store_lanes(builder, to_type.dtype, here, sums, count)
        return context.get_dummy_value()

    return types.void(to, to_index, source, index, count), emit


@intrinsic
def load_vector(_typing, array, index):
    """array[index : index + lanes], in a register."""

    def emit(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], *arguments)
        return _load_row(builder, signature.args[0].dtype, pointer, 1)[0]

    return Vector(array.dtype)(array, index), emit


@intrinsic
def add_to_vector(_typing, vector, array, index, count):
    """vector + array[index : index + count], zeros in the place of what is missing; but all lanes are read."""

    def emit(context, builder, signature, arguments):
        vector, array, index, count = arguments
        (row,) = _load_row(
            builder, signature.args[0].dtype, _pointer(context, builder, signature.args[1], array, index), 1
        )
        (mask,) = _masks(builder, signature.args[0].dtype, count, 1)
        return builder.fadd(vector, builder.select(mask, row, ir.Constant(row.type, None)))

    return vector(vector, array, index, count), emit


@intrinsic
def put_vector(_typing, vector, slope, array, index, count):
    """array[index : index + count] = vector[:count] through a LeakyReLU, all of it if count exceeds its lanes."""

    def emit(context, builder, signature, arguments):
        vector, slope, array, index, count = arguments
        pointer = _pointer(context, builder, signature.args[2], array, index)
        vector = _leaky(builder, vector, vector, _broadcast(builder, vector.type, slope))
        _store_lanes(builder, signature.args[2].dtype, pointer, [vector], count)
        return context.get_dummy_value()

    return types.void(vector, slope, array, index, count), emit


@intrinsic
def transpose_square(_typing, to, to_index, to_row, source, index, row):
    """to[to_index + i * to_row + j] = source[index + j * row + i] for i, j < the lanes of a vector, in registers."""

    def emit(context, builder, signature, arguments):
        to_type, source_type = signature.args[0], signature.args[3]
        to, to_index, to_row, source, index, row = arguments
        vector_type = _vector(to_type.dtype)
        lanes, align = vector_type.count, to_type.dtype.bitwidth // 8

        def address(array_type, array, index, row, i):
            pointer = _pointer(context, builder, array_type, array, index)
            pointer = builder.gep(pointer, [builder.mul(row, ir.Constant(_INDEX, i))])
            return builder.bitcast(pointer, vector_type.as_pointer())

        rows = [builder.load(address(source_type, source, index, row, i), align=align) for i in range(lanes)]
        for i, vector in enumerate(_transposed(builder, rows)):
            builder.store(vector, address(to_type, to, to_index, to_row, i), align=align)
        return context.get_dummy_value()

    return types.void(to, to_index, to_row, source, index, row), emit


@intrinsic(prefer_literal=True)
def copy(_typing, to, to_index, source, index, count):
    """to[to_index : to_index + count] = source[index : index + count]; a constant count becomes a few vector moves."""

    def emit(context, builder, signature, arguments):
        to, to_index, source, index, count = arguments
        itemsize = signature.args[0].dtype.bitwidth // 8
        cgutils.raw_memcpy(
            builder,
            _pointer(context, builder, signature.args[0], to, to_index),
            _pointer(context, builder, signature.args[2], source, index),
            count,
            itemsize,
        )
        return context.get_dummy_value()

    return types.void(to, to_index, source, index, count), emit


@intrinsic
def fill(_typing, to, to_index, count):
    """to[to_index : to_index + count] = 0, whatever to's type."""

    def emit(context, builder, signature, arguments):
        to, to_index, count = arguments
        itemsize = ir.Constant(_INDEX, signature.args[0].dtype.bitwidth // 8)
        cgutils.memset(
            builder, _pointer(context, builder, signature.args[0], to, to_index), builder.mul(count, itemsize), 0
        )
        return context.get_dummy_value()

    return types.void(to, to_index, count), emit
