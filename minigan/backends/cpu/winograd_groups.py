"""The compiled loops of convolutions in groups with few multiplications: those of `winograd.py`, strip by strip.

A group reads its own channels only, and a strip holds whole groups. So a strip's points are transformed, multiplied and
transformed back before the next strip is looked at. The products are those of `group_tiles.py`, for each point.
"""

import numpy as np

from minigan.backends.cpu.group_tiles import multiply_groups, sum_groups
from minigan.backends.cpu.groups import pack_strip
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.simd import TILE_ROWS, add_lanes, add_tile, load_rows, store_tile, tile_from_row
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


@kernel(long=True)
def convolve_groups(
    part, parts, scheme, kind, x, w, weights, taps, places, bias, slope, y, grid, depth, blocks, scratch
):
    """This part's share of a convolution's strips and blocks of images.

    Args:
        weights, taps, places: see `WinogradGroupsPlan`; places is (weight_step, tap_size).
        depth: channels of a group.
        blocks: their number.
    """
    points, transformed, products, packed, strip_image = own_scratch(part, grid, scratch)
    rows, tap = item_rows(grid.tile_items, COLUMNS), depth * COLUMNS
    start, zeros = np.empty(COLUMNS, np.float32), np.zeros(COLUMNS, np.float32)
    units, ready = len(weights) * blocks, -1
    for unit in range(units * part // parts, units * (part + 1) // parts):
        strip = unit // blocks
        block = read_block(grid, unit % blocks * grid.images_per_block, grid.images * grid.bands)
        if strip != ready:
            pack_strip(w, packed, 0, taps, depth, weights, strip, places[0], places[1], COLUMNS, LANES)
            for item in range(0, tap, LANES):
                taps_to_points(scheme, transformed, item, grid.n * tap, tap, packed, item, grid.r * tap, tap)
            start_bias(start, bias, strip * COLUMNS, grid.channels_out)
            ready = strip
        transform_images(scheme, x, grid, block, Span(strip, strip + 1), points, strip_image)
        tiles = block.images * (block.i_last - block.i_first) * grid.tiles_across
        for point in range(grid.points):
            at, to = point * grid.point_step, point * grid.tile_items * COLUMNS
            for t in range(0, tiles, TILE_ROWS):
                tile = multiply_groups(
                    kind, tile_from_row(zeros, 0), points, load_rows(rows, 0), at, transformed, point * tap
                )
                store_tile(tile, products, load_rows(rows, t), to)
                at += grid.group_step
        put_outputs(scheme, products, grid, block, strip_image, start, slope, y, strip * COLUMNS)


@kernel(long=True)
def sum_group_weights(part, parts, scheme, kind, x, dy, sums, grid, depth, blocks, shares, scratch):
    """The points of weight gradients, (strips, shares, points, rows, columns): this part's share.

    Args:
        shares: of the blocks, summed up apart.
    """
    points, outputs, _, _, strip_image = own_scratch(part, grid, scratch)
    height = -(-depth // TILE_ROWS) * TILE_ROWS
    lines, rows, zeros = item_rows(height, 1), item_rows(height, COLUMNS), np.zeros(COLUMNS, np.float32)
    units = -(-grid.channels // COLUMNS) * shares
    for unit in range(units * part // parts, units * (part + 1) // parts):
        strip, share = Span(unit // shares, unit // shares + 1), unit % shares
        for number in range(blocks * share // shares, blocks * (share + 1) // shares):
            block = read_block(grid, number * grid.images_per_block, grid.images * grid.bands)
            transform_images(scheme, x, grid, block, strip, points, strip_image)
            transform_outputs(scheme, dy, grid, block, strip, outputs, strip_image)
            tiles = block.images * (block.i_last - block.i_first) * grid.tiles_across
            for point in range(grid.points):
                at, to = point * grid.point_step, (unit * grid.points + point) * height * COLUMNS
                for m in range(0, height, TILE_ROWS):
                    tile = sum_groups(
                        kind, tile_from_row(zeros, 0), tiles, points, load_rows(lines, m), at, outputs, at
                    )
                    if number == blocks * share // shares:
                        store_tile(tile, sums, load_rows(rows, m), to)
                    else:
                        add_tile(tile, sums, load_rows(rows, m), to)


@kernel
def put_group_weights(part, parts, scheme, sums, dw, grid, depth, shares):
    """Adds the sums of all shares, transformed back, to dw."""
    strips, tap, point = -(-grid.channels // COLUMNS), depth * COLUMNS, -(-depth // TILE_ROWS) * TILE_ROWS * COLUMNS
    taps = np.empty(grid.r * grid.r * tap, np.float32)
    for strip in range(strips * part // parts, strips * (part + 1) // parts):
        width = min(COLUMNS, grid.channels_out - strip * COLUMNS)
        for share in range(shares):
            at = (strip * shares + share) * grid.points * point
            for item in range(0, tap, LANES):
                points_to_taps(scheme, taps, item, grid.r * tap, tap, sums, at + item, grid.n * point, point)
            for row in range(grid.r * grid.r * depth):
                add_lanes(dw, row * grid.channels_out + strip * COLUMNS, taps, row * COLUMNS, width)
