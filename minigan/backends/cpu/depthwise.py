"""The compiled loops of depthwise convolutions, whose lanes are channels; `depthwise_plan.py` has the sizes.

They do a few multiply-adds for each number that they read, so memory is what bounds them. Images are read where they
are, row by row, all channels of a few pixels before the next ones, and written likewise: nothing is copied.
"""

from minigan.backends.cpu.correlate import read_phase
from minigan.backends.cpu.depthwise_tiles import (
    PIXELS,
    add_edge_row,
    add_edge_taps,
    add_filter_row,
    add_taps,
    end_stream,
    load_taps,
    put_some_pixels,
    start_pixels,
    stream_pixels,
)
from minigan.backends.cpu.image_tiles import put_images
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.simd import TILE_VECTORS, fill, leaky_tile, prefetch_row


@kernel(inline=True)
def ask_below(x, grid, below, c):
    """Asks for what the next row of tiles will read and this one does not: a piece of it, as it lies in memory.

    The processor foresees what is contiguous, and not channels of several pixels by turns.
    """
    across = PIXELS * grid.stride_across
    for row in range(grid.stride_down):
        for k in range(across):
            prefetch_row(x, below + row * grid.width * grid.channels + c * across + k * grid.columns)


@kernel
def correlate_depthwise(part, parts, window, x, packed, bias, slope, y, phases, grid, reads, stream):
    """Every phase of a plan, for this part's share of the rows of positions.

    Args:
        window: what a tile sees of one row.
        packed: weights (strips, taps, columns).
        slope: of a LeakyReLU; 1 for no activation.
        reads: pixels of a row that a tile reads.
        stream: whether y goes past the caches: a vector's multiple of channels, aligned to vectors.
    """
    columns, channels, row_size = grid.columns, grid.channels, grid.width * grid.channels
    strip, units = len(packed) // -(-channels // columns), grid.images * grid.positions_down
    for unit in range(units * part // parts, units * (part + 1) // parts):
        n, u = unit // grid.positions_down, unit % grid.positions_down
        for f in range(len(phases)):
            phase = read_phase(phases, f)
            if phase.first_down <= u < phase.last_down:
                i = u * grid.stride_down + phase.source_row - grid.top
                r_first, r_last = max(0, -i), min(phase.taps_down, grid.height - i)
                for v in range(phase.first_across, phase.last_across, PIXELS):
                    count = min(PIXELS, phase.last_across - v)
                    j = v * grid.stride_across + phase.source_column - grid.left
                    first, last = max(0, -j), min(reads, grid.width - j)
                    source = ((n * grid.height + i + r_first) * grid.width + j) * channels
                    below = ((n * grid.height + i + phase.taps_down) * grid.width + j) * channels
                    down = n * grid.target_height + u * grid.step_down + phase.target_row
                    target = (down * grid.target_width + v * grid.step_across + phase.target_column) * channels
                    for c in range(0, channels, columns):
                        at = c // columns * strip + phase.packed_at + r_first * phase.taps_across * columns
                        tile, here = start_pixels(bias, c), source + c
                        if f == 0:
                            ask_below(x, grid, below, c)
                        width = min(columns, channels - c)
                        if width == columns and first == 0 and last == reads:
                            for _ in range(r_first, r_last):
                                tile = add_filter_row(window, tile, x, here, channels, packed, at)
                                here += row_size
                                at += phase.taps_across * columns
                        else:
                            for _ in range(r_first, r_last):
                                tile = add_edge_row(window, tile, x, here, channels, packed, at, first, last, width)
                                here += row_size
                                at += phase.taps_across * columns
                        if slope != 1:
                            tile = leaky_tile(tile, slope)
                        if stream and count == PIXELS:
                            stream_pixels(tile, y, target + c, grid.step_across * channels)
                        elif count == PIXELS and width == columns:
                            put_images(tile, y, target + c, grid.step_across * channels)
                        else:
                            put_some_pixels(tile, y, target + c, grid.step_across * channels, count, width)
    if stream:
        end_stream()


@kernel(inline=True)
def ask_ahead(x, dy, grid, line, c, q):
    """Asks for what a line of dy and its windows will need: a piece of its rows, in the order in which they lie.

    The channels of a vector lie too far apart for the processor to foresee them. All pieces together are all channels.
    """
    lanes, row_size = grid.columns, grid.width * grid.channels
    bottom = line // grid.rows_out * grid.height + line % grid.rows_out * grid.stride_down - grid.top + grid.taps_down
    for k in range(q, q + PIXELS, TILE_VECTORS):
        prefetch_row(dy, line * grid.columns_out * grid.channels + c * grid.columns_out + k * lanes)
    for row in range(bottom - grid.stride_down, bottom):
        for k in range(q * grid.stride_across, (q + PIXELS) * grid.stride_across, TILE_VECTORS):
            prefetch_row(x, row * row_size + c * grid.width + k * lanes)


@kernel
def sum_depthwise(part, parts, window, x, dy, sums, grid, reads, shares, row, lines):
    """The weight gradients of this part's shares of the rows of dy: sums (shares, taps, row).

    Args:
        reads: pixels of a row of x that a tile reads.
        row: channels, up to whole vectors.
        lines: rows of dy that are summed up before the next channels are.
    """
    lanes, channels, row_size = grid.columns, grid.channels, grid.width * grid.channels
    taps, count = grid.taps_down * grid.taps_across, grid.images * grid.rows_out
    for share in range(shares * part // parts, shares * (part + 1) // parts):
        own, end = share * taps * row, count * (share + 1) // shares
        fill(sums, own, taps * row)
        for begin in range(count * share // shares, end, lines):
            for c in range(0, channels, lanes):
                tile, width = load_taps(window, sums, own + c, row), min(lanes, channels - c)
                for line in range(begin, min(begin + lines, end)):
                    i = line % grid.rows_out * grid.stride_down - grid.top
                    r_first, r_last = max(0, -i), min(grid.taps_down, grid.height - i)
                    inside = width == lanes and r_first == 0 and r_last == grid.taps_down
                    source = (line // grid.rows_out * grid.height + i) * row_size + c
                    for q in range(0, grid.columns_out, PIXELS):
                        j, there = q * grid.stride_across - grid.left, min(PIXELS, grid.columns_out - q)
                        first, last = max(0, -j), min(reads, grid.width - j)
                        at, dy_at = source + j * channels, (line * grid.columns_out + q) * channels + c
                        ask_ahead(x, dy, grid, line + lines, c, q)
                        if inside and there == PIXELS and first == 0 and last == reads:
                            tile = add_taps(window, tile, x, at, row_size, channels, dy, dy_at)
                        else:
                            tile = add_edge_taps(
                                window, tile, x, at, row_size, channels, dy, dy_at, r_first, r_last, first, last,
                                there, width,
                            )  # fmt: skip
                put_images(tile, sums, own + c, row)


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
