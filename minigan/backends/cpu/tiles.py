"""The compiled loops of convolutions by products of bfloat16 numbers: `tiles_plan.py` has the sizes and the reasons.

    kernel               32 rows of a block are        its depth is              its columns are   packed once
    conv2d               images (or pixels)            taps and channels C       K                 w
    conv2d_input_grad    images (or pixels)            taps of a phase and K     C                 w, transposed
    conv2d_weight_grad   channels C of one tap         images, at each pixel     K                 dy

Scratch holds pixels as [row][column][image][channel], rounded while they are copied into it; for a weight gradient as
[row][column][32 images][channel][image].
"""

from typing import NamedTuple

import numpy as np

from minigan.backends.cpu.blocks import (
    BLOCK,
    DEPTH,
    SIDE,
    add_sums,
    keep_row,
    pair_rows,
    put_sums,
    take_row,
    turn_half,
    turn_rows,
)
from minigan.backends.cpu.correlate import read_phase
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.simd import fill
from minigan.backends.cpu.tile_units import HALF, Rows, Window, begin_products, end_products, multiply_block


class Band(NamedTuple):
    """Some images (or groups of 32), and some rows of their positions; each `last` is exclusive."""

    n_first: int
    n_last: int
    first: int
    last: int


@kernel
def pack_taps(part, parts, unit, w, packed, taps, channels, filters, depth_size, transposed):
    """Packs some taps of w (R, S, C, K) in blocks [panel][tap][depth]; one phase's, in their order.

    Args:
        depth_size: numbers of a packed block.
        transposed: whether the depth is K and columns are channels; else the other way round.
    """
    width, depth = (channels, filters) if transposed else (filters, channels)
    panels, blocks = -(-width // SIDE), -(-depth // DEPTH)
    jobs = panels * len(taps)
    for job in range(jobs * part // parts, jobs * (part + 1) // parts):
        panel, tap = job // len(taps), taps[job % len(taps)]
        for block in range(blocks):
            to, first = (job * blocks + block) * depth_size, block * DEPTH
            if transposed:
                for half in range(2):
                    c = panel * SIDE + half * HALF
                    turn_half(
                        unit, packed, to + half * (BLOCK // 2), BLOCK, w, (tap * channels + c) * filters + first,
                        filters, channels - c, filters - first,
                    )  # fmt: skip
            else:
                for i in range(0, DEPTH, 2):
                    c = first + i
                    pair_rows(
                        unit, packed, to + i * HALF, BLOCK, w, (tap * channels + c) * filters + panel * SIDE, filters,
                        channels - c, filters - panel * SIDE,
                    )  # fmt: skip


@kernel(inline=True)
def clear_margins(scratch, grid, tiling, rows):
    """Zeros left and right of the images in scratch, which no image overwrites."""
    pixel = tiling.together * tiling.pitch
    left, right = max(grid.left, 0), min(grid.left + grid.width, grid.padded_width)
    for row in range(rows):
        at = row * grid.padded_width * pixel
        fill(scratch, at, min(left, grid.padded_width) * pixel)
        if right < grid.padded_width:
            fill(scratch, at + max(right, 0) * pixel, (grid.padded_width - max(right, 0)) * pixel)


@kernel(inline=True)
def take_images(unit, x, scratch, grid, tiling, band):
    """Copies the rows that a band's positions meet into scratch."""
    first = band.first * grid.stride_down - grid.top  # the image's row that lies first in scratch
    last = first + (band.last - band.first - 1) * grid.stride_down + grid.reach
    columns = min(grid.width, grid.padded_width - grid.left)
    for n in range(band.n_first, band.n_last):
        for i in range(max(first, 0), min(last, grid.height)):
            for j in range(max(-grid.left, 0), columns):
                to = ((i - first) * grid.padded_width + grid.left + j) * tiling.together + n - band.n_first
                at = ((n * grid.height + i) * grid.width + j) * grid.channels
                for c in range(0, grid.channels, DEPTH):
                    take_row(unit, scratch, to * tiling.pitch + c, tiling.low, x, at + c, grid.channels - c)


@kernel(inline=True)
def take_window(unit, x, scratch, to, tiling, n, p, q):
    """Copies the window of one output position as one pixel, zeros around the image included."""
    run, end = tiling.window_columns * tiling.window_channels, tiling.depth * DEPTH
    i, j = p * tiling.window_down - tiling.window_top, q * tiling.window_across - tiling.window_left
    inside = j >= 0 and j + tiling.window_columns <= tiling.window_width
    for place in range(0, end, DEPTH):
        take_row(unit, scratch, to + place, tiling.low, x, 0, 0)
    for r in range(max(-i, 0), min(tiling.window_rows, tiling.window_height - i)):
        at = ((n * tiling.window_height + i + r) * tiling.window_width + j) * tiling.window_channels
        if inside:
            for first in range(0, run, DEPTH):
                keep_row(unit, x, at + first, scratch, to + r * run + first, tiling.low, run - first)
        else:
            for s in range(max(-j, 0), min(tiling.window_columns, tiling.window_width - j)):
                for first in range(0, tiling.window_channels, DEPTH):
                    here = s * tiling.window_channels + first
                    keep_row(
                        unit, x, at + here, scratch, to + r * run + here, tiling.low, tiling.window_channels - first
                    )


@kernel(inline=True)
def take_windows(unit, x, scratch, grid, tiling, band):
    """Copies the windows of a band's positions into scratch."""
    for n in range(band.n_first, band.n_last):
        for p in range(band.first, band.last):
            for q in range(grid.positions_across):
                to = ((p - band.first) * grid.padded_width + q) * tiling.together + n - band.n_first
                take_window(unit, x, scratch, to * tiling.pitch, tiling, n, p, q)


@kernel(inline=True)
def window_of(grid, tiling, phase, u, v):
    """The taps of one block's positions that meet the image; all of a row's where the block has several positions."""
    i = u * grid.stride_down + phase.source_row - grid.top
    j = v * grid.stride_across + phase.source_column - grid.left
    s_first, s_last = 0, phase.taps_across
    if tiling.across == 1:
        s_first, s_last = max(0, -j), min(phase.taps_across, grid.width - j)
    pixel = tiling.together * tiling.pitch
    tap = tiling.depth * tiling.packed
    return Window(
        max(0, -i), min(phase.taps_down, grid.height - i), s_first, s_last, tiling.depth,
        grid.padded_width * pixel, pixel, DEPTH, tiling.low, phase.taps_across * tap, tap, tiling.packed,
    )  # fmt: skip


@kernel(inline=True)
def count_rows(tiling, band, left):
    """The Rows of a block with so many positions left in its row."""
    n = band.n_last - band.n_first
    if tiling.together == 1:
        return min(HALF, left), max(0, min(SIDE, left) - HALF)
    if tiling.together == HALF:
        return n, n if left > 1 else 0
    return min(HALF, n), max(0, n - HALF)


@kernel(long=True)
def correlate_tiles(
    part, parts, unit, configuration, x, packed, bias, slope, y, phases, grid, tiling, lines, targets, scratch
):
    """Every phase of a plan, for this part's share of the bands.

    Args:
        packed: see `pack_taps`; where each phase's begin stands in `phases`.
        bias: as long as all panels.
        slope: of a LeakyReLU; 1 for no activation.
        scratch: (parts, ...), room for a band's pixels.
    """
    begin_products(unit, configuration)
    own, sums = scratch[part], np.empty(SIDE * SIDE, np.float32)
    bands, groups = -(-grid.positions_down // tiling.rows_per_block), -(-grid.images // tiling.together)
    pixel = tiling.together * tiling.pitch
    tap = tiling.depth * tiling.packed
    rows_in = (tiling.rows_per_block - 1) * grid.stride_down + grid.reach
    if tiling.window_height == 0:
        clear_margins(own, grid, tiling, rows_in)
    for number in range(groups * bands * part // parts, groups * bands * (part + 1) // parts):
        n, first = number // bands * tiling.together, number % bands * tiling.rows_per_block
        band = Band(
            n, min(n + tiling.together, grid.images), first, min(first + tiling.rows_per_block, grid.positions_down)
        )
        if tiling.window_height:
            take_windows(unit, x, own, grid, tiling, band)
        else:
            take_images(unit, x, own, grid, tiling, band)
        for f in range(len(phases)):
            phase = read_phase(phases, f)
            for panel in range(-(-grid.target_channels // SIDE)):
                b_at = phase.packed_at + panel * phase.taps_down * phase.taps_across * tap
                width = grid.target_channels - panel * SIDE
                for u in range(max(band.first, phase.first_down), min(band.last, phase.last_down)):
                    row = ((u - band.first) * grid.stride_down + phase.source_row) * grid.padded_width
                    i = u * grid.step_down + phase.target_row
                    for v in range(phase.first_across, phase.last_across, tiling.across):
                        at = (row + v * grid.stride_across + phase.source_column) * pixel
                        counts = count_rows(tiling, band, phase.last_across - v)
                        rows = Rows(lines[1], lines[HALF], counts[0], counts[1])
                        multiply_block(
                            unit, own, at, rows, lines, window_of(grid, tiling, phase, u, v), packed, b_at, sums
                        )
                        j = v * grid.step_across + phase.target_column
                        to = ((band.n_first * grid.target_height + i) * grid.target_width + j) * grid.target_channels
                        put_block(y, to + panel * SIDE, targets, rows, sums, bias, panel * SIDE, slope, width)
    end_products(unit)


@kernel(inline=True)
def put_block(y, to, targets, rows, sums, bias, bias_at, slope, width):
    """Stores the rows of a block that count."""
    for m in range(rows.first):
        put_sums(y, to + targets[m], sums, m * SIDE, bias, bias_at, slope, width)
    for m in range(HALF, HALF + rows.second):
        put_sums(y, to + targets[m], sums, m * SIDE, bias, bias_at, slope, width)


# ---------------------------------------------------------------------------------------------------- weight gradient


@kernel
def pair_images(part, parts, unit, dy, packed, tiling):
    """Packs dy in blocks [panel][row][column][32 images], whose depth are the images."""
    pixels, panels = tiling.rows_out * tiling.columns_out, -(-tiling.channels_out // SIDE)
    image_size = pixels * tiling.channels_out
    for pixel in range(pixels * part // parts, pixels * (part + 1) // parts):
        for group in range(tiling.groups):
            for panel in range(panels):
                to = ((panel * pixels + pixel) * tiling.groups + group) * tiling.packed
                for i in range(0, DEPTH, 2):
                    n = group * DEPTH + i
                    at = n * image_size + pixel * tiling.channels_out + panel * SIDE
                    pair_rows(
                        unit, packed, to + i * HALF, BLOCK, dy, at, image_size, tiling.images - n,
                        tiling.channels_out - panel * SIDE,
                    )  # fmt: skip


@kernel(inline=True)
def turn_images(unit, x, scratch, tiling, groups, c, first, last):
    """Turns 32 channels of some rows of x, so that their depth are the images: [row][column][32 images]."""
    image_size = tiling.height * tiling.width * tiling.channels
    for i in range(first, last):
        for j in range(tiling.width):
            for group in range(groups[0], groups[1]):
                to = (((i - first) * tiling.width + j) * tiling.together + group - groups[0]) * tiling.packed
                at = group * DEPTH * image_size + (i * tiling.width + j) * tiling.channels + c
                turn_rows(
                    unit, scratch, to, BLOCK, x, at, image_size, tiling.images - group * DEPTH, tiling.channels - c
                )


@kernel(inline=True)
def turn_windows(unit, plain, x, scratch, line, tiling, windows, groups, c, first, last):
    """The same for windows: gathers those of 32 images, then turns 32 of their numbers.

    Args:
        plain: the unit for numbers that are rounded already.
        line: where scratch has room for them.
    """
    for p in range(first, last):
        for q in range(tiling.columns_out):
            for group in range(groups[0], groups[1]):
                images = min(DEPTH, tiling.images - group * DEPTH)
                for n in range(images):
                    take_window(unit, x, scratch, line + n * windows.pitch, windows, group * DEPTH + n, p, q)
                to = (((p - first) * tiling.columns_out + q) * tiling.together + group - groups[0]) * tiling.packed
                for part in range(tiling.packed // BLOCK):
                    turn_rows(
                        plain, scratch, to + part * BLOCK, 0, scratch, line + part * windows.low + c, windows.pitch,
                        images, DEPTH,
                    )  # fmt: skip


@kernel(long=True)
def correlate_weight_tiles(part, parts, unit, plain, configuration, x, packed, dw, tiling, windows, scratch):
    """dw += this part's share: some blocks of channels, or some panels.

    Args:
        packed: see `pair_images`.
        scratch: (parts, ...), room for the turned rows of a band.
    """
    begin_products(unit, configuration)
    own, sums = scratch[part], np.empty(SIDE * SIDE, np.float32)
    lines = np.arange(SIDE) * DEPTH
    deep, panels = -(-tiling.channels // SIDE), -(-tiling.channels_out // SIDE)
    c_first, c_last, k_first, k_last = 0, deep, 0, panels
    if tiling.split:
        k_first, k_last = panels * part // parts, panels * (part + 1) // parts
    else:
        c_first, c_last = deep * part // parts, deep * (part + 1) // parts
    for c in range(c_first, c_last):
        for first in range(0, tiling.groups, tiling.together):
            groups = first, min(first + tiling.together, tiling.groups)
            for p in range(0, tiling.rows_out, tiling.rows_per_block):
                band = Band(groups[0], groups[1], p, min(p + tiling.rows_per_block, tiling.rows_out))
                i_first = max(p * tiling.stride_down - tiling.top, 0)
                if windows.window_height:
                    line = len(own) - SIDE * windows.pitch
                    turn_windows(unit, plain, x, own, line, tiling, windows, groups, c * SIDE, p, band.last)
                else:
                    i_last = min((band.last - 1) * tiling.stride_down - tiling.top + tiling.taps_down, tiling.height)
                    turn_images(unit, x, own, tiling, groups, c * SIDE, i_first, i_last)
                for k in range(k_first, k_last):
                    add_band(unit, own, packed, dw, tiling, lines, sums, band, i_first, c * SIDE, k * SIDE)
    end_products(unit)


@kernel(inline=True)
def add_band(unit, turned, packed, dw, tiling, lines, sums, band, i_first, c, k):
    """Adds a band's share to 32 channels by 32 filters of each tap of dw.

    Args:
        i_first: the row of the image that lies first in `turned`.
    """
    count, width = min(SIDE, tiling.channels - c), tiling.channels_out - k
    rows = Rows(DEPTH, HALF * DEPTH, min(HALF, count), max(0, count - HALF))
    pixel, gradient = tiling.together * tiling.packed, tiling.groups * tiling.packed
    for r in range(tiling.taps_down):
        p_first = max(band.first, -((r - tiling.top) // tiling.stride_down))
        p_last = min(band.last, (tiling.height - 1 + tiling.top - r) // tiling.stride_down + 1)
        for s in range(tiling.taps_across):
            q_first = max(0, -((s - tiling.left) // tiling.stride_across))
            q_last = min(tiling.columns_out, (tiling.width - 1 + tiling.left - s) // tiling.stride_across + 1)
            if p_first >= p_last or q_first >= q_last:
                continue
            i = p_first * tiling.stride_down - tiling.top + r - i_first
            j = q_first * tiling.stride_across - tiling.left + s
            window = Window(
                0, p_last - p_first, 0, q_last - q_first, band.n_last - band.n_first,
                tiling.stride_down * tiling.width * pixel, tiling.stride_across * pixel, tiling.packed, BLOCK,
                tiling.columns_out * gradient, gradient, tiling.packed,
            )  # fmt: skip
            b_at = (k // SIDE * tiling.rows_out + p_first) * tiling.columns_out + q_first
            b_at = b_at * gradient + band.n_first * tiling.packed
            multiply_block(unit, turned, (i * tiling.width + j) * pixel, rows, lines, window, packed, b_at, sums)
            to = ((r * tiling.taps_across + s) * tiling.channels + c) * tiling.channels_out + k
            for m in range(count):
                add_sums(dw, to + m * tiling.channels_out, sums, m * SIDE, width)
