"""The compiled loops of the convolutions with few multiplications; `toom.py` has the algorithm, `plan.py` the choice.

A strip is all of something for as many channels as a tile of the microkernel has columns. The image is cut into
strips, these into the phases that the filter's strides make of it (row u of phase a is padded row u * stride + a, which
meets the taps r = i * stride + a alone), and these into squares that the transforms take to "points": n * n matrices of
(items, channels), the items being tiles or weights. What remains is a product for each point. With the phases side by
side as so many more channels, a convolution with any stride is one with stride 1.

    kernel               products (a . b for each point)                              transforms
    conv2d               (tiles, phases * C) . (phases * C, K)                        x, w, and back to y
    conv2d_input_grad    (tiles, K) . (K, phases * C)                                 dy, w, and back to dx
    conv2d_weight_grad   (phases * C, tiles) . (tiles, K)                             x, dy, and back to dw

Everything that goes through memory is a strip: in scratch an image is [strip][row][column][channel], points are
[strip][point][item][channel]. Weights are transformed just before they are used, some strips of them at a time, since
all of them together would need 25 / 16 of their memory, or 4 times that, and exceed the cache.
"""

from typing import NamedTuple

import numpy as np

from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.microkernel import product_tile, strip_transposed
from minigan.backends.cpu.simd import (
    TILE_ROWS,
    add_lanes,
    add_tile,
    copy,
    fill,
    load_rows,
    prefetch_row,
    put_sum,
    store_tile,
    take_lanes,
    tile_columns,
    vector_lanes,
)
from minigan.backends.cpu.transforms import (
    outputs_to_points,
    pixels_to_points,
    points_to_outputs,
    points_to_pixels,
    points_to_taps,
    taps_to_points,
)
from minigan.backends.cpu.winograd_plan import BY_IMAGES

# Single precision, so these are constants, which makes for shorter code.
LANES, COLUMNS = vector_lanes(4), tile_columns(4)

# Pixels of a strip that are on their way from memory, 4 KiB. To ask for a whole image's is up to twice as slow.
AHEAD = 32


class Size(NamedTuple):
    """The size of each image in an array (N, height, width, channels)."""

    height: int
    width: int
    channels: int


class Window(NamedTuple):
    """The padded rows of an image that are in a strip."""

    first: int
    last: int  # exclusive
    top: int  # zeros above the image and left of it
    left: int
    row_size: int  # pixels


class Block(NamedTuple):
    """Some images, or some rows of tiles of one image, that are computed together."""

    image: int  # the first one
    images: int
    i_first: int  # rows of tiles
    i_last: int  # exclusive


class Span(NamedTuple):
    """Strips, or bands of images."""

    first: int
    last: int  # exclusive


class Filters(NamedTuple):
    """One strip of channels by one strip of filters: those of their taps that belong to one phase."""

    phase: int
    c: int  # the first channel
    k: int  # the first filter


@kernel(inline=True)
def take_strip(strip_image, window, x, size, n, channel):
    """Copies a strip's channels of image n, with zeros around, into the strip."""
    there = min(COLUMNS, size.channels - channel)
    across = min(size.width, window.row_size - window.left)
    first, last = max(window.first, window.top), min(window.last, window.top + size.height)
    to, row_size = 0, window.row_size * COLUMNS
    for padded in range(window.first, window.last):
        if first <= padded < last:
            fill(strip_image, to, window.left * COLUMNS)
            source = (n * size.height + padded - window.top) * size.width * size.channels + channel
            at = to + window.left * COLUMNS
            for _ in range(across):
                take_lanes(strip_image, at, x, source, there)
                prefetch_row(x, source + AHEAD * size.channels)
                at += COLUMNS
                source += size.channels
            fill(strip_image, at, to + row_size - at)
        else:
            fill(strip_image, to, row_size)
        to += row_size


@kernel(inline=True)
def put_strip(strip_image, at, window, first, start, slope, y, size, n, channel):
    """Stores the window's padded rows, from `first` on, in strip_image[at:]: a strip of image n.

    Args:
        start: the bias, which is added.
        slope: of a LeakyReLU that follows; 1 for no activation.
    """
    there = min(COLUMNS, size.channels - channel)
    for i in range(max(first - window.top, 0), min(window.last - window.top, size.height)):
        source = at + ((i + window.top - window.first) * window.row_size + window.left) * COLUMNS
        to = ((n * size.height + i) * size.width) * size.channels + channel
        for _ in range(size.width):
            put_sum(y, to, strip_image, source, start, 0, slope, there)
            to += size.channels
            source += COLUMNS


