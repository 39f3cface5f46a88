"""The compiled loops of the convolutions with few multiplications; `toom.py` says what they compute, `plan.py` when.

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

import numpy as np

from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.microkernel import product_tile, strip_transposed
from minigan.backends.cpu.simd import (
    TILE_ROWS,
    add_lanes,
    add_tile,
    copy,
    copy_row,
    fill,
    load_rows,
    prefetch_row,
    put_lanes,
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

# Single precision, so these are constants, which makes for shorter code.
LANES, COLUMNS = vector_lanes(4), tile_columns(4)


@kernel(inline=True)
def take_strip(x, n, height, width, channels, channel, strip_image, row, rows, top, left, row_size):
    """Some channels of image n, with zeros around, into a strip (rows, row_size) that begins at its padded row."""
    there = min(COLUMNS, channels - channel)
    across = min(width, row_size - left)
    fill(strip_image, 0, rows * row_size * COLUMNS)
    for i in range(max(row - top, 0), min(row + rows - top, height)):
        to = ((i + top - row) * row_size + left) * COLUMNS
        source = (n * height + i) * width * channels + channel
        for _ in range(across):
            take_lanes(strip_image, to, x, source, there)
            prefetch_row(x, source + height * width * channels)
            to += COLUMNS
            source += channels


@kernel(inline=True)
def put_strip(strip_image, at, row, first, last, top, left, row_size, y, n, height, width, channels, channel):
    """The padded rows first to last of a strip that begins at a row into some channels of image n."""
    there = min(COLUMNS, channels - channel)
    for i in range(max(first - top, 0), min(last - top, height)):
        source = at + ((i + top - row) * row_size + left) * COLUMNS
        to = ((n * height + i) * width) * channels + channel
        for _ in range(width):
            put_lanes(y, to, strip_image, source, there)
            to += channels
            source += COLUMNS


@kernel(inline=True)
def transform_images(scheme, x, grid, n_first, images, i_first, i_last, strip_first, strip_last, points, strip_image):
    """The pixels of some images, or of some rows of tiles, to points [strip][phase][point][tile]."""
    stride, edge = grid.stride, grid.strip_width * COLUMNS
    for n in range(images):
        for s in range(strip_first, strip_last):
            take_strip(x, n_first + n, grid.height, grid.width, grid.channels, s * COLUMNS, strip_image,
                       i_first * grid.m * stride, ((i_last - i_first) * grid.m + grid.r - 1) * stride, grid.top,
                       grid.left, grid.strip_width)  # fmt: skip
            for phase in range(stride * stride):
                strip = ((s - strip_first) * stride * stride + phase) * grid.strip_step
                tile = n * (i_last - i_first) * grid.tiles_across
                for i in range(i_last - i_first):
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
def transform_outputs(scheme, dy, grid, n_first, images, i_first, i_last, strip_first, strip_last, points, strip_image):
    """The outputs' gradients of some images, or of some rows of tiles, to points [strip][point][tile]."""
    row_size = grid.tiles_across * grid.m
    for n in range(images):
        for s in range(strip_first, strip_last):
            strip = (s - strip_first) * grid.strip_step
            tile = n * (i_last - i_first) * grid.tiles_across
            take_strip(dy, n_first + n, grid.rows_out, grid.columns_out, grid.channels_out, s * COLUMNS, strip_image,
                       i_first * grid.m, (i_last - i_first) * grid.m, 0, 0, row_size)  # fmt: skip
            for i in range(i_last - i_first):
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
def transform_weights(scheme, w, grid, phase, c, k, transposed, points, at, items, taps):
    """One strip of channels by one strip of filters to points [point][item], items being channels, or filters."""
    stride = grid.stride
    there, filters = min(COLUMNS, grid.channels - c), min(COLUMNS, grid.channels_out - k)
    if there < COLUMNS or filters < COLUMNS:
        fill(taps, 0, grid.r * grid.r * COLUMNS * COLUMNS)
    for i in range(grid.r):
        for j in range(grid.r):
            r, s = i * stride + phase // stride, j * stride + phase % stride
            to = (i * grid.r + j) * COLUMNS * COLUMNS
            source = ((r * grid.taps_across + s) * grid.channels + c) * grid.channels_out + k
            if r >= grid.taps_down or s >= grid.taps_across:
                fill(taps, to, COLUMNS * COLUMNS)
            elif transposed:
                for row in range(there):
                    prefetch_row(w, source + COLUMNS + row * grid.channels_out)
                strip_transposed(w, source, grid.channels_out, taps, to, filters, there, COLUMNS)
            else:
                for row in range(there):
                    take_lanes(taps, to + row * COLUMNS, w, source, filters)
                    prefetch_row(w, source + COLUMNS * grid.channels_out)
                    source += grid.channels_out
    for item in range(0, COLUMNS * COLUMNS, COLUMNS):
        for v in range(0, COLUMNS, LANES):
            taps_to_points(
                scheme,
                points, at + item + v, grid.n * items * COLUMNS, items * COLUMNS,
                taps, item + v, grid.r * COLUMNS * COLUMNS, COLUMNS * COLUMNS,
            )  # fmt: skip


