"""Tiles of convolutions in groups: whose number of the image meets which of a tile's columns.

A tile's row is a bundle: neighboring outputs of one pixel, as many as a tile has columns. Without groups all of them
see the same channels, so that one number is broadcast to the whole row (`outer` of `simd.py`). In groups there are
three cases, by the outputs of a group:

    kind      outputs of a group          each step multiplies a row of weights by
    shared    more than a vector has      one number: all of the bundle's outputs are in one group
    pairs     as many as a vector has     one number for each of the row's vectors
    lanes     fewer                       vectors of numbers, one for each output, `spread` in scratch before

So no lane is ever multiplied by a zero of a filter, and no number reaches another group. A step of `lanes` or `pairs`
loads as many vectors or numbers as it does multiply-adds, which a processor's load units just keep up with.

Winograd's products (`winograd_groups.py`) are of such tiles too, at each point. There `lanes` are spread in registers,
as a tile meets each point once only.
"""

from dataclasses import dataclass
from typing import Literal

from llvmlite import ir
from numba import types
from numba.extending import overload

from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.simd import (
    _INDEX,
    TILE_ROWS,
    TILE_VECTORS,
    _broadcast,
    _load_row,
    _multiply_add,
    _opaque,
    _pointer,
    _shuffle,
    _store_row,
    _vector,
    copy,
    copy_row,
    intrinsic,
    outer,
    take_lanes,
    tile_columns,
    tile_from_row,
)
from minigan.backends.cpu.static import static


@static
@dataclass(frozen=True, slots=True)
class Kind:
    """How a bundle's outputs meet their channels; an argument of kernels that is nothing but its type.

    Attributes:
        name: see above.
        deep: of lanes, the channels of a group, where each group has as many outputs; 0: any numbers, by a table.
    """

    name: Literal["shared", "pairs", "lanes"]
    deep: int = 0


# ---------------------------------------------------------------------------------------------------- steps


def _step(doc, factors):
    """An intrinsic like `outer`, where `factors` emits the vectors that a row of weights is multiplied by."""

    def step(_typing, tile, a, rows, a_index, b, b_index):
        def emit(context, builder, signature, arguments):
            tile_type, a_type, _, _, b_type, _ = signature.args
            tile, a, rows, a_index, b, b_index = arguments
            b_row = _load_row(builder, b_type.dtype, _pointer(context, builder, b_type, b, b_index))
            a_here = _opaque(builder, _pointer(context, builder, a_type, a, a_index))
            for m in range(TILE_ROWS):
                here = builder.gep(a_here, [builder.extract_value(rows, m)])
                for v, factor in enumerate(factors(builder, tile_type.dtype, here)):
                    register = m * TILE_VECTORS + v
                    updated = _multiply_add(builder, factor, b_row[v], builder.extract_value(tile, register))
                    tile = builder.insert_value(tile, updated, register)
            return tile

        return tile(tile, a, rows, a_index, b, b_index), emit

    step.__doc__ = doc
    return intrinsic(step)


def _one_for_each_vector(builder, dtype, here):
    vector = _vector(dtype)
    places = [builder.gep(here, [ir.Constant(_INDEX, v * vector.count)]) for v in range(TILE_VECTORS)]
    return [_broadcast(builder, vector, builder.load(place)) for place in places]


outer_pairs = _step(
    "`outer` with another number for each vector: its group's, a vector further on.", _one_for_each_vector
)
outer_lanes = _step("`outer` with another number for each column.", _load_row)


def group_step(kind, tile, a, rows, a_index, b, b_index):
    """The step of this kind."""
    raise NotImplementedError("for compiled code")


@overload(group_step, inline="always")
def _group_step(kind, tile, a, rows, a_index, b, b_index):
    step = {"shared": outer, "pairs": outer_pairs, "lanes": outer_lanes}[kind.value.name]
    return lambda kind, tile, a, rows, a_index, b, b_index: step(tile, a, rows, a_index, b, b_index)


@kernel(inline=True)
def group_tile(kind, a, rows, segments, run, step, panel, panel_at, panel_row, bias, bias_at):
    """`product_tile` of a bundle."""
    tile = tile_from_row(bias, bias_at)
    for s in range(len(segments)):
        a_at = segments[s]
        for _ in range(run):
            tile = group_step(kind, tile, a, rows, a_at, panel, panel_at)
            a_at += step
            panel_at += panel_row
    return tile


# ---------------------------------------------------------------------------------------------------- points


