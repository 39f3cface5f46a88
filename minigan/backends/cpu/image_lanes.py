"""The compiled loops of convolutions in groups whose lanes are images: `image_tiles.py` has the arithmetic.

A pile is as many images as a vector has lanes. In scratch it is one image, each number of which is a vector, and only
the channels that a bundle of outputs sees. `image_lanes_plan.py` has the sizes.
"""

import numpy as np

from minigan.backends.cpu.correlate import Block, Layout, list_positions, read_phase
from minigan.backends.cpu.image_lanes_plan import PileBundle
from minigan.backends.cpu.image_tiles import (
    add_matched,
    add_weighted,
    image_tile,
    load_offsets,
    put_images,
    put_square,
    put_sums,
    take_square,
)
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.simd import TILE_ROWS, fill, leaky_tile, prefetch_lines, transpose_square

# Pixels from the one that is transposed to the one that is asked for.
AHEAD = 2


@kernel(inline=True)
def read_pile_bundle(bundles, b):
    """A row of the table of bundles, with its fields' names."""
    return PileBundle(bundles[b, 0], bundles[b, 1], bundles[b, 2], bundles[b, 3], bundles[b, 4], bundles[b, 5])


@kernel(inline=True)
def take_pixels(x, at, count, channels, to, scratch, pixels, lanes, image_size, pixel_size, first, width):
    """Transposes some channels of neighboring pixels of a pile into scratch, one pixel after the other."""
    for j in range(pixels):
        source = at + j * channels + first
        for c in range(0, width, lanes):
            here, there = to + j * pixel_size + c * lanes, min(width - c, lanes)
            prefetch_lines(x, source + c + AHEAD * channels, image_size, False)
            if count == lanes and there == lanes:
                transpose_square(scratch, here, lanes, x, source + c, image_size)
            else:
                take_square(scratch, here, x, source + c, image_size, count, there)


@kernel(inline=True)
def take_pile(x, scratch, to, grid, channels, pile, count, lanes, first_row, rows, first, width):
    """Pads `rows` rows of a pile, of which row 0 is the first padded one, into scratch[to:]."""
    size, image_size = grid.padded_width * grid.channels, grid.height * grid.width * channels
    begin = min(max(grid.left, 0), grid.padded_width)
    end = max(min(grid.left + grid.width, grid.padded_width), begin)
    for row in range(first_row, first_row + rows):
        i = row - grid.top
        if i < 0 or i >= grid.height:
            fill(scratch, to, size)
        else:
            at = pile * lanes * image_size + (i * grid.width + begin - grid.left) * channels
            fill(scratch, to, begin * grid.channels)
            here = to + begin * grid.channels
            take_pixels(
                x, at, count, channels, here, scratch, end - begin, lanes, image_size, grid.channels, first, width
            )  # fmt: skip
            fill(scratch, to + end * grid.channels, size - end * grid.channels)
        to += size