@kernel(inline=True)
def multiply_points(grid, tiles, a, first, segments, b, bias, products, rows):
    """products [point][tile] = or += a [point][tile][strip] . b [point][item], for some strips of a.

    Args:
        first: of these strips; the first of all begins the sum, the others add to it.
        segments: room for as many numbers as there are strips.
        bias: what to begin with at point (1, 1), whose value every output contains once.
    """
    depth = len(segments) * COLUMNS + 1
    for point in range(grid.points):
        for i in range(len(segments)):
            segments[i] = (first + i) * grid.strip_step + point * grid.point_step
        to = point * grid.tile_items * COLUMNS
        bias_at = COLUMNS if point == grid.n + 1 else 0
        for t in range(0, tiles, TILE_ROWS):
            tile = product_tile(
                a, load_rows(rows, 0), segments, COLUMNS, 1, b, point * depth * COLUMNS, COLUMNS, bias, bias_at
            )
            if first == 0:
                store_tile(tile, products, load_rows(rows, t), to)
            else:
                add_tile(tile, products, load_rows(rows, t), to)
            for i in range(len(segments)):
                segments[i] += grid.group_step


@kernel(inline=True)
def share(count, part, parts):
    return count * part // parts, count * (part + 1) // parts


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
    """Where items begin that lie `step` apart, up to whole tiles."""
    rows = np.empty(items + TILE_ROWS, np.int64)
    for item in range(len(rows)):
        rows[item] = item * step
    return rows


@kernel(inline=True)
def start_bias(start, bias, first, width):
    """[zeros, one strip of the bias]."""
    fill(start, 0, 2 * COLUMNS)
    copy(start, COLUMNS, bias, first, min(COLUMNS, width - first))


@kernel(inline=True)
def read_block(grid, block, last):
    """Of a block that begins with some band: its image, how many images, and its rows of tiles."""
    images = min(grid.images_per_block, last - block) if grid.bands == 1 else 1
    i_first = block % grid.bands * grid.rows_per_band
    return block // grid.bands, images, i_first, min(i_first + grid.rows_per_band, grid.tiles_down)


