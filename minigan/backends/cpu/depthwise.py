"""The compiled loops of depthwise convolutions, whose lanes are channels; `depthwise_plan.py` has the sizes.

They do a few multiply-adds for each number that they read, so memory is what bounds them: images are read once, whole
rows at a time, and written once.
"""

import numpy as np

from minigan.backends.cpu.correlate import gather, gather_block, list_positions, read_block, read_phase
from minigan.backends.cpu.group_tiles import outer_lanes
from minigan.backends.cpu.image_tiles import add_matched, image_tile, load_offsets, put_images, tile_height
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.microkernel import put_tile
from minigan.backends.cpu.simd import TILE_ROWS, copy, fill, leaky_tile, load_rows, tile_from_row


@kernel
def correlate_depthwise(part, parts, x, packed, bias, slope, y, phases, grid, scratch):
    """Every phase of a plan, for this part's share of the blocks.

    Args:
        packed: weights (strips, taps, columns).
        slope: of a LeakyReLU; 1 for no activation.
        scratch: (parts, ...), room for a block's padded images.
    """
    columns, channels = grid.columns, grid.channels
    bands = -(-grid.positions_down // grid.rows_per_block)
    blocks = -(-grid.images // grid.images_per_block) * bands
    capacity = grid.images_per_block * grid.rows_per_block * grid.positions_across + TILE_ROWS
    sources, targets = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    a, strip = x if grid.in_place else scratch[part], len(packed) // -(-channels // columns)

    for number in range(blocks * part // parts, blocks * (part + 1) // parts):
        block = read_block(grid, number, bands, grid.positions_down)
        layout = gather_block(x, scratch[part], grid, block)
        for f in range(len(phases)):
            phase = read_phase(phases, f)
            count = list_positions(grid, phase, block, layout, sources, targets)
            for t in range(0, count, TILE_ROWS):
                rows, there = load_rows(sources, t), min(TILE_ROWS, count - t)
                for first in range(0, channels, columns):
                    tile, at = tile_from_row(bias, first), first // columns * strip + phase.packed_at
                    for r in range(phase.taps_down):
                        here = first + r * layout.row_size
                        for _ in range(phase.taps_across):
                            tile = outer_lanes(tile, a, rows, here, packed, at)
                            here += channels
                            at += columns
                    if slope != 1:
                        tile = leaky_tile(tile, slope)
                    put_tile(tile, y, targets, t, first, there, min(columns, channels - first), columns, False)


@kernel
def sum_depthwise(part, parts, shape, x, dy, sums, grid, shares, row, images, outputs):
    """The weight gradients of this part's shares of the blocks: sums (shares, taps, row).

    Args:
        shape: of a tile: its rows are taps.
        row: channels, up to whole vectors.
        images, outputs: (parts, ...), room for a block of x, padded, and of dy.
    """
    height = tile_height(shape)
    lanes, channels, image, packed = grid.columns, grid.channels, images[part], outputs[part]
    bands = -(-grid.rows_out // grid.rows_per_block)
    blocks, taps = -(-grid.images // grid.images_per_block) * bands, grid.taps_down * grid.taps_across
    tiles, row_size = -(-taps // height), grid.padded_width * channels
    nothing, room = np.zeros(1, dy.dtype), np.empty(height * lanes, dy.dtype)
    sources = np.empty(tiles * height, np.int64)
    for tap in range(len(sources)):
        r, s = min(tap, taps - 1) // grid.taps_across, min(tap, taps - 1) % grid.taps_across
        sources[tap] = r * row_size + s * channels

    for share in range(shares * part // parts, shares * (part + 1) // parts):
        own = share * taps * row
        fill(sums, own, taps * row)
        for number in range(blocks * share // shares, blocks * (share + 1) // shares):
            block = read_block(grid, number, bands, grid.rows_out)
            down = block.row_last - block.row_first
            rows = (down - 1) * grid.stride_down + grid.taps_down
            size, line = down * grid.columns_out * channels, grid.columns_out * channels
            for n in range(block.n_first, block.n_last):
                i = n - block.n_first
                gather(
                    x, image, i * rows * row_size, grid, n, block.row_first * grid.stride_down, rows, 0, channels
                )
                copy(packed, i * size, dy, (n * grid.rows_out + block.row_first) * line, size)
            for c in range(0, channels, lanes):
                for t in range(tiles):
                    tile, offsets = image_tile(shape, nothing, 0), load_offsets(shape, sources, t * height)
                    b_at = c
                    for i in range((block.n_last - block.n_first) * down):
                        a_at = (i // down * rows + i % down * grid.stride_down) * row_size + c
                        for _ in range(grid.columns_out):
                            tile = add_matched(tile, image, offsets, a_at, packed, b_at)
                            a_at += grid.stride_across * channels
                            b_at += channels
                    put_images(tile, room, 0, lanes)
                    for m in range(min(height, taps - t * height)):
                        to = own + (t * height + m) * row + c
                        for j in range(lanes):
                            sums[to + j] += room[m * lanes + j]


@kernel
def put_depthwise(part, parts, sums, dw, shares, row, channels):
    """Adds the sums of all shares to dw, always in the same order."""
    taps = len(dw) // channels
    for tap in range(taps * part // parts, taps * (part + 1) // parts):
        for c in range(channels):
            total = sums[tap * row + c]
            for share in range(1, shares):
                total += sums[(share * taps + tap) * row + c]
            dw[tap * channels + c] += total
