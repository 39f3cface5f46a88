"""Tiles whose lanes are images: one number of each of several images fills a vector.

    tile[m, j] += a[rows[m] + at : ... + lanes] * b[j]

So all lanes use all numbers of one place of a filter, however few outputs a group has: a step of 4 x 4 loads 8 vectors
for 16 multiply-adds, where `group_tiles.py` loads one for each. The price is that images are transposed on their way
into scratch, and results on their way out.
"""

from dataclasses import dataclass

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.datamodel.registry import register_default

from minigan.backends.cpu.simd import (
    _INDEX,
    VECTOR_BYTES,
    _broadcast,
    _load_row,
    _mask,
    _masked_load,
    _masked_store,
    _multiply_add,
    _opaque,
    _pointer,
    _shuffle,
    _store_row,
    _transposed,
    _vector,
    _vector_pointer,
    intrinsic,
)
from minigan.backends.cpu.static import static


@static
@dataclass(frozen=True, slots=True)
class Shape:
    """The vectors of a tile; an argument of kernels that is nothing but its type."""

    rows: int
    columns: int


class ImageTile(types.Type):
    """rows x columns vectors of a float type."""

    def __init__(self, dtype, shape):
        self.dtype = dtype
        self.shape = shape
        super().__init__(name=f"ImageTile({dtype}, {shape.rows} x {shape.columns} x {VECTOR_BYTES} bytes)")


@register_default(ImageTile)
class ImageTileModel(models.PrimitiveModel):
    def __init__(self, manager, tile):
        super().__init__(manager, tile, ir.ArrayType(_vector(tile.dtype), tile.shape.rows * tile.shape.columns))


# ---------------------------------------------------------------------------------------------------- steps


@intrinsic
def image_tile(_typing, shape, array, index):
    """A tile with array[index + j] in all lanes of column j, for every row: a bias, or zeros, to start from."""
    kind = shape.value

    def emit(context, builder, signature, arguments):
        dtype = signature.args[1].dtype
        first = _pointer(context, builder, signature.args[1], *arguments[1:])
        places = [builder.gep(first, [ir.Constant(_INDEX, j)]) for j in range(kind.columns)]
        row = [_broadcast(builder, _vector(dtype), builder.load(place)) for place in places]
        return cgutils.pack_array(builder, row * kind.rows)

    return ImageTile(array.dtype, kind)(shape, array, index), emit


@intrinsic
def load_offsets(_typing, shape, table, index):
    """(table[index], ...), as many as a tile has rows."""
    count = shape.value.rows

    def emit(context, builder, signature, arguments):
        first = _pointer(context, builder, signature.args[1], *arguments[1:])
        return cgutils.pack_array(
            builder, [builder.load(builder.gep(first, [ir.Constant(_INDEX, m)])) for m in range(count)]
        )

    return types.UniTuple(types.int64, count)(shape, table, index), emit


def _step(doc, factors):
    """An intrinsic that multiplies vectors of a by `factors(builder, dtype, pointer, columns)`, and adds them up."""

    def step(_typing, tile, a, rows, a_index, b, b_index):
        shape, dtype = tile.shape, tile.dtype

        def emit(context, builder, signature, arguments):
            tile, a, rows, a_index, b, b_index = arguments
            own = factors(builder, dtype, _pointer(context, builder, signature.args[4], b, b_index), shape.columns)
            here = _opaque(builder, _pointer(context, builder, signature.args[1], a, a_index))
            for m in range(shape.rows):
                place = builder.gep(here, [builder.extract_value(rows, m)])
                (vector,) = _load_row(builder, dtype, place, 1)
                for j, factor in enumerate(own):
                    register = m * shape.columns + j
                    updated = _multiply_add(builder, vector, factor, builder.extract_value(tile, register))
                    tile = builder.insert_value(tile, updated, register)
            return tile

        return tile(tile, a, rows, a_index, b, b_index), emit

    step.__doc__ = doc
    return intrinsic(step)


def _numbers(builder, dtype, pointer, count):
    places = [builder.gep(pointer, [ir.Constant(_INDEX, j)]) for j in range(count)]
    return [_broadcast(builder, _vector(dtype), builder.load(place)) for place in places]


add_weighted = _step("tile[m, j] + a[rows[m] + a_index : ... + lanes] * b[b_index + j], for all m and j.", _numbers)
add_matched = _step(
    "tile[m, j] + a[rows[m] + a_index : ... + lanes] * b[b_index + j * lanes : ... + lanes], for all m and j.",
    _load_row,
)