@kernel
def convolve(part, parts, scheme, x, w, bias, y, grid, scratch):
    """This part's share of conv2d: some bands of images, or some strips of filters."""
    phases = grid.stride * grid.stride
    strips_in, strips_out = -(-grid.channels // COLUMNS), -(-grid.channels_out // COLUMNS)
    band_first, band_last, k_first, k_last = 0, grid.images * grid.bands, 0, strips_out
    if grid.split:
        k_first, k_last = share(strips_out, part, parts)
    else:
        band_first, band_last = share(grid.images * grid.bands, part, parts)
    points, weights, products, taps, strip_image = own_scratch(part, grid, scratch)
    rows, segments = item_rows(grid.tile_items, COLUMNS), np.empty(strips_in * phases, np.int64)
    start = np.empty(2 * COLUMNS, x.dtype)
    row_size = grid.tiles_across * grid.m

    for block in range(band_first, band_last, grid.images_per_block):
        n, images, i_first, i_last = read_block(grid, block, band_last)
        tiles = (i_last - i_first) * grid.tiles_across  # of one image
        transform_images(scheme, x, grid, n, images, i_first, i_last, 0, strips_in, points, strip_image)
        for k in range(k_first, k_last):
            start_bias(start, bias, k * COLUMNS, grid.channels_out)
            for first in range(0, strips_in * phases, grid.strips_at_once):
                count = min(grid.strips_at_once, strips_in * phases - first)
                for i in range(count):
                    transform_weights(scheme, w, grid, (first + i) % phases, (first + i) // phases * COLUMNS,
                                      k * COLUMNS, False, weights, i * COLUMNS * COLUMNS, count * COLUMNS + 1,
                                      taps)  # fmt: skip
                multiply_points(grid, images * tiles, points, first, segments[:count], weights, start, products, rows)
                fill(start, COLUMNS, COLUMNS)
            for image in range(images):
                at = image * tiles * COLUMNS
                for i in range(i_last - i_first):
                    to = i * grid.m * row_size * COLUMNS
                    for _ in range(grid.tiles_across):
                        for v in range(0, COLUMNS, LANES):
                            points_to_outputs(
                                scheme,
                                strip_image, to + v, row_size * COLUMNS, COLUMNS,
                                products, at + v, grid.n * grid.tile_items * COLUMNS, grid.tile_items * COLUMNS,
                            )  # fmt: skip
                        to += grid.m * COLUMNS
                        at += COLUMNS
                put_strip(strip_image, 0, i_first * grid.m, i_first * grid.m, i_last * grid.m, 0, 0, row_size,
                          y, n + image, grid.rows_out, grid.columns_out, grid.channels_out, k * COLUMNS)  # fmt: skip


@kernel
def convolve_back(part, parts, scheme, dy, w, bias, dx, grid, scratch):
    """This part's share of conv2d_input_grad: some bands of images, or some strips of channels.

    A tile reaches r - 1 taps into the rows of the next tiles. So a band begins with the tiles above it, once more, and
    leaves the rows below it to the next band.
    """
    stride = grid.stride
    strips_in, strips_out = -(-grid.channels_out // COLUMNS), -(-grid.channels // COLUMNS)
    band_first, band_last, c_first, c_last = 0, grid.images * grid.bands, 0, strips_out
    if grid.split:
        c_first, c_last = share(strips_out, part, parts)
    else:
        band_first, band_last = share(grid.images * grid.bands, part, parts)
    points, weights, products, taps, strip_image = own_scratch(part, grid, scratch)
    rows, segments = item_rows(grid.tile_items, COLUMNS), np.empty(strips_in, np.int64)
    start, zeros = np.empty(2 * COLUMNS, dy.dtype), np.zeros(2 * COLUMNS, dy.dtype)
    edge, tile_rows = grid.strip_width * COLUMNS, grid.m * stride

    for block in range(band_first, band_last, grid.images_per_block):
        n, images, i_own, i_last = read_block(grid, block, band_last)
        i_first = max(i_own - 1, 0)
        tiles = (i_last - i_first) * grid.tiles_across  # of one image
        row, row_last = i_first * tile_rows, grid.strip_height
        if i_last < grid.tiles_down:
            row_last = (i_last * grid.m + grid.r - 1) * stride
        image_size = (row_last - row) * edge
        transform_outputs(scheme, dy, grid, n, images, i_first, i_last, 0, strips_in, points, strip_image)
        for c in range(c_first, c_last):
            start_bias(start, bias, c * COLUMNS, grid.channels)
            for pixel in range(0, images * image_size, COLUMNS):
                copy_row(strip_image, pixel, start, COLUMNS)
            for phase in range(stride * stride):
                for first in range(0, strips_in, grid.strips_at_once):
                    count = min(grid.strips_at_once, strips_in - first)
                    for i in range(count):
                        transform_weights(scheme, w, grid, phase, c * COLUMNS, (first + i) * COLUMNS, True, weights,
                                          i * COLUMNS * COLUMNS, count * COLUMNS + 1, taps)  # fmt: skip
                    multiply_points(
                        grid, images * tiles, points, first, segments[:count], weights, zeros, products, rows
                    )
                at = 0
                for image in range(images):
                    for i in range(i_last - i_first):
                        to = image * image_size + (i * tile_rows + phase // stride) * edge + phase % stride * COLUMNS
                        for _ in range(grid.tiles_across):
                            for v in range(0, COLUMNS, LANES):
                                points_to_pixels(
                                    scheme,
                                    strip_image, to + v, stride * edge, stride * COLUMNS,
                                    products, at + v, grid.n * grid.tile_items * COLUMNS, grid.tile_items * COLUMNS,
                                )  # fmt: skip
                            to += grid.m * stride * COLUMNS
                            at += COLUMNS
            if i_last < grid.tiles_down:
                row_last = i_last * tile_rows
            for image in range(images):
                put_strip(strip_image, image * image_size, row, i_own * tile_rows, row_last, grid.top, grid.left,
                          grid.strip_width, dx, n + image, grid.height, grid.width, grid.channels,
                          c * COLUMNS)  # fmt: skip


@kernel
def convolve_weights(part, parts, scheme, x, dy, dw, grid, scratch):
    """This part's share of conv2d_weight_grad: some strips of channels, or of filters."""
    stride = grid.stride
    phases = stride * stride
    c_first, c_last = 0, -(-grid.channels // COLUMNS)
    k_first, k_last = 0, -(-grid.channels_out // COLUMNS)
    if grid.split:
        k_first, k_last = share(k_last, part, parts)
    else:
        c_first, c_last = share(c_last, part, parts)
    points, outputs, products, taps, strip_image = own_scratch(part, grid, scratch)
    items = -(-COLUMNS // TILE_ROWS) * TILE_ROWS + 1
    rows, segments = item_rows(items, COLUMNS), np.zeros(1, np.int64)
    channels = item_rows(items, 1)
    zeros = np.zeros(COLUMNS, x.dtype)

    for block in range(0, grid.images * grid.bands, grid.images_per_block):
        n, images, i_first, i_last = read_block(grid, block, grid.images * grid.bands)
        tiles = images * (i_last - i_first) * grid.tiles_across
        transform_images(scheme, x, grid, n, images, i_first, i_last, c_first, c_last, points, strip_image)
        transform_outputs(scheme, dy, grid, n, images, i_first, i_last, k_first, k_last, outputs, strip_image)
        for c in range(c_first * phases, c_last * phases):
            for k in range(k_first, k_last):
                for point in range(grid.points):
                    segments[0] = (c - c_first * phases) * grid.strip_step + point * grid.point_step
                    b_at = (k - k_first) * grid.strip_step + point * grid.point_step
                    for m in range(0, COLUMNS, TILE_ROWS):
                        tile = product_tile(
                            points, load_rows(channels, m), segments, tiles, COLUMNS, outputs, b_at, COLUMNS, zeros, 0
                        )
                        store_tile(tile, products, load_rows(rows, m), point * items * COLUMNS)
                for item in range(0, COLUMNS * COLUMNS, COLUMNS):
                    for v in range(0, COLUMNS, LANES):
                        points_to_taps(
                            scheme,
                            taps, item + v, grid.r * COLUMNS * COLUMNS, COLUMNS * COLUMNS,
                            products, item + v, grid.n * items * COLUMNS, items * COLUMNS,
                        )  # fmt: skip
                add_taps(taps, dw, grid, c % phases, c // phases * COLUMNS, k * COLUMNS)


@kernel(inline=True)
def add_taps(taps, dw, grid, phase, c, k):
    """One strip of channels by one strip of filters, added to dw where it has such taps."""
    stride = grid.stride
    there, filters = min(COLUMNS, grid.channels - c), min(COLUMNS, grid.channels_out - k)
    for i in range(grid.r):
        for j in range(grid.r):
            r, s = i * stride + phase // stride, j * stride + phase % stride
            if r < grid.taps_down and s < grid.taps_across:
                at = (i * grid.r + j) * COLUMNS * COLUMNS
                to = ((r * grid.taps_across + s) * grid.channels + c) * grid.channels_out + k
                for _ in range(there):
                    add_lanes(dw, to, taps, at, filters)
                    prefetch_row(dw, to + COLUMNS)
                    at += COLUMNS
                    to += grid.channels_out
