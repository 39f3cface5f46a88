"""The compiled loops of the convolutions: blocks of images in the cache, and tiles of the result in registers.

Channels are innermost, so in a padded image one row of the filter meets one contiguous run of S * C numbers, and a
convolution is a sum of a few such runs times packed weights, which is what `product_tile` computes. There is no
im2col: images are padded a block at a time, into scratch that stays in the second-level cache. `phases_plan.py` and
`weights_plan.py` have the sizes.
"""

from typing import NamedTuple

import numpy as np
from numba.extending import overload

from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.microkernel import close_table, product_tile, put_tile
from minigan.backends.cpu.phases_plan import Phase
from minigan.backends.cpu.simd import TILE_ROWS, copy, copy_row, fill, leaky_tile, load_rows, take_lanes

# Weights that leave half of a first-level cache to what they meet.
FEW_WEIGHTS = 1 << 12


class Block(NamedTuple):
    """Some images, or some rows of one image, that are computed together; a row is one of positions, or of pixels."""

    n_first: int
    n_last: int  # exclusive
    row_first: int
    row_last: int  # exclusive


class Layout(NamedTuple):
    """Offsets of a block's numbers in the array that holds them."""

    base: int  # of the first
    image_size: int  # from one image to the next
    row_size: int  # from one row to the next


class Share(NamedTuple):
    """The rectangle of dw that one part computes; each `last` is exclusive."""

    slab_first: int
    slab_last: int
    panel_first: int
    panel_last: int
    r_first: int  # rows of the filter
    r_last: int


@kernel(inline=True)
def read_block(grid, block, bands, positions):
    """The block of this number, where every image has so many bands of positions."""
    n_first, row_first = block // bands * grid.images_per_block, block % bands * grid.rows_per_block
    return Block(
        n_first,
        min(n_first + grid.images_per_block, grid.images),
        row_first,
        min(row_first + grid.rows_per_block, positions),
    )


@kernel(inline=True)
def gather(x, scratch, to, grid, n, first_row, rows, first_channel, channels):
    """Copies some channels of `rows` padded rows of image n to scratch[to:]; row 0 is the first padded one."""
    size = grid.padded_width * channels
    first = min(max(grid.left, 0), grid.padded_width)
    last = max(min(grid.left + grid.width, grid.padded_width), first)
    there = min(channels, grid.channels - first_channel)  # the last slab may be narrower
    for row in range(first_row, first_row + rows):
        i = row - grid.top
        if i < 0 or i >= grid.height:
            fill(scratch, to, size)
        else:
            fill(scratch, to, first * channels)
            fill(scratch, to + last * channels, size - last * channels)
            at = ((n * grid.height + i) * grid.width + first - grid.left) * grid.channels + first_channel
            here = to + first * channels
            if channels == grid.channels:
                copy(scratch, here, x, at, (last - first) * channels)
            elif there == TILE_ROWS:
                for j in range(last - first):
                    copy(scratch, here + j * TILE_ROWS, x, at + j * grid.channels, TILE_ROWS)
            else:
                for j in range(last - first):
                    copy(scratch, here + j * channels, x, at + j * grid.channels, there)
        to += size


@kernel(inline=True)
def read_phase(phases, f):
    """A row of the table of phases, with its fields' names."""
    return Phase(
        phases[f, 0], phases[f, 1], phases[f, 2], phases[f, 3], phases[f, 4], phases[f, 5], phases[f, 6], phases[f, 7],
        phases[f, 8], phases[f, 9], phases[f, 10],
    )  # fmt: skip


@kernel(inline=True)
def list_positions(grid, phase, block, layout, sources, targets):
    """Lists where each position of a block begins, in the source and in the target; returns how many there are."""
    first, across = max(block.row_first, phase.first_down), phase.first_across
    down, wide = max(min(block.row_last, phase.last_down) - first, 0), phase.last_across - across
    for n in range(block.n_first, block.n_last):
        for u in range(first, first + down):
            row = (u - block.row_first) * grid.stride_down + phase.source_row
            source = layout.base + (n - block.n_first) * layout.image_size + row * layout.row_size
            source += phase.source_column * grid.channels
            row = n * grid.target_height + u * grid.step_down + phase.target_row
            target = row * grid.target_width + phase.target_column
            at = ((n - block.n_first) * down + u - first) * wide - across
            for v in range(across, phase.last_across):
                sources[at + v] = source + v * grid.stride_across * grid.channels
                targets[at + v] = (target + v * grid.step_across) * grid.target_channels
    count = (block.n_last - block.n_first) * down * wide
    close_table(sources, count)
    return count