@kernel
def correlate_piles(part, parts, shape, x, packed, bias, slope, y, phases, grid, sizes, bundles, strips, scratch, room):
    """Every phase of a plan, for this part's share of the piles, bands and bundles.

    Args:
        shape: of a tile: its rows are pixels, its columns outputs.
        grid: of an image whose pixels have the numbers that they have in scratch.
        sizes: see `PilesPlan`.
        scratch: (parts, ...), room for what a bundle sees of a band of a pile.
        room: (parts, ...), for the results of one tile's pixels.
    """
    lanes, depth, own, results = sizes.lanes, sizes.depth, scratch[part], room[part]
    bands = -(-grid.positions_down // grid.rows_per_block)
    piles, square = -(-sizes.images // lanes), sizes.outputs * lanes
    capacity = grid.rows_per_block * grid.positions_across + TILE_ROWS + sizes.rows
    sources, targets = np.empty(len(phases) * capacity, np.int64), np.empty(len(phases) * capacity, np.int64)
    counts, strip_size = np.zeros(len(phases), np.int64), len(packed) // len(strips)
    row_size, image_size = (
        grid.padded_width * grid.channels,
        grid.target_height * grid.target_width * grid.target_channels,
    )
    listed, units = -1, piles * bands * len(bundles)

    for unit in range(units * part // parts, units * (part + 1) // parts):
        bundle = read_pile_bundle(bundles, unit % len(bundles))
        pile, band = unit // len(bundles) % piles, unit // len(bundles) // piles
        count = min(lanes, sizes.images - pile * lanes)
        first_row = band * grid.rows_per_block
        block = Block(0, 1, first_row, min(first_row + grid.rows_per_block, grid.positions_down))
        rows = (block.row_last - block.row_first - 1) * grid.stride_down + grid.reach
        if band != listed:
            for f in range(len(phases)):
                own_sources, own_targets = sources[f * capacity :], targets[f * capacity :]
                layout = Layout(0, rows * row_size, row_size)
                counts[f] = list_positions(grid, read_phase(phases, f), block, layout, own_sources, own_targets)
                for i in range(counts[f], min(counts[f] + sizes.rows, capacity)):
                    own_sources[i] = own_sources[max(counts[f] - 1, 0)]
            listed = band
        take_pile(
            x, own, 0, grid, sizes.channels, pile, count, lanes, first_row * grid.stride_down, rows,
            bundle.first_channel, bundle.channels,
        )  # fmt: skip
        for f in range(len(phases)):
            phase = read_phase(phases, f)
            for t in range(0, counts[f], sizes.rows):
                for m in range(min(sizes.rows, counts[f] - t)):
                    to = pile * lanes * image_size + targets[f * capacity + t + m] + bundle.first
                    prefetch_lines(y, to, image_size, True)
                positions = load_offsets(shape, sources, f * capacity + t)
                for s in range(bundle.first_strip, bundle.last_strip):
                    at = s * strip_size + phase.packed_at
                    tile = image_tile(shape, bias, strips[s, 1])
                    for r in range(phase.taps_down):
                        for q in range(phase.taps_across):
                            place = r * row_size + q * grid.channels + strips[s, 0]
                            for _ in range(depth):
                                tile = add_weighted(tile, own, positions, place, packed, at)
                                place += lanes
                                at += sizes.columns
                    if slope != 1:
                        tile = leaky_tile(tile, slope)
                    put_images(tile, results, (strips[s, 1] - bundle.first) * lanes, square)
                for m in range(min(sizes.rows, counts[f] - t)):
                    to = pile * lanes * image_size + targets[f * capacity + t + m] + bundle.first
                    put_square(y, to, image_size, results, m * square, count, bundle.width)


@kernel
def correlate_pile_weights(part, parts, shape, x, dy, dw, grid, sizes, bundles, strips, images, outputs):
    """This part's share of dw, some rows of the bundles' filters, summed over the piles band by band.

    Args:
        shape: of a tile: its rows are taps and channels, its columns outputs.
        grid: of an image whose pixels have the numbers that they have in scratch.
        images: (parts, ...), room for what a bundle sees of a block of piles.
        outputs: (parts, ...), room for a bundle's outputs of a block.
    """
    lanes, depth, image, packed = sizes.lanes, sizes.depth, images[part], outputs[part]
    bands, piles = -(-grid.rows_out // grid.rows_per_block), -(-sizes.images // lanes)
    blocks, pixel = -(-piles // grid.images_per_block) * bands, sizes.outputs * lanes
    row_size, dy_size = grid.padded_width * grid.channels, grid.rows_out * grid.columns_out * grid.channels_out
    capacity = grid.taps_down * grid.taps_across * depth + sizes.rows
    sources, targets = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    places = np.empty((grid.images_per_block * grid.rows_per_block, 2), np.int64)
    nothing, sums = np.zeros(sizes.columns, dw.dtype), np.empty(sizes.rows * sizes.columns, dw.dtype)
    units = len(bundles) * sizes.shares

    for unit in range(units * part // parts, units * (part + 1) // parts):
        bundle, share = read_pile_bundle(bundles, unit // sizes.shares), unit % sizes.shares
        r_first = grid.taps_down * share // sizes.shares
        taps = (grid.taps_down * (share + 1) // sizes.shares - r_first) * grid.taps_across
        wanted = taps * depth
        for row in range(wanted + sizes.rows):
            tap, c = min(row, wanted - 1) // depth, min(row, wanted - 1) % depth
            r, q = r_first + tap // grid.taps_across, tap % grid.taps_across
            sources[row] = r * row_size + q * grid.channels + c * lanes
            targets[row] = ((r * grid.taps_across + q) * depth + c) * grid.channels_out
        for number in range(blocks):
            first_pile, first_row = number // bands * grid.images_per_block, number % bands * grid.rows_per_block
            down = min(grid.rows_per_block, grid.rows_out - first_row)
            rows, lines = (down - 1) * grid.stride_down + grid.taps_down, 0
            for pile in range(first_pile, min(first_pile + grid.images_per_block, piles)):
                count, to = min(lanes, sizes.images - pile * lanes), (pile - first_pile) * rows * row_size
                take_pile(
                    x, image, to, grid, sizes.channels, pile, count, lanes, first_row * grid.stride_down, rows,
                    bundle.first_channel, bundle.channels,
                )  # fmt: skip
                at = pile * lanes * dy_size + first_row * grid.columns_out * grid.channels_out
                take_pixels(
                    dy, at, count, grid.channels_out, lines * grid.columns_out * pixel, packed,
                    down * grid.columns_out, lanes, dy_size, pixel, bundle.first, bundle.width,
                )  # fmt: skip
                for i in range(down):
                    places[lines, 0] = to + i * grid.stride_down * row_size
                    places[lines, 1] = lines * grid.columns_out * pixel
                    lines += 1
            for begin in range(0, lines, sizes.lines):
                for s in range(bundle.first_strip, bundle.last_strip):
                    width = strips[s, 2]
                    for t in range(0, wanted, sizes.rows):
                        offsets, tile = load_offsets(shape, sources, t), image_tile(shape, nothing, 0)
                        for line in range(begin, min(begin + sizes.lines, lines)):
                            a_at = places[line, 0] + strips[s, 0]
                            b_at = places[line, 1] + (strips[s, 1] - bundle.first) * lanes
                            for _ in range(grid.columns_out):
                                tile = add_matched(tile, image, offsets, a_at, packed, b_at)
                                a_at += grid.stride_across * grid.channels
                                b_at += pixel
                        put_sums(tile, sums)
                        for m in range(min(sizes.rows, wanted - t)):
                            to = targets[t + m] + strips[s, 1]
                            for j in range(width):
                                dw[to + j] += sums[m * sizes.columns + j]