@kernel(inline=True)
def transform_images(scheme, x, grid, block, strips, points, strip_image):
    """Transforms the pixels of a block to points [strip][phase][point][tile]."""
    stride, edge = grid.stride, grid.strip_width * COLUMNS
    size = Size(grid.height, grid.width, grid.channels)
    window = Window(block.i_first * grid.m * stride, (block.i_last * grid.m + grid.r - 1) * stride, grid.top, grid.left,
                    grid.strip_width)  # fmt: skip
    for n in range(block.images):
        for s in range(strips.first, strips.last):
            take_strip(strip_image, window, x, size, block.image + n, s * COLUMNS)
            for phase in range(stride * stride):
                strip = ((s - strips.first) * stride * stride + phase) * grid.strip_step
                tile = n * (block.i_last - block.i_first) * grid.tiles_across
                for i in range(block.i_last - block.i_first):
                    at = (i * grid.m * stride + phase // stride) * edge + phase % stride * COLUMNS
                    for _ in range(grid.tiles_across):
                        to = strip + tile // TILE_ROWS * grid.group_step + tile % TILE_ROWS * COLUMNS
                        for v in range(0, COLUMNS, LANES):
                            pixels_to_points(
                                scheme,
                                points, to + v, grid.n * grid.point_step, grid.point_step,
                                strip_image, at + v, stride * edge, stride * COLUMNS,
                            )  # fmt: skip
                        tile += 1
                        at += grid.m * stride * COLUMNS


@kernel(inline=True)
def transform_outputs(scheme, dy, grid, block, strips, points, strip_image):
    """Transforms the outputs' gradients of a block to points [strip][point][tile]."""
    row_size = grid.tiles_across * grid.m
    size = Size(grid.rows_out, grid.columns_out, grid.channels_out)
    window = Window(block.i_first * grid.m, block.i_last * grid.m, 0, 0, row_size)
    for n in range(block.images):
        for s in range(strips.first, strips.last):
            strip = (s - strips.first) * grid.strip_step
            tile = n * (block.i_last - block.i_first) * grid.tiles_across
            take_strip(strip_image, window, dy, size, block.image + n, s * COLUMNS)
            for i in range(block.i_last - block.i_first):
                at = i * grid.m * row_size * COLUMNS
                for _ in range(grid.tiles_across):
                    to = strip + tile // TILE_ROWS * grid.group_step + tile % TILE_ROWS * COLUMNS
                    for v in range(0, COLUMNS, LANES):
                        outputs_to_points(
                            scheme,
                            points, to + v, grid.n * grid.point_step, grid.point_step,
                            strip_image, at + v, row_size * COLUMNS, COLUMNS,
                        )  # fmt: skip
                    tile += 1
                    at += grid.m * COLUMNS


@kernel(inline=True)
def next_filters(grid, own):
    """How far on in w the taps lie that are transformed next: those of the next phase, or of the next channels."""
    phase = own.phase + 1
    if phase == grid.stride * grid.stride:
        phase = 0
    taps = (phase // grid.stride - own.phase // grid.stride) * grid.taps_across
    taps += phase % grid.stride - own.phase % grid.stride
    return (taps * grid.channels + (COLUMNS if phase == 0 else 0)) * grid.channels_out


@kernel(inline=True)
def transform_weights(scheme, w, grid, own, transposed, points, index, count, taps):
    """Transforms filters to points [point][item], as those at an index among `count` strips of items.

    Args:
        own: the Filters.
        transposed: whether items are filters; else they are channels.
        taps: scratch.
    """
    stride = grid.stride
    at, items, ahead = index * COLUMNS * COLUMNS, count * COLUMNS + 1, next_filters(grid, own)
    there, filters = min(COLUMNS, grid.channels - own.c), min(COLUMNS, grid.channels_out - own.k)
    if there < COLUMNS or filters < COLUMNS:
        fill(taps, 0, grid.r * grid.r * COLUMNS * COLUMNS)
    for i in range(grid.r):
        for j in range(grid.r):
            r, s = i * stride + own.phase // stride, j * stride + own.phase % stride
            to = (i * grid.r + j) * COLUMNS * COLUMNS
            source = ((r * grid.taps_across + s) * grid.channels + own.c) * grid.channels_out + own.k
            if r >= grid.taps_down or s >= grid.taps_across:
                fill(taps, to, COLUMNS * COLUMNS)
            elif transposed:
                for row in range(there):
                    prefetch_row(w, source + COLUMNS + row * grid.channels_out)
                strip_transposed(w, source, grid.channels_out, taps, to, filters, there, COLUMNS)
            else:
                for row in range(there):
                    take_lanes(taps, to + row * COLUMNS, w, source, filters)
                    prefetch_row(w, source + ahead)
                    source += grid.channels_out
    for item in range(0, COLUMNS * COLUMNS, COLUMNS):
        for v in range(0, COLUMNS, LANES):
            taps_to_points(
                scheme,
                points, at + item + v, grid.n * items * COLUMNS, items * COLUMNS,
                taps, item + v, grid.r * COLUMNS * COLUMNS, COLUMNS * COLUMNS,
            )  # fmt: skip


@kernel(inline=True)
def multiply_points(grid, tiles, a, first, segments, b, zeros, products, rows):
    """products [point][tile] = or += a [point][tile][strip] . b [point][item], for some strips of a.

    Args:
        first: of these strips; the first of all begins the sum, the others add to it.
        segments: room for as many numbers as there are strips.
        zeros: a row of a tile.
    """
    depth = len(segments) * COLUMNS + 1
    for point in range(grid.points):
        for i in range(len(segments)):
            segments[i] = (first + i) * grid.strip_step + point * grid.point_step
        to = point * grid.tile_items * COLUMNS
        for t in range(0, tiles, TILE_ROWS):
            tile = product_tile(
                a, load_rows(rows, 0), segments, COLUMNS, 1, b, point * depth * COLUMNS, COLUMNS, zeros, 0
            )
            if first == 0:
                store_tile(tile, products, load_rows(rows, t), to)
            else:
                add_tile(tile, products, load_rows(rows, t), to)
            for i in range(len(segments)):
                segments[i] += grid.group_step


@kernel(inline=True)
def span_of(count, part, parts, shared):
    """A part's span of so many things; all of them where they are not shared out."""
    return Span(count * part // parts, count * (part + 1) // parts) if shared else Span(0, count)


@kernel(inline=True)
def own_scratch(part, grid, scratch):
    """A part's points, weights (for the weight gradient: the outputs' points), products, taps and strip."""
    own = scratch[part * grid.scratch_size : (part + 1) * grid.scratch_size]
    return (
        own[: grid.weights_at],
        own[grid.weights_at : grid.products_at],
        own[grid.products_at : grid.taps_at],
        own[grid.taps_at : grid.strip_at],
        own[grid.strip_at :],
    )


@kernel(inline=True)
def item_rows(items, step):
    """Offsets of items that lie `step` apart, up to whole tiles."""
    rows = np.empty(items + TILE_ROWS, np.int64)
    for item in range(len(rows)):
        rows[item] = item * step
    return rows


@kernel(inline=True)
def start_bias(start, bias, first, width):
    """Fills start with one strip of the bias."""
    fill(start, 0, COLUMNS)
    copy(start, 0, bias, first, min(COLUMNS, width - first))


@kernel(inline=True)
def read_block(grid, number, last):
    """The block that begins with a band of this number; `last` is the end of all bands."""
    images = min(grid.images_per_block, last - number) if grid.bands == 1 else 1
    i_first = number % grid.bands * grid.rows_per_band
    return Block(number // grid.bands, images, i_first, min(i_first + grid.rows_per_band, grid.tiles_down))


@kernel(long=True)
def convolve(part, parts, scheme, x, w, bias, slope, y, grid, scratch):
    """One part's share of conv2d with its activation: some bands of images, or some strips of filters."""
    phases = grid.stride * grid.stride
    strips_in = -(-grid.channels // COLUMNS)
    bands, filters = (
        span_of(grid.images * grid.bands, part, parts, grid.split == 0),
        span_of(-(-grid.channels_out // COLUMNS), part, parts, grid.split == 1),
    )
    points, weights, products, taps, strip_image = own_scratch(part, grid, scratch)
    rows, segments = item_rows(grid.tile_items, COLUMNS), np.empty(strips_in * phases, np.int64)
    start, zeros = np.empty(COLUMNS, np.float32), np.zeros(COLUMNS, np.float32)

    for number in range(bands.first, bands.last, grid.images_per_block):
        block = read_block(grid, number, bands.last)
        tiles = block.images * (block.i_last - block.i_first) * grid.tiles_across
        transform_images(scheme, x, grid, block, Span(0, strips_in), points, strip_image)
        for k in range(filters.first, filters.last):
            for first in range(0, strips_in * phases, grid.strips_at_once):
                count = min(grid.strips_at_once, strips_in * phases - first)
                for i in range(count):
                    own = Filters((first + i) % phases, (first + i) // phases * COLUMNS, k * COLUMNS)
                    transform_weights(scheme, w, grid, own, False, weights, i, count, taps)
                multiply_points(grid, tiles, points, first, segments[:count], weights, zeros, products, rows)
            start_bias(start, bias, k * COLUMNS, grid.channels_out)
            put_outputs(scheme, products, grid, block, strip_image, start, slope, y, k * COLUMNS)


@kernel(inline=True)
def put_outputs(scheme, products, grid, block, strip_image, start, slope, y, k):
    """Transforms one strip of products back to y, image by image."""
    row_size = grid.tiles_across * grid.m
    size = Size(grid.rows_out, grid.columns_out, grid.channels_out)
    window = Window(block.i_first * grid.m, block.i_last * grid.m, 0, 0, row_size)
    down = block.i_last - block.i_first
    for image in range(block.images):
        for i in range(down):
            to = i * grid.m * row_size * COLUMNS
            at = (image * down + i) * grid.tiles_across * COLUMNS
            for _ in range(grid.tiles_across):
                for v in range(0, COLUMNS, LANES):
                    points_to_outputs(
                        scheme,
                        strip_image, to + v, row_size * COLUMNS, COLUMNS,
                        products, at + v, grid.n * grid.tile_items * COLUMNS, grid.tile_items * COLUMNS,
                    )  # fmt: skip
                to += grid.m * COLUMNS
                at += COLUMNS
        put_strip(strip_image, 0, window, window.first, start, slope, y, size, block.image + image, k)


@kernel(long=True)
def convolve_back(part, parts, scheme, dy, w, bias, dx, grid, scratch):
    """One part's share of conv2d_input_grad: some bands of images, or some strips of channels.

    A tile reaches r - 1 taps into the rows of the next tiles. So a band begins with the tiles above it, once more, and
    leaves the rows below it to the next band.
    """
    strips_in = -(-grid.channels_out // COLUMNS)
    bands, channels = (
        span_of(grid.images * grid.bands, part, parts, grid.split == 0),
        span_of(-(-grid.channels // COLUMNS), part, parts, grid.split == 1),
    )
    points, weights, products, taps, strip_image = own_scratch(part, grid, scratch)
    rows, segments = item_rows(grid.tile_items, COLUMNS), np.empty(strips_in, np.int64)
    start, zeros = np.empty(COLUMNS, np.float32), np.zeros(COLUMNS, np.float32)

    for number in range(bands.first, bands.last, grid.images_per_block):
        own = read_block(grid, number, bands.last)
        block = Block(own.image, own.images, max(own.i_first - 1, 0), own.i_last)
        tiles = block.images * (block.i_last - block.i_first) * grid.tiles_across
        window = reached_rows(grid, block)
        transform_outputs(scheme, dy, grid, block, Span(0, strips_in), points, strip_image)
        for c in range(channels.first, channels.last):
            start_bias(start, bias, c * COLUMNS, grid.channels)
            fill(strip_image, 0, block.images * (window.last - window.first) * window.row_size * COLUMNS)
            for phase in range(grid.stride * grid.stride):
                for first in range(0, strips_in, grid.strips_at_once):
                    count = min(grid.strips_at_once, strips_in - first)
                    for i in range(count):
                        filters = Filters(phase, c * COLUMNS, (first + i) * COLUMNS)
                        transform_weights(scheme, w, grid, filters, True, weights, i, count, taps)
                    multiply_points(grid, tiles, points, first, segments[:count], weights, zeros, products, rows)
                add_pixels(scheme, products, grid, block, window, phase, strip_image)
            put_pixels(strip_image, grid, own, window, start, dx, c * COLUMNS)


@kernel(inline=True)
def reached_rows(grid, block):
    """The padded rows of dx that a block's tiles add to; those of the last band reach to the image's end."""
    last = grid.strip_height
    if block.i_last < grid.tiles_down:
        last = (block.i_last * grid.m + grid.r - 1) * grid.stride
    return Window(block.i_first * grid.m * grid.stride, last, grid.top, grid.left, grid.strip_width)


@kernel(inline=True)
def add_pixels(scheme, products, grid, block, window, phase, strip_image):
    """Transforms one strip of products back and adds it to one phase of the pixels of all images."""
    stride, edge = grid.stride, grid.strip_width * COLUMNS
    down = block.i_last - block.i_first
    for image in range(block.images):
        first = image * (window.last - window.first) * edge
        for i in range(down):
            to = first + (i * grid.m * stride + phase // stride) * edge + phase % stride * COLUMNS
            at = (image * down + i) * grid.tiles_across * COLUMNS
            for _ in range(grid.tiles_across):
                for v in range(0, COLUMNS, LANES):
                    points_to_pixels(
                        scheme,
                        strip_image, to + v, stride * edge, stride * COLUMNS,
                        products, at + v, grid.n * grid.tile_items * COLUMNS, grid.tile_items * COLUMNS,
                    )  # fmt: skip
                to += grid.m * stride * COLUMNS
                at += COLUMNS


@kernel(inline=True)
def put_pixels(strip_image, grid, own, window, start, dx, c):
    """Copies the rows of a block that are its own to dx: not those that it shares with the bands above and below."""
    tile_rows = grid.m * grid.stride
    last = own.i_last * tile_rows if own.i_last < grid.tiles_down else window.last
    kept = Window(window.first, last, window.top, window.left, window.row_size)
    size = Size(grid.height, grid.width, grid.channels)
    for image in range(own.images):
        at = image * (window.last - window.first) * window.row_size * COLUMNS
        put_strip(strip_image, at, kept, own.i_first * tile_rows, start, np.float32(1), dx, size, own.image + image, c)


@kernel(long=True)
def convolve_weights(part, parts, scheme, x, dy, dw, sums, grid, scratch):
    """One part's share of conv2d_weight_grad: some strips of channels, or of filters, or some bands of images.

    Args:
        sums: (others, *dw.shape): where the parts share out the images, each but the first has a dw of its own.
    """
    phases = grid.stride * grid.stride
    channels = span_of(-(-grid.channels // COLUMNS), part, parts, grid.split == 0)
    filters = span_of(-(-grid.channels_out // COLUMNS), part, parts, grid.split == 1)
    bands = span_of(grid.images * grid.bands, part, parts, grid.split == BY_IMAGES)
    if grid.split == BY_IMAGES and part > 0:
        dw = sums[(part - 1) * len(dw) : part * len(dw)]
        dw[:] = 0
    points, outputs, products, taps, strip_image = own_scratch(part, grid, scratch)
    items = -(-COLUMNS // TILE_ROWS) * TILE_ROWS + 1
    rows, lines, segments = item_rows(items, COLUMNS), item_rows(items, 1), np.zeros(1, np.int64)
    zeros = np.zeros(COLUMNS, np.float32)

    for number in range(bands.first, bands.last, grid.images_per_block):
        block = read_block(grid, number, bands.last)
        tiles = block.images * (block.i_last - block.i_first) * grid.tiles_across
        transform_images(scheme, x, grid, block, channels, points, strip_image)
        transform_outputs(scheme, dy, grid, block, filters, outputs, strip_image)
        for c in range(channels.first * phases, channels.last * phases):
            for k in range(filters.first, filters.last):
                for point in range(grid.points):
                    segments[0] = (c - channels.first * phases) * grid.strip_step + point * grid.point_step
                    b_at = (k - filters.first) * grid.strip_step + point * grid.point_step
                    for m in range(0, COLUMNS, TILE_ROWS):
                        tile = product_tile(
                            points, load_rows(lines, m), segments, tiles, COLUMNS, outputs, b_at, COLUMNS, zeros, 0
                        )
                        store_tile(tile, products, load_rows(rows, m), point * items * COLUMNS)
                for item in range(0, COLUMNS * COLUMNS, COLUMNS):
                    for v in range(0, COLUMNS, LANES):
                        points_to_taps(
                            scheme,
                            taps, item + v, grid.r * COLUMNS * COLUMNS, COLUMNS * COLUMNS,
                            products, item + v, grid.n * items * COLUMNS, items * COLUMNS,
                        )  # fmt: skip
                add_taps(taps, dw, grid, Filters(c % phases, c // phases * COLUMNS, k * COLUMNS))


@kernel(inline=True)
def add_taps(taps, dw, grid, own):
    """Adds the taps of the Filters `own` to dw, where it has such taps."""
    stride = grid.stride
    there, filters = min(COLUMNS, grid.channels - own.c), min(COLUMNS, grid.channels_out - own.k)
    for i in range(grid.r):
        for j in range(grid.r):
            r, s = i * stride + own.phase // stride, j * stride + own.phase % stride
            if r < grid.taps_down and s < grid.taps_across:
                at = (i * grid.r + j) * COLUMNS * COLUMNS
                to = ((r * grid.taps_across + s) * grid.channels + own.c) * grid.channels_out + own.k
                for _ in range(there):
                    add_lanes(dw, to, taps, at, filters)
                    prefetch_row(dw, to + COLUMNS)
                    at += COLUMNS
                    to += grid.channels_out