@kernel(inline=True)
def gather_block(x, scratch, grid, block):
    """Pads a block's images into scratch, unless they are read in place; returns their layout."""
    row_size = (grid.width if grid.in_place else grid.padded_width) * grid.channels
    first_row = block.row_first * grid.stride_down
    rows = (block.row_last - block.row_first - 1) * grid.stride_down + grid.reach
    image_size = (grid.height if grid.in_place else rows) * row_size
    if not grid.in_place:
        for n in range(block.n_first, block.n_last):
            gather(x, scratch, (n - block.n_first) * image_size, grid, n, first_row, rows, 0, grid.channels)
    base = block.n_first * image_size + first_row * row_size if grid.in_place else 0
    return Layout(base, image_size, row_size)


@kernel
def correlate(part, parts, x, packed, bias, slope, y, phases, grid, scratch):
    """Every phase of a plan, for this part's share of the blocks, or of their channels.

    Args:
        slope: of a LeakyReLU; 1 for no activation.
        scratch: (parts, ...), room for a block's padded images.
    """
    columns = grid.columns
    bands = -(-grid.positions_down // grid.rows_per_block)
    blocks = -(-grid.images // grid.images_per_block) * bands
    capacity = grid.images_per_block * grid.rows_per_block * grid.positions_across + TILE_ROWS
    sources, targets = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    segments = np.empty(grid.reach, np.int64)
    a = x if grid.in_place else scratch[part]
    panels, units = -(-grid.target_channels // columns), blocks * grid.shares

    for unit in range(units * part // parts, units * (part + 1) // parts):
        block, share = read_block(grid, unit // grid.shares, bands, grid.positions_down), unit % grid.shares
        begin = panels * share // grid.shares * columns
        end = min(panels * (share + 1) // grid.shares * columns, grid.target_channels)
        layout = gather_block(x, scratch[part], grid, block)
        for f in range(len(phases)):
            phase = read_phase(phases, f)
            count = list_positions(grid, phase, block, layout, sources, targets)
            for r in range(phase.taps_down):
                segments[r] = r * layout.row_size
            here, run = segments[: phase.taps_down], phase.taps_across * grid.channels
            # Few weights stay in the first-level cache, all of them: then each pixel is written at once.
            few = phase.taps_down * run * grid.target_channels <= FEW_WEIGHTS
            step = TILE_ROWS if few else max(count, 1)
            for t_first in range(0, count, step):
                for first in range(begin, end, columns):
                    width = min(columns, end - first)
                    at = phase.packed_at + first * phase.taps_down * run
                    for t in range(t_first, min(t_first + step, count), TILE_ROWS):
                        tile = product_tile(a, load_rows(sources, t), here, run, 1, packed, at, columns, bias, first)
                        if slope != 1:
                            tile = leaky_tile(tile, slope)
                        put_tile(tile, y, targets, t, first, min(TILE_ROWS, count - t), width, columns, False)


@kernel(inline=True)
def gather_panel(dy, packed, grid, block, panel, width):
    """Copies some channels of a block of dy, one pixel after the other."""
    columns, pixels = grid.columns, (block.row_last - block.row_first) * grid.columns_out
    for n in range(block.n_first, block.n_last):
        to = (n - block.n_first) * pixels * columns
        at = (n * grid.rows_out + block.row_first) * grid.columns_out * grid.channels_out + panel * columns
        for _ in range(pixels):
            if width == columns:
                copy_row(packed, to, dy, at)
            else:
                take_lanes(packed, to, dy, at, width)
            to += columns
            at += grid.channels_out


@kernel(inline=True)
def list_taps(grid, slab, share, base, sources, targets):
    """Lists where the pixels of each row of dw in a slab begin, and where it lies; returns how many there are.

    Args:
        base: where the slab begins in scratch.
    """
    first_channel, row_size = slab * grid.slab, grid.padded_width * grid.slab
    channels = min(grid.slab, grid.channels - first_channel)
    for r in range(share.r_first, share.r_last):
        for s in range(grid.taps_across):
            at = ((r - share.r_first) * grid.taps_across + s) * channels
            for c in range(channels):
                sources[at + c] = base + r * row_size + s * grid.slab + c
                row = (r * grid.taps_across + s) * grid.channels + first_channel + c
                targets[at + c] = row * grid.channels_out
    count = (share.r_last - share.r_first) * grid.taps_across * channels
    close_table(sources, count)
    return count


@kernel(inline=True)
def share_weights(grid, part, parts):
    """The part's rectangle of dw: some of its slabs, of its panels, or of its rows of the filter."""
    slabs, panels, rows = -(-grid.channels // grid.slab), -(-grid.channels_out // grid.columns), grid.taps_down
    if grid.split == 0:
        return Share(slabs * part // parts, slabs * (part + 1) // parts, 0, panels, 0, rows)
    if grid.split == 1:
        return Share(0, slabs, panels * part // parts, panels * (part + 1) // parts, 0, rows)
    return Share(0, slabs, 0, panels, rows * part // parts, rows * (part + 1) // parts)


def alike(dy, packed):
    """dy, as an array of packed's type; packed where that is another, and dy is never read in place."""
    raise NotImplementedError("for compiled code")


@overload(alike, inline="always")
def _alike(dy, packed):
    if dy.dtype == packed.dtype:
        return lambda dy, packed: dy  # noqa: ARG005
    return lambda dy, packed: packed  # noqa: ARG005


@kernel
def correlate_weights(part, parts, x, dy, dw, grid, images, panels):
    """This part's share of dw, summed over the images block by block.

    Args:
        images: (parts, ...), room for a block's padded images.
        panels: (parts, ...), room for a panel of a block of dy.
    """
    columns = grid.columns
    share = share_weights(grid, part, parts)
    bands = -(-grid.rows_out // grid.rows_per_block)
    blocks = -(-grid.images // grid.images_per_block) * bands
    capacity = grid.taps_down * grid.taps_across * grid.slab + TILE_ROWS
    sources, targets = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    segment_table = np.empty(grid.images_per_block * grid.rows_per_block, np.int64)
    nothing = np.zeros(columns, x.dtype)
    image, packed = images[part], panels[part]

    for number in range(blocks):
        block = read_block(grid, number, bands, grid.rows_out)
        slab_size = gather_slabs(x, image, grid, block, share)
        segments = list_segments(segment_table, grid, block)
        for panel in range(share.panel_first, share.panel_last):
            width = min(columns, grid.channels_out - panel * columns)
            source, source_at, source_row = packed, 0, columns
            if grid.in_place and width == columns:
                source, source_row = alike(dy, packed), grid.channels_out
                source_at = (block.n_first * grid.rows_out + block.row_first) * grid.columns_out * source_row
                source_at += panel * columns
            else:
                gather_panel(dy, packed, grid, block, panel, width)
            for slab in range(share.slab_first, share.slab_last):
                base = (slab - share.slab_first) * slab_size
                count = list_taps(grid, slab, share, base, sources, targets)
                for t in range(0, count, TILE_ROWS):
                    tile = product_tile(
                        image, load_rows(sources, t), segments, grid.columns_out, grid.stride_across * grid.slab,
                        source, source_at, source_row, nothing, 0,
                    )  # fmt: skip
                    put_tile(tile, dw, targets, t, panel * columns, min(TILE_ROWS, count - t), width, columns, True)


@kernel(inline=True)
def gather_slabs(x, image, grid, block, share):
    """Pads a block's images slab by slab; returns the size of a slab."""
    rows = (block.row_last - block.row_first - 1) * grid.stride_down + grid.taps_down
    image_size = rows * grid.padded_width * grid.slab
    slab_size = (block.n_last - block.n_first) * image_size
    first_row = block.row_first * grid.stride_down
    for slab in range(share.slab_first, share.slab_last):
        for n in range(block.n_first, block.n_last):
            to = (slab - share.slab_first) * slab_size + (n - block.n_first) * image_size
            gather(x, image, to, grid, n, first_row, rows, slab * grid.slab, grid.slab)
    return slab_size


@kernel(inline=True)
def list_segments(table, grid, block):
    """The offsets of a block's rows of pixels in a slab, in the beginning of the table."""
    down = block.row_last - block.row_first
    rows, row_size = (down - 1) * grid.stride_down + grid.taps_down, grid.padded_width * grid.slab
    segments = table[: (block.n_last - block.n_first) * down]
    for s in range(len(segments)):
        segments[s] = (s // down * rows + s % down * grid.stride_down) * row_size
    return segments