# ---------------------------------------------------------------------------------------------------- results


@intrinsic
def put_images(_typing, tile, to, index, row):
    """to[index + m * row + j * lanes : ... + lanes] = tile[m, j], for all m and j."""
    shape = tile.shape

    def emit(context, builder, signature, arguments):
        tile, to, index, row = arguments
        first = _pointer(context, builder, signature.args[1], to, index)
        for m in range(shape.rows):
            place = builder.gep(first, [builder.mul(row, ir.Constant(_INDEX, m))])
            vectors = [builder.extract_value(tile, m * shape.columns + j) for j in range(shape.columns)]
            _store_row(builder, signature.args[1].dtype, place, vectors)
        return context.get_dummy_value()

    return types.void(tile, to, index, row), emit


@intrinsic
def put_sums(_typing, tile, to):
    """to[m * columns + j] = the sum of all lanes of tile[m, j]; their number is one that divides into vectors.

    Pairs of vectors are added as `_transposed` exchanges them, so that each stage leaves half as many.
    """
    count = tile.shape.rows * tile.shape.columns

    def emit(context, builder, signature, arguments):
        tile, to = arguments
        vectors = [builder.extract_value(tile, register) for register in range(count)]
        lanes, side = vectors[0].type.count, 1
        while side < lanes:
            upper = [i if not i & side else lanes + i - side for i in range(lanes)]
            lower = [i + side if not i & side else lanes + i for i in range(lanes)]
            vectors = [
                builder.fadd(_shuffle(builder, a, b, upper), _shuffle(builder, a, b, lower))
                for a, b in zip(vectors[::2], vectors[1::2], strict=True)
            ]
            side *= 2
        first = _pointer(context, builder, signature.args[1], to, ir.Constant(_INDEX, 0))
        _store_row(builder, signature.args[1].dtype, first, vectors)
        return context.get_dummy_value()

    return types.void(tile, to), emit


# ---------------------------------------------------------------------------------------------------- squares


def _where(builder, j, count, width, lanes):
    """The first `width` lanes of a vector j, if j is among the first `count`; else none."""
    here = builder.icmp_signed("<", ir.Constant(_INDEX, j), count)
    return _mask(builder, builder.select(here, width, ir.Constant(_INDEX, 0)), lanes)


@intrinsic
def take_square(_typing, to, to_index, source, index, row, count, width):
    """to[to_index + i * lanes + j] = source[index + j * row + i] for i < width and j < count; else 0."""

    def emit(context, builder, signature, arguments):
        to, to_index, source, index, row, count, width = arguments
        dtype = signature.args[0].dtype
        vector = _vector(dtype)
        lanes = vector.count
        first = _pointer(context, builder, signature.args[2], source, index)
        rows = []
        for j in range(lanes):
            place = builder.gep(first, [builder.mul(row, ir.Constant(_INDEX, j))])
            place = _vector_pointer(builder, dtype, place, 0)
            rows.append(_masked_load(builder, vector, place, _where(builder, j, count, width, lanes)))
        for i, each in enumerate(_transposed(builder, rows)):
            place = _pointer(context, builder, signature.args[0], to, to_index)
            _store_row(builder, dtype, builder.gep(place, [ir.Constant(_INDEX, i * lanes)]), [each])
        return context.get_dummy_value()

    return types.void(to, to_index, source, index, row, count, width), emit


@intrinsic
def put_square(_typing, to, to_index, row, source, index, count, width):
    """to[to_index + i * row + j] = source[index + j * lanes + i] for i < count and j < width."""

    def emit(context, builder, signature, arguments):
        to, to_index, row, source, index, count, width = arguments
        dtype = signature.args[0].dtype
        lanes = _vector(dtype).count
        first = _pointer(context, builder, signature.args[3], source, index)
        rows = [
            _load_row(builder, dtype, builder.gep(first, [ir.Constant(_INDEX, j * lanes)]), 1)[0] for j in range(lanes)
        ]
        place = _pointer(context, builder, signature.args[0], to, to_index)
        for i, each in enumerate(_transposed(builder, rows)):
            here = builder.gep(place, [builder.mul(row, ir.Constant(_INDEX, i))])
            here = _vector_pointer(builder, dtype, here, 0)
            _masked_store(builder, each, here, _where(builder, i, count, width, lanes))
        return context.get_dummy_value()

    return types.void(to, to_index, row, source, index, count, width), emit
