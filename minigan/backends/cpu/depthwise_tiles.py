"""Tiles of depthwise convolutions: a few neighboring pixels, whose lanes are channels, read where they are.

    tile[m, v] += x[pixel m * stride + s] * w[s]          one row of the filter; v: vectors of channels
    tile[r, s] += x[row r, pixel m * stride + s] * dy[m]  all taps of a weight gradient

Neighboring outputs share most of what they read, so a tile loads fewer vectors than it multiplies. At an image's edges
zeros take the place of what is missing, without a branch: its address becomes that of a vector of zeros.
"""

from dataclasses import dataclass

from llvmlite import ir
from numba import types
from numba.core import cgutils

from minigan.backends.cpu.image_tiles import ImageTile, Shape
from minigan.backends.cpu.simd import (
    _INDEX,
    TILE_VECTORS,
    VECTOR_BYTES,
    _load_row,
    _mask,
    _masked_load,
    _multiply_add,
    _pointer,
    _store_lanes,
    _vector,
    intrinsic,
)
from minigan.backends.cpu.static import static

PIXELS = 4  # of a tile


@static
@dataclass(frozen=True, slots=True)
class Window:
    """The part of an image that a tile's pixels read; an argument of kernels that is nothing but its type."""

    taps_down: int  # 1 where a filter's rows are multiplied one by one
    taps_across: int
    stride: int

    @property
    def columns(self) -> int:
        """Pixels of a row that a tile reads."""
        return (PIXELS - 1) * self.stride + self.taps_across


def _within(builder, number, first, last):
    """Whether first <= number < last; None for always."""
    if first is None:
        return None
    number = ir.Constant(_INDEX, number)
    return builder.and_(builder.icmp_signed("<=", first, number), builder.icmp_signed("<", number, last))


def _both(builder, one, other):
    return builder.and_(one, other) if one and other else one or other


def _loaded(builder, dtype, place, vectors, wanted, masks):
    """A row of vectors: zeros if it is not wanted, and in lanes that the masks leave out."""
    if wanted is None:
        return _load_row(builder, dtype, place, vectors)
    vector = _vector(dtype)
    zeros = ir.Constant(ir.ArrayType(vector, vectors), None)
    nothing = builder.bitcast(cgutils.global_constant(builder, "depthwise_zeros", zeros), place.type)
    place, row = builder.select(wanted, place, nothing), []
    for v, mask in enumerate(masks):
        address = builder.bitcast(builder.gep(place, [ir.Constant(_INDEX, v * vector.count)]), vector.as_pointer())
        row.append(_masked_load(builder, vector, address, mask))
    return row


def _add_row(builder, window, tile, dtype, here, step, weights, edges, width):
    """Multiplies one row of the filter."""
    lanes = _vector(dtype).count
    masks = [None if width is None else _mask(builder, width, lanes, v * lanes) for v in range(TILE_VECTORS)]
    pixels = []
    for k in range(window.columns):
        place = builder.gep(here, [builder.mul(step, ir.Constant(_INDEX, k))])
        wanted = _within(builder, k, *edges)
        pixels.append(_loaded(builder, dtype, place, TILE_VECTORS, wanted, masks))
    for s in range(window.taps_across):
        factors = _load_row(builder, dtype, builder.gep(weights, [ir.Constant(_INDEX, s * TILE_VECTORS * lanes)]))
        for m in range(PIXELS):
            for v in range(TILE_VECTORS):
                register = m * TILE_VECTORS + v
                number = pixels[m * window.stride + s][v]
                updated = _multiply_add(builder, number, factors[v], builder.extract_value(tile, register))
                tile = builder.insert_value(tile, updated, register)
    return tile


@intrinsic
def start_pixels(_typing, bias, index):
    """A tile with bias[index : ... + columns] for every pixel."""

    def emit(context, builder, signature, arguments):
        row = _load_row(builder, signature.args[0].dtype, _pointer(context, builder, signature.args[0], *arguments))
        return cgutils.pack_array(builder, row * PIXELS)

    return ImageTile(bias.dtype, Shape(PIXELS, TILE_VECTORS))(bias, index), emit


@intrinsic
def add_filter_row(_typing, window, tile, x, index, step, w, w_index):
    """A tile with the products of one row of the filter added.

    Args:
        index: of the first pixel in x, its first channel.
        step: from one pixel to the next.
        w_index: of the row's weights (taps, columns).
    """

    def emit(context, builder, signature, arguments):
        _, tile, x, index, step, w, w_index = arguments
        here, weights = (
            _pointer(context, builder, signature.args[2], x, index),
            _pointer(context, builder, signature.args[5], w, w_index),
        )
        return _add_row(builder, window.value, tile, tile_dtype(signature), here, step, weights, (None, None), None)

    return tile(window, tile, x, index, step, w, w_index), emit


@intrinsic
def add_edge_row(_typing, window, tile, x, index, step, w, w_index, first, last, width):
    """`add_filter_row` of the pixels first <= k < last alone, and of the first `width` channels; others are zeros."""

    def emit(context, builder, signature, arguments):
        _, tile, x, index, step, w, w_index, first, last, width = arguments
        here, weights = (
            _pointer(context, builder, signature.args[2], x, index),
            _pointer(context, builder, signature.args[5], w, w_index),
        )
        return _add_row(builder, window.value, tile, tile_dtype(signature), here, step, weights, (first, last), width)

    return tile(window, tile, x, index, step, w, w_index, first, last, width), emit


def tile_dtype(signature):
    """The type of a tile's numbers."""
    return signature.args[1].dtype


