"""The compiled loops of convolutions in groups with few multiplications: those of `winograd.py`, strip by strip.

A group reads its own channels only, and a strip holds whole groups. So a strip's points are transformed, multiplied and
transformed back before the next strip is looked at. The products are those of `group_tiles.py`, for each point.
"""

import numpy as np
from llvmlite import ir
from numba.extending import overload

from minigan.backends.cpu.group_tiles import outer_pairs
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.simd import (
    _INDEX,
    TILE_ROWS,
    TILE_VECTORS,
    _load_row,
    _multiply_add,
    _opaque,
    _pointer,
    _shuffle,
    add_lanes,
    add_tile,
    fill,
    intrinsic,
    load_rows,
    outer,
    store_tile,
    tile_from_row,
)
from minigan.backends.cpu.transforms import points_to_taps, taps_to_points
from minigan.backends.cpu.winograd import (
    COLUMNS,
    LANES,
    Span,
    item_rows,
    own_scratch,
    put_outputs,
    read_block,
    start_bias,
    transform_images,
    transform_outputs,
)


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
        dtype, columns = tile_type.dtype, TILE_VECTORS * LANES
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
    if kind.value.name == "lanes":
        return lambda kind, tile, a, rows, a_index, b, b_index: add_spread(kind, tile, a, rows, a_index, b, b_index)
    step, depth = (outer, COLUMNS) if kind.value.name == "shared" else (outer_pairs, LANES)

    def multiply(kind, tile, a, rows, a_index, b, b_index):
        for i in range(depth):
            tile = step(tile, a, rows, a_index + i, b, b_index + i * COLUMNS)
        return tile

    return multiply


def sum_groups(kind, tile, tiles, a, rows, a_index, b, b_index):
    """The tile with the sum over `tiles` of products of both images' points added."""
    raise NotImplementedError("for compiled code")


@overload(sum_groups, inline="always")
def _sum_groups(kind, tile, tiles, a, rows, a_index, b, b_index):
    if kind.value.name == "lanes":

        def add(kind, tile, tiles, a, rows, a_index, b, b_index):
            for i in range(tiles):
                tile = add_spread_outer(kind, tile, a, a_index + i * COLUMNS, b, b_index + i * COLUMNS)
            return tile

        return add
    step = outer if kind.value.name == "shared" else outer_pairs

    def add(kind, tile, tiles, a, rows, a_index, b, b_index):
        for i in range(tiles):
            tile = step(tile, a, rows, a_index + i * COLUMNS, b, b_index + i * COLUMNS)
        return tile

    return add


@kernel(long=True)
def convolve_groups(part, parts, scheme, kind, x, packed, bias, slope, y, grid, depth, blocks, scratch):
    """This part's share of a convolution's strips and blocks of images.

    Args:
        packed: weights (strips, taps, depth, columns).
        depth: channels of a group.
        blocks: their number.
    """
    points, weights, products, _, strip_image = own_scratch(part, grid, scratch)
    rows, start, zeros = item_rows(grid.tile_items, COLUMNS), np.empty(COLUMNS, np.float32), np.zeros(COLUMNS, np.float32)
    units, ready, tap = -(-grid.channels // COLUMNS) * blocks, -1, depth * COLUMNS
    for unit in range(units * part // parts, units * (part + 1) // parts):
        strip = unit // blocks
        block = read_block(grid, unit % blocks * grid.images_per_block, grid.images * grid.bands)
        if strip != ready:
            for item in range(0, tap, LANES):
                taps_to_points(
                    scheme,
                    weights, item, grid.n * tap, tap,
                    packed, strip * grid.r * grid.r * tap + item, grid.r * tap, tap,
                )  # fmt: skip
            start_bias(start, bias, strip * COLUMNS, grid.channels_out)
            ready = strip
        transform_images(scheme, x, grid, block, Span(strip, strip + 1), points, strip_image)
        tiles = block.images * (block.i_last - block.i_first) * grid.tiles_across
        for point in range(grid.points):
            at, to = point * grid.point_step, point * grid.tile_items * COLUMNS
            for t in range(0, tiles, TILE_ROWS):
                tile = multiply_groups(
                    kind, tile_from_row(zeros, 0), points, load_rows(rows, 0), at, weights, point * tap
                )
                store_tile(tile, products, load_rows(rows, t), to)
                at += grid.group_step
        put_outputs(scheme, products, grid, block, strip_image, start, slope, y, strip * COLUMNS)


@kernel(long=True)
def sum_group_weights(part, parts, scheme, kind, x, dy, sums, grid, depth, blocks, shares, scratch):
    """The points of weight gradients, (strips, shares, points, depth, columns): this part's share.

    Args:
        shares: of the blocks, summed up apart.
    """
    points, outputs, products, _, strip_image = own_scratch(part, grid, scratch)
    lines, rows, zeros = item_rows(depth, 1), item_rows(depth, COLUMNS), np.zeros(COLUMNS, np.float32)
    units, stride = -(-grid.channels // COLUMNS) * shares, (depth + TILE_ROWS) * COLUMNS
    for unit in range(units * part // parts, units * (part + 1) // parts):
        strip, share = Span(unit // shares, unit // shares + 1), unit % shares
        fill(products, 0, grid.points * stride)
        for number in range(blocks * share // shares, blocks * (share + 1) // shares):
            block = read_block(grid, number * grid.images_per_block, grid.images * grid.bands)
            transform_images(scheme, x, grid, block, strip, points, strip_image)
            transform_outputs(scheme, dy, grid, block, strip, outputs, strip_image)
            tiles = block.images * (block.i_last - block.i_first) * grid.tiles_across
            for point in range(grid.points):
                for m in range(0, depth, TILE_ROWS):
                    at = point * grid.point_step
                    tile = sum_groups(
                        kind, tile_from_row(zeros, 0), tiles, points, load_rows(lines, m), at, outputs, at
                    )
                    add_tile(tile, products, load_rows(rows, m), point * stride)
        for point in range(grid.points):
            to = (unit * grid.points + point) * depth * COLUMNS
            for item in range(depth * COLUMNS):
                sums[to + item] = products[point * stride + item]


@kernel
def put_group_weights(part, parts, scheme, sums, dw, grid, depth, shares):
    """Adds the sums of all shares, transformed back, to dw."""
    strips, tap = -(-grid.channels // COLUMNS), depth * COLUMNS
    taps = np.empty(grid.r * grid.r * tap, np.float32)
    for strip in range(strips * part // parts, strips * (part + 1) // parts):
        width = min(COLUMNS, grid.channels_out - strip * COLUMNS)
        for share in range(shares):
            at = (strip * shares + share) * grid.points * tap
            for item in range(0, tap, LANES):
                points_to_taps(scheme, taps, item, grid.r * tap, tap, sums, at + item, grid.n * tap, tap)
            for row in range(grid.r * grid.r * depth):
                add_lanes(dw, row * grid.channels_out + strip * COLUMNS, taps, row * COLUMNS, width)
