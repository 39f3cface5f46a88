"""Convolutions that make images of few channels: products pixel by pixel, then an overlapping sum.

A tile's columns run along the channels of what is made, and with 1 or 3 of them most of the tile would be empty. Seen
from the other side it is full: what one pixel of dy adds to dx is one row of R * S * C numbers,

    dy (pixels, K) . w' (K, R * S * C),

an ordinary product that reads dy in place. Such a row goes to the image as R runs of S * C contiguous numbers, and the
runs of neighboring pixels overlap. A pixel of dx gathers its share of each from the products, which lie in the cache,
and is written once. A forward convolution with stride 1 into few channels is the same thing with its filter turned
round. `overlap_plan.py` has the sizes.

With few pixels in all (a batch of one) the same thing serves any number of channels: the product is a matrix product
that reads w where it lies, where the other ways of convolving would first pack all of it.
"""

import numpy as np

from minigan.backends.cpu.halves import widened_run
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.microkernel import add_products, product_tile, tile_rows
from minigan.backends.cpu.simd import (
    TILE_ROWS,
    TILE_VECTORS,
    add_to_vector,
    load_rows,
    load_vector,
    narrow_tile_from_row,
    put_vector,
    store_tile,
)


@kernel(inline=True)
def multiply_pixels(x, at, depth, packed, columns, zeros, products, width, pixels):
    """products (pixels, width) = x[at:] (pixels, depth) . packed; the last panel may be half as wide."""
    segments, targets = np.empty(1, np.int64), load_rows(tile_rows(width), 0)
    sources, edge = tile_rows(depth), tile_rows(depth)
    for m in range(pixels % TILE_ROWS, TILE_ROWS):  # pixels that are not there: products that nothing reads
        edge[m] = 0
    wide = width // columns * columns
    for t in range(0, pixels, TILE_ROWS):
        rows = load_rows(sources if t + TILE_ROWS <= pixels else edge, 0)
        segments[0] = at + t * depth
        for first in range(0, wide, columns):
            tile = product_tile(x, rows, segments, depth, 1, packed, first * depth, columns, zeros, 0)
            store_tile(tile, products, targets, t * width + first)
        if wide < width:
            narrow = narrow_tile_from_row(zeros, 0)
            narrow = add_products(narrow, x, rows, segments, depth, 1, packed, wide * depth, columns)
            store_tile(narrow, products, targets, t * width + wide)


@kernel(inline=True)
def list_pieces(grid, i, p_first, p_last, width, places, counts):
    """Lists the pieces that add up to row i of an image: the place of each in the products, and its length.

    A stride's worth of the row, the pixels u * stride ... (u + 1) * stride - 1, gets one piece of each run that
    reaches it: of pixel u the first, of pixel u - 1 the second, and so on. They are listed in this order, all the runs'
    first pieces, then all the second; each place is that for u = 0. Returns how many runs there are.
    """
    span, step = grid.taps_across * grid.target_channels, grid.stride_across * grid.target_channels
    p, remainder = (i + grid.top) // grid.stride_down, (i + grid.top) % grid.stride_down
    count, runs = 0, 0
    for j in range(grid.pieces):
        runs = 0
        at = ((p - p_first) * grid.width - j) * width + remainder * span + j * step
        for k in range((grid.taps_down - 1 - remainder) // grid.stride_down + 1):
            if p_first <= p - k < p_last:
                places[count] = at + k * (grid.stride_down * span - grid.width * width)
                counts[count] = min(step, span - j * step)
                count += 1
                runs += 1
    return runs


@kernel(inline=True)
def sum_pieces(products, width, places, counts, runs, start, slope, y, row, grid):
    """Sums the pieces of one row of an image, through a LeakyReLU to y[row:]."""
    lanes = grid.columns // TILE_VECTORS
    step, edge = grid.stride_across * grid.target_channels, grid.target_width * grid.target_channels
    here, u = -(grid.left % grid.stride_across) * grid.target_channels, grid.left // grid.stride_across
    while here < edge:
        if grid.pieces - 1 <= u < grid.width and 0 <= here <= edge - step and step <= lanes:  # nearly always
            total = load_vector(start, here)
            for piece in range(runs * grid.pieces):
                total = add_to_vector(total, products, places[piece] + u * width, counts[piece])
            put_vector(total, slope, y, row + here, step)
        else:
            first, last = runs * max(0, u - grid.width + 1), runs * min(u + 1, grid.pieces)
            j, end = max(0, -here), min(step, edge - here)
            while j < end:  # not a range, which would divide to count its steps
                total = load_vector(start, here + j)
                for piece in range(first, last):
                    total = add_to_vector(total, products, places[piece] + u * width + j, counts[piece] - j)
                put_vector(total, slope, y, row + here + j, end - j)
                j += lanes
        here += step
        u += 1


@kernel
def overlap_add(part, parts, x, packed, start, slope, y, grid, scratch, pixels):
    """This part's share of the bands of images.

    Args:
        start: what is added to in a row of an image: the bias, or zeros; a vector longer than the row.
        slope: of a LeakyReLU; 1 for no activation.
        scratch: (parts, ...), room for a band's products.
    """
    lanes = grid.columns // TILE_VECTORS
    width = -(-grid.taps_down * grid.taps_across * grid.target_channels // lanes) * lanes
    places = np.empty(grid.taps_down * grid.taps_across, np.int64)
    counts = np.empty(grid.taps_down * grid.taps_across, np.int64)
    zeros = np.zeros(grid.columns, packed.dtype)
    products, own = scratch[part], pixels[part]

    blocks = grid.images * grid.bands
    for block in range(blocks * part // parts, blocks * (part + 1) // parts):
        n, band = block // grid.bands, block % grid.bands
        i_first, i_last = grid.target_height * band // grid.bands, grid.target_height * (band + 1) // grid.bands
        p_first = max(0, -((grid.taps_down - 1 - grid.top - i_first) // grid.stride_down))
        p_last = min(grid.height, (i_last - 1 + grid.top) // grid.stride_down + 1)
        count = max(0, p_last - p_first) * grid.width
        at = (n * grid.height + p_first) * grid.width * grid.channels
        source, first = widened_run(x, at, count * grid.channels, own)
        multiply_pixels(source, first, grid.channels, packed, grid.columns, zeros, products, width, count)
        for i in range(i_first, i_last):
            runs = list_pieces(grid, i, p_first, p_last, width, places, counts)
            row = (n * grid.target_height + i) * grid.target_width * grid.target_channels
            sum_pieces(products, width, places, counts, runs, start, slope, y, row, grid)


@kernel
def sum_overlaps(part, parts, products, start, y, grid):
    """The overlapping sum alone, from complete products (pixels, R * S * C)."""
    width = grid.taps_down * grid.taps_across * grid.target_channels
    places = np.empty(grid.taps_down * grid.taps_across, np.int64)
    counts = np.empty(grid.taps_down * grid.taps_across, np.int64)
    rows = grid.images * grid.target_height
    for row in range(rows * part // parts, rows * (part + 1) // parts):
        n, i = row // grid.target_height, row % grid.target_height
        runs = list_pieces(grid, i, 0, grid.height, width, places, counts)
        places += n * grid.height * grid.width * width
        to = row * grid.target_width * grid.target_channels
        sum_pieces(products, width, places, counts, runs, start, start.dtype.type(1), y, to, grid)