@intrinsic
def stream_pixels(_typing, tile, y, index, step):
    """y[index + m * step : ... + columns] = tile[m], past the caches: into whole lines, aligned to vectors."""
    shape = tile.shape

    def emit(context, builder, signature, arguments):
        tile, y, index, step = arguments
        first = _pointer(context, builder, signature.args[1], y, index)
        past = builder.module.add_metadata([ir.IntType(32)(1)])
        for m in range(shape.rows):
            place = builder.gep(first, [builder.mul(step, ir.Constant(_INDEX, m))])
            for v in range(shape.columns):
                vector = builder.extract_value(tile, m * shape.columns + v)
                address = builder.gep(place, [ir.Constant(_INDEX, v * vector.type.count)])
                store = builder.store(vector, builder.bitcast(address, vector.type.as_pointer()), align=VECTOR_BYTES)
                store.set_metadata("nontemporal", past)
        return context.get_dummy_value()

    return types.void(tile, y, index, step), emit


@intrinsic
def end_stream(_typing):
    """Makes what was streamed visible to other threads."""

    def emit(context, builder, _signature, _arguments):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def put_some_pixels(_typing, tile, y, index, step, count, width):
    """y[index + m * step : ... + width] = tile[m], for m < count."""
    shape = tile.shape

    def emit(context, builder, signature, arguments):
        tile, y, index, step, count, width = arguments
        first = _pointer(context, builder, signature.args[1], y, index)
        for m in range(shape.rows):
            with builder.if_then(builder.icmp_signed("<", ir.Constant(_INDEX, m), count)):
                place = builder.gep(first, [builder.mul(step, ir.Constant(_INDEX, m))])
                vectors = [builder.extract_value(tile, m * shape.columns + v) for v in range(shape.columns)]
                _store_lanes(builder, signature.args[1].dtype, place, vectors, width)
        return context.get_dummy_value()

    return types.void(tile, y, index, step, count, width), emit


# ---------------------------------------------------------------------------------------------------- weights


@intrinsic
def load_taps(_typing, window, sums, index, row):
    """A tile of sums[index + tap * row : ... + lanes] for all taps of a window."""
    taps = window.value.taps_down * window.value.taps_across

    def emit(context, builder, signature, arguments):
        _, sums, index, row = arguments
        first, dtype = _pointer(context, builder, signature.args[1], sums, index), signature.args[1].dtype
        places = [builder.gep(first, [builder.mul(row, ir.Constant(_INDEX, tap))]) for tap in range(taps)]
        return cgutils.pack_array(builder, [_load_row(builder, dtype, place, 1)[0] for place in places])

    return ImageTile(sums.dtype, Shape(taps, 1))(window, sums, index, row), emit


def _add_taps(builder, window, tile, dtype, x, dy, steps, rows, columns, count, width):
    """Multiplies some pixels of dy with their windows."""
    row, step, dy_step = steps
    mask = [None if width is None else _mask(builder, width, _vector(dtype).count)]
    outputs = []
    for m in range(PIXELS):
        place = builder.gep(dy, [builder.mul(dy_step, ir.Constant(_INDEX, m))])
        wanted = _within(builder, m, None if count is None else ir.Constant(_INDEX, 0), count)
        outputs += _loaded(builder, dtype, place, 1, wanted, mask)
    for r in range(window.taps_down):
        here, own = builder.gep(x, [builder.mul(row, ir.Constant(_INDEX, r))]), _within(builder, r, *rows)
        for k in range(window.columns):
            place = builder.gep(here, [builder.mul(step, ir.Constant(_INDEX, k))])
            wanted = _both(builder, own, _within(builder, k, *columns))
            (pixel,) = _loaded(builder, dtype, place, 1, wanted, mask)
            for m in range(PIXELS):
                s = k - m * window.stride
                if 0 <= s < window.taps_across:
                    register = r * window.taps_across + s
                    updated = _multiply_add(builder, pixel, outputs[m], builder.extract_value(tile, register))
                    tile = builder.insert_value(tile, updated, register)
    return tile


@intrinsic
def add_taps(_typing, window, tile, x, index, row, step, dy, dy_index):
    """A tile of taps with the products of some neighboring pixels of dy and what they see of x added.

    Args:
        index: of the first one's first tap in x.
        row, step: from one row of x, and from one pixel of x or dy, to the next.
    """

    def emit(context, builder, signature, arguments):
        _, tile, x, index, row, step, dy, dy_index = arguments
        source = _pointer(context, builder, signature.args[2], x, index)
        outputs = _pointer(context, builder, signature.args[6], dy, dy_index)
        everywhere = (None, None)
        return _add_taps(
            builder, window.value, tile, tile_dtype(signature), source, outputs, (row, step, step), everywhere,
            everywhere, None, None,
        )  # fmt: skip

    return tile(window, tile, x, index, row, step, dy, dy_index), emit


@intrinsic
def add_edge_taps(_typing, window, tile, x, index, row, step, dy, dy_index, r_first, r_last, first, last, count, width):
    """`add_taps` of rows r_first <= r < r_last and pixels first <= k < last of x, and of `count` pixels of dy."""

    def emit(context, builder, signature, arguments):
        _, tile, x, index, row, step, dy, dy_index, r_first, r_last, first, last, count, width = arguments
        source = _pointer(context, builder, signature.args[2], x, index)
        outputs = _pointer(context, builder, signature.args[6], dy, dy_index)
        return _add_taps(
            builder, window.value, tile, tile_dtype(signature), source, outputs, (row, step, step), (r_first, r_last),
            (first, last), count, width,
        )  # fmt: skip

    return tile(window, tile, x, index, row, step, dy, dy_index, r_first, r_last, first, last, count, width), emit
