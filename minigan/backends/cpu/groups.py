"""The compiled loops of convolutions in groups, bundle by bundle: `group_tiles.py` has what a bundle is.

They are those of `correlate.py`, with one difference: what is padded into scratch is what one bundle sees of a block of
images, in the order in which its steps read it. `groups_plan.py` has the sizes.
"""

import numpy as np

from minigan.backends.cpu.correlate import Layout, list_positions, list_segments, read_block, read_phase
from minigan.backends.cpu.group_tiles import group_tile, put_pixel
from minigan.backends.cpu.groups_plan import Bundle
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.microkernel import close_table, put_tile
from minigan.backends.cpu.simd import (
    TILE_ROWS,
    TILE_VECTORS,
    copy,
    copy_row,
    fill,
    leaky_tile,
    load_rows,
    take_lanes,
    transpose_square,
)


@kernel
def copy_channels(part, parts, source, at, row, to, to_at, to_row, width, pixels):
    """Copies `width` channels of every pixel: to[i * to_row + to_at : ...] = source[i * row + at : ... + width]."""
    for i in range(pixels * part // parts, pixels * (part + 1) // parts):
        copy(to, i * to_row + to_at, source, i * row + at, width)


@kernel(inline=True)
def lie_evenly(weights, strip, j, count, step):
    """Tells whether the first weights of columns j to j + count lie `step` apart; a column without weights does not."""
    for k in range(count):
        if weights[strip, j + k] < 0 or weights[strip, j + k] != weights[strip, j] + k * step:
            return False
    return True


@kernel(inline=True)
def pack_strip(w, packed, to, taps, depth, weights, strip, weight_step, tap_size, columns, lanes):
    """Copies a strip's weights to packed[to:], (taps, depth, columns), with zeros in columns that have no output.

    Those of neighboring outputs lie side by side in w, or else, for an input gradient, those of a group's channels: a
    row is copied, or a square transposed, wherever the places are such.
    """
    rows = columns == TILE_VECTORS * lanes and lie_evenly(weights, strip, 0, columns, 1)
    squares = columns == TILE_VECTORS * lanes and weight_step == 1 and depth % lanes == 0
    for j in range(0, columns, lanes):
        squares = squares and lie_evenly(weights, strip, j, lanes, weights[strip, j + 1] - weights[strip, j])
    for t in range(len(taps)):
        at = taps[t] * tap_size
        if rows:
            for i in range(depth):
                copy_row(packed, to + i * columns, w, at + i * weight_step + weights[strip, 0])
        elif squares:
            for j in range(0, columns, lanes):
                place, row = at + weights[strip, j], weights[strip, j + 1] - weights[strip, j]
                for i in range(0, depth, lanes):
                    transpose_square(packed, to + i * columns + j, columns, w, place + i, row)
        else:
            for i in range(depth):
                for j in range(columns):
                    place = weights[strip, j]
                    packed[to + i * columns + j] = w[at + i * weight_step + place] if place >= 0 else 0
        to += depth * columns


@kernel
def pack_groups(part, parts, w, packed, taps, depth, weights, weight_step, tap_size, columns, lanes):
    """Copies weights into strips (bundles, taps, depth, columns)."""
    for strip in range(len(weights) * part // parts, len(weights) * (part + 1) // parts):
        to = strip * len(taps) * depth * columns
        pack_strip(w, packed, to, taps, depth, weights, strip, weight_step, tap_size, columns, lanes)


@kernel(inline=True)
def read_bundle(bundles, b):
    """A row of the table of bundles, with its fields' names."""
    return Bundle(bundles[b, 0], bundles[b, 1], bundles[b, 2], bundles[b, 3], bundles[b, 4], bundles[b, 5])


@kernel(inline=True)
def gather_bundle(kind, x, scratch, grid, channels, numbers, block, first_row, rows, bundle, lanes):
    """Pads what a bundle sees of a block's images: `rows` of them, of which row 0 is the first padded one."""
    size, to = grid.padded_width * numbers, 0
    first = min(max(grid.left, 0), grid.padded_width)
    last = max(min(grid.left + grid.width, grid.padded_width), first)
    for n in range(block.n_first, block.n_last):
        for row in range(first_row, first_row + rows):
            i = row - grid.top
            if i < 0 or i >= grid.height:
                fill(scratch, to, size)
            else:
                at = ((n * grid.height + i) * grid.width + first - grid.left) * channels + bundle.first_channel
                fill(scratch, to, first * numbers)
                for j in range(first, last):
                    put_pixel(kind, scratch, to + j * numbers, x, at, bundle, lanes, grid.columns)
                    at += channels
                fill(scratch, to + last * numbers, size - last * numbers)
            to += size


@kernel
def correlate_groups(
    part, parts, kind, x, packed, bias, slope, y, phases, grid, channels, step, bundles, lanes, scratch
):
    """Every phase of a plan, for this part's share of the blocks and bundles.

    Args:
        channels, step: see `GroupsPlan`.
        slope: of a LeakyReLU; 1 for no activation.
        scratch: (parts, ...), room for what a bundle sees of a block.
    """
    columns, depth, own = grid.columns, bundles[0, 3], scratch[part]
    bands = -(-grid.positions_down // grid.rows_per_block)
    blocks = -(-grid.images // grid.images_per_block) * bands
    capacity = grid.images_per_block * grid.rows_per_block * grid.positions_across + TILE_ROWS
    sources, targets = np.empty(len(phases) * capacity, np.int64), np.empty(len(phases) * capacity, np.int64)
    counts, strip = np.zeros(len(phases), np.int64), len(packed) // len(bundles)
    segments, row_size = np.empty(strip // columns + 1, np.int64), grid.padded_width * grid.channels
    listed, units = -1, blocks * len(bundles)

    for unit in range(units * part // parts, units * (part + 1) // parts):
        number, bundle = unit // len(bundles), read_bundle(bundles, unit % len(bundles))
        block = read_block(grid, number, bands, grid.positions_down)
        rows = (block.row_last - block.row_first - 1) * grid.stride_down + grid.reach
        if number != listed:  # the same for all bundles
            layout = Layout(0, rows * row_size, row_size)
            for f in range(len(phases)):
                own_sources, own_targets = sources[f * capacity :], targets[f * capacity :]
                counts[f] = list_positions(grid, read_phase(phases, f), block, layout, own_sources, own_targets)
            listed = number
        first_row = block.row_first * grid.stride_down
        gather_bundle(kind, x, own, grid, channels, grid.channels, block, first_row, rows, bundle, lanes)
        for f in range(len(phases)):
            phase = read_phase(phases, f)
            here = segments[: phase.taps_down * phase.taps_across]
            for tap in range(len(here)):
                here[tap] = tap // phase.taps_across * row_size + tap % phase.taps_across * grid.channels
            at = bundle.number * strip + phase.packed_at
            for t in range(0, counts[f], TILE_ROWS):
                positions = load_rows(sources, f * capacity + t)
                tile = group_tile(kind, own, positions, here, depth, step, packed, at, columns, bias, bundle.first)
                if slope != 1:
                    tile = leaky_tile(tile, slope)
                count = min(TILE_ROWS, counts[f] - t)
                put_tile(tile, y, targets, f * capacity + t, bundle.first, count, bundle.width, columns, False)


@kernel(inline=True)
def list_group_taps(grid, depth, step, sources, targets):
    """Lists where the pixels of each row of dw begin in scratch, and where it lies; returns how many there are."""
    count = grid.taps_down * grid.taps_across * depth
    for row in range(count):
        tap, i = row // depth, row % depth
        r, s = tap // grid.taps_across, tap % grid.taps_across
        sources[row] = (r * grid.padded_width + s) * grid.slab + i * step
        targets[row] = row * grid.channels_out
    close_table(sources, count)
    return count


@kernel
def correlate_group_weights(part, parts, kind, x, dy, dw, grid, step, bundles, lanes, images, panels):
    """This part's share of dw, some tiles of the bundles, summed over the images block by block.

    Args:
        images: (parts, ...), room for what a bundle sees of a block.
        panels: (parts, ...), room for a bundle's outputs of a block.
    """
    columns, depth = grid.columns, bundles[0, 3]
    bands = -(-grid.rows_out // grid.rows_per_block)
    blocks = -(-grid.images // grid.images_per_block) * bands
    capacity = grid.taps_down * grid.taps_across * depth + TILE_ROWS
    sources, targets = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    count = list_group_taps(grid, depth, step, sources, targets)
    segment_table = np.empty(grid.images_per_block * grid.rows_per_block, np.int64)
    nothing, image, packed = np.zeros(columns, dw.dtype), images[part], panels[part]
    tiles = -(-count // TILE_ROWS)
    begin, end = len(bundles) * tiles * part // parts, len(bundles) * tiles * (part + 1) // parts

    for number in range(blocks):
        block = read_block(grid, number, bands, grid.rows_out)
        rows = (block.row_last - block.row_first - 1) * grid.stride_down + grid.taps_down
        segments = list_segments(segment_table, grid, block)
        for b in range(begin // tiles, -(-end // tiles)):
            bundle = read_bundle(bundles, b)
            first_row = block.row_first * grid.stride_down
            gather_bundle(kind, x, image, grid, grid.channels, grid.slab, block, first_row, rows, bundle, lanes)
            gather_outputs(dy, packed, grid, block, bundle)
            for t in range(max(begin - b * tiles, 0) * TILE_ROWS, min(end - b * tiles, tiles) * TILE_ROWS, TILE_ROWS):
                tile = group_tile(
                    kind, image, load_rows(sources, t), segments, grid.columns_out, grid.stride_across * grid.slab,
                    packed, 0, columns, nothing, 0,
                )  # fmt: skip
                put_tile(tile, dw, targets, t, bundle.first, min(TILE_ROWS, count - t), bundle.width, columns, True)


@kernel(inline=True)
def gather_outputs(dy, packed, grid, block, bundle):
    """Copies a bundle's outputs of a block, one pixel after the other."""
    to, rows = 0, block.row_last - block.row_first
    for n in range(block.n_first, block.n_last):
        at = (n * grid.rows_out + block.row_first) * grid.columns_out * grid.channels_out + bundle.first
        for _ in range(rows * grid.columns_out):
            if bundle.width == grid.columns:
                copy_row(packed, to, dy, at)
            else:
                take_lanes(packed, to, dy, at, bundle.width)
            to += grid.columns
            at += grid.channels_out