def _spread(builder, vectors, deep, i):
    """In each lane channel i of the lane's group."""
    mask = [j // deep * deep + i for j in range(vectors[0].type.count)]
    return [_shuffle(builder, vector, vector, mask) for vector in vectors]


@intrinsic
def add_spread(_typing, kind, tile, a, rows, a_index, b, b_index):
    """tile[m, j] + sum over i < deep:  a[rows[m] + a_index + j // deep * deep + i] * b[b_index + i * columns + j]."""
    deep = kind.value.deep

    def emit(context, builder, signature, arguments):
        _, tile_type, a_type, _, _, b_type, _ = signature.args
        _, tile, a, rows, a_index, b, b_index = arguments
        dtype = tile_type.dtype
        columns = tile_columns(dtype.bitwidth // 8)
        b_here = _pointer(context, builder, b_type, b, b_index)
        a_here = _opaque(builder, _pointer(context, builder, a_type, a, a_index))
        for i in range(deep):
            b_row = _load_row(builder, dtype, builder.gep(b_here, [ir.Constant(_INDEX, i * columns)]))
            for m in range(TILE_ROWS):
                row = _load_row(builder, dtype, builder.gep(a_here, [builder.extract_value(rows, m)]))
                for v, factor in enumerate(_spread(builder, row, deep, i)):
                    register = m * TILE_VECTORS + v
                    updated = _multiply_add(builder, factor, b_row[v], builder.extract_value(tile, register))
                    tile = builder.insert_value(tile, updated, register)
        return tile

    return tile(kind, tile, a, rows, a_index, b, b_index), emit


@intrinsic
def add_spread_outer(_typing, kind, tile, a, a_index, b, b_index):
    """tile[i, j] + a[a_index + j // deep * deep + i] * b[b_index + j], for i < deep."""
    deep = kind.value.deep

    def emit(context, builder, signature, arguments):
        _, tile_type, a_type, _, b_type, _ = signature.args
        _, tile, a, a_index, b, b_index = arguments
        row = _load_row(builder, tile_type.dtype, _pointer(context, builder, a_type, a, a_index))
        b_row = _load_row(builder, tile_type.dtype, _pointer(context, builder, b_type, b, b_index))
        for i in range(deep):
            for v, factor in enumerate(_spread(builder, row, deep, i)):
                register = i * TILE_VECTORS + v
                updated = _multiply_add(builder, factor, b_row[v], builder.extract_value(tile, register))
                tile = builder.insert_value(tile, updated, register)
        return tile

    return tile(kind, tile, a, a_index, b, b_index), emit


def multiply_groups(kind, tile, a, rows, a_index, b, b_index):
    """The tile with the products of some tiles' points, at one point, and a strip's weights added."""
    raise NotImplementedError("for compiled code")


@overload(multiply_groups, inline="always")
def _multiply_groups(kind, tile, a, rows, a_index, b, b_index):
    columns = tile_columns(a.dtype.bitwidth // 8)
    if kind.value.name == "lanes":
        return lambda kind, tile, a, rows, a_index, b, b_index: add_spread(kind, tile, a, rows, a_index, b, b_index)
    shared = kind.value.name == "shared"
    step, depth = (outer, columns) if shared else (outer_pairs, columns // TILE_VECTORS)

    def multiply(kind, tile, a, rows, a_index, b, b_index):
        for i in range(depth):
            tile = step(tile, a, rows, a_index + i, b, b_index + i * columns)
        return tile

    return multiply


def sum_groups(kind, tile, tiles, a, rows, a_index, b, b_index):
    """The tile with the sum over `tiles` of products of both images' points added."""
    raise NotImplementedError("for compiled code")


@overload(sum_groups, inline="always")
def _sum_groups(kind, tile, tiles, a, rows, a_index, b, b_index):
    columns = tile_columns(a.dtype.bitwidth // 8)
    if kind.value.name == "lanes":

        def add(kind, tile, tiles, a, rows, a_index, b, b_index):
            for i in range(tiles):
                tile = add_spread_outer(kind, tile, a, a_index + i * columns, b, b_index + i * columns)
            return tile

        return add
    step = outer if kind.value.name == "shared" else outer_pairs

    def add_steps(kind, tile, tiles, a, rows, a_index, b, b_index):
        for i in range(tiles):
            tile = step(tile, a, rows, a_index + i * columns, b, b_index + i * columns)
        return tile

    return add_steps


# ---------------------------------------------------------------------------------------------------- pixels


@intrinsic
def spread_pixel(_typing, kind, to, to_index, source, index):
    """Writes a row for each channel of a group: in each lane that channel of the lane's group.

    to[to_index + i * columns + j] = source[index + j // deep * deep + i], for i < deep and j < columns.
    """
    deep = kind.value.deep

    def emit(context, builder, signature, arguments):
        _, to_type, _, source_type, _ = signature.args
        _, to, to_index, source, index = arguments
        row = _load_row(builder, source_type.dtype, _pointer(context, builder, source_type, source, index))
        pointer, columns = _pointer(context, builder, to_type, to, to_index), tile_columns(to_type.dtype.bitwidth // 8)
        for i in range(deep):
            mask = [j // deep * deep + i for j in range(row[0].type.count)]
            vectors = [_shuffle(builder, vector, vector, mask) for vector in row]
            _store_row(builder, to_type.dtype, builder.gep(pointer, [ir.Constant(_INDEX, i * columns)]), vectors)
        return context.get_dummy_value()

    return types.void(kind, to, to_index, source, index), emit


def put_pixel(kind, to, to_index, x, index, bundle, lanes, columns):
    """Writes what a bundle sees of a pixel, x[index:] being its first channel, to scratch."""
    raise NotImplementedError("for compiled code")


@overload(put_pixel, inline="always")
def _put_pixel(kind, to, to_index, x, index, bundle, lanes, columns):
    if kind.value.name == "shared":

        def put(kind, to, to_index, x, index, bundle, lanes, columns):
            copy(to, to_index, x, index, bundle.channels)

    elif kind.value.name == "pairs" or kind.value.deep == 1:

        def put(kind, to, to_index, x, index, bundle, lanes, columns):
            if bundle.channels == columns:
                copy_row(to, to_index, x, index)
            else:
                take_lanes(to, to_index, x, index, bundle.channels)

    elif kind.value.deep:

        def put(kind, to, to_index, x, index, bundle, lanes, columns):
            if bundle.channels == columns:
                spread_pixel(kind, to, to_index, x, index)
            else:  # at the end of scratch there is room for a row
                take_lanes(to, len(to) - columns, x, index, bundle.channels)
                spread_pixel(kind, to, to_index, to, len(to) - columns)

    else:

        def put(kind, to, to_index, x, index, bundle, lanes, columns):
            for i in range(bundle.depth):
                for j in range(columns):
                    to[to_index + i * columns + j] = x[index + lanes[bundle.number, j] + i]

    return put
