"""The compiled loops of the convolutions: blocks of images in the cache, and tiles of the result in registers.

Channels are innermost, so in a padded image one row of the filter meets one contiguous run of S * C numbers, and a
convolution is a sum of a few such runs times packed weights, which is what `product_tile` computes. There is no
im2col: images are padded a block at a time, into scratch that stays in the second-level cache. `phases_plan.py`
and `weights_plan.py` have the
sizes.
"""

import numpy as np

from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.microkernel import close_table, product_tile, put_tile
from minigan.backends.cpu.phases_plan import Phase
from minigan.backends.cpu.simd import TILE_ROWS, copy, copy_row, fill, load_rows


@kernel(inline=True)
def gather(x, scratch, to, grid, n, first_row, rows, first_channel, channels):
    """Some channels of `rows` padded rows of image n into scratch[to:]; row 0 is the first padded one."""
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
def list_positions(grid, phase, n_first, n_last, u_first, u_last, base, image_size, row_size, sources, targets):
    """Where each position of a block begins, in the source and in the target; returns how many there are."""
    count = 0
    down, across = max(u_first, phase.first_down), phase.first_across
    for n in range(n_first, n_last):
        for u in range(down, min(u_last, phase.last_down)):
            row = (u - u_first) * grid.stride_down + phase.source_row
            source = base + (n - n_first) * image_size + row * row_size + phase.source_column * grid.channels
            row = n * grid.target_height + u * grid.step_down + phase.target_row
            target = row * grid.target_width + phase.target_column
            for v in range(across, phase.last_across):
                sources[count] = source + v * grid.stride_across * grid.channels
                targets[count] = (target + v * grid.step_across) * grid.target_channels
                count += 1
    close_table(sources, count)
    return count


@kernel
def correlate(part, parts, x, packed, bias, y, phases, grid, scratch, scratch_size):
    """Every phase of a plan, for this part's share of the blocks."""
    columns = grid.columns
    panels = -(-grid.target_channels // columns)
    bands = -(-grid.positions_down // grid.rows_per_block)
    blocks = -(-grid.images // grid.images_per_block) * bands
    capacity = grid.images_per_block * grid.rows_per_block * grid.positions_across + TILE_ROWS
    sources, targets = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    segments = np.empty(grid.reach, np.int64)
    scratch = scratch[part * scratch_size : (part + 1) * scratch_size]

    for block in range(blocks * part // parts, blocks * (part + 1) // parts):
        n_first, u_first = block // bands * grid.images_per_block, block % bands * grid.rows_per_block
        n_last = min(n_first + grid.images_per_block, grid.images)
        u_last = min(u_first + grid.rows_per_block, grid.positions_down)
        if grid.in_place:
            a, row_size = x, grid.width * grid.channels
            image_size = grid.height * row_size
            base = n_first * image_size + u_first * grid.stride_down * row_size
        else:
            a, row_size, base = scratch, grid.padded_width * grid.channels, 0
            rows = (u_last - u_first - 1) * grid.stride_down + grid.reach
            image_size = rows * row_size
            for n in range(n_first, n_last):
                gather(
                    x, scratch, (n - n_first) * image_size, grid, n, u_first * grid.stride_down, rows, 0, grid.channels
                )
        for f in range(len(phases)):
            phase = read_phase(phases, f)
            count = list_positions(
                grid, phase, n_first, n_last, u_first, u_last, base, image_size, row_size, sources, targets
            )
            for r in range(phase.taps_down):
                segments[r] = r * row_size
            run = phase.taps_across * grid.channels
            for panel in range(panels):
                panel_at = phase.packed_at + panel * phase.taps_down * run * columns
                width = min(columns, grid.target_channels - panel * columns)
                for t in range(0, count, TILE_ROWS):
                    tile = product_tile(
                        a,
                        load_rows(sources, t),
                        segments[: phase.taps_down],
                        run,
                        1,
                        packed,
                        panel_at,
                        columns,
                        bias,
                        panel * columns,
                    )
                    put_tile(
                        tile,
                        y,
                        targets,
                        t,
                        panel * columns,
                        min(TILE_ROWS, count - t),
                        width,
                        columns,
                        False,
                    )


@kernel(inline=True)
def gather_panel(dy, packed, grid, n_first, n_last, p_first, p_last, panel, width):
    """Some channels of a block of dy, one pixel after the other."""
    to, columns = 0, grid.columns
    pixels = (p_last - p_first) * grid.columns_out
    for n in range(n_first, n_last):
        at = (n * grid.rows_out + p_first) * grid.columns_out * grid.channels_out + panel * columns
        for _ in range(pixels):
            if width == columns:
                copy_row(packed, to, dy, at)
            else:
                fill(packed, to, columns)
                copy(packed, to, dy, at, width)
            to += columns
            at += grid.channels_out


@kernel(inline=True)
def list_taps(grid, slab, r_first, r_last, base, row_size, sources, targets):
    """Each row of dw in a slab: where its pixels begin, and where it lies; returns how many there are."""
    count = 0
    first_channel = slab * grid.slab
    for r in range(r_first, r_last):
        for s in range(grid.taps_across):
            for c in range(min(grid.slab, grid.channels - first_channel)):
                sources[count] = base + r * row_size + s * grid.slab + c
                row = (r * grid.taps_across + s) * grid.channels + first_channel + c
                targets[count] = row * grid.channels_out
                count += 1
    close_table(sources, count)
    return count


@kernel
def correlate_weights(part, parts, x, dy, dw, grid, image_scratch, image_size, panel_scratch, panel_size):
    """This part's share of dw, summed over the images block by block."""
    columns = grid.columns
    # The rectangle of dw that is this part's: some slabs, some panels, some rows of the filter.
    slab_first, slab_last = 0, -(-grid.channels // grid.slab)
    panel_first, panel_last = 0, -(-grid.channels_out // columns)
    r_first, r_last = 0, grid.taps_down
    if grid.split == 0:
        slab_first, slab_last = slab_last * part // parts, slab_last * (part + 1) // parts
    elif grid.split == 1:
        panel_first, panel_last = panel_last * part // parts, panel_last * (part + 1) // parts
    else:
        r_first, r_last = r_last * part // parts, r_last * (part + 1) // parts

    bands = -(-grid.rows_out // grid.rows_per_block)
    blocks = -(-grid.images // grid.images_per_block) * bands
    row_capacity = grid.taps_down * grid.taps_across * grid.slab + TILE_ROWS
    sources, targets = np.empty(row_capacity, np.int64), np.empty(row_capacity, np.int64)
    segment_table = np.empty(grid.images_per_block * grid.rows_per_block, np.int64)
    nothing = np.zeros(columns, x.dtype)
    image = image_scratch[part * image_size : (part + 1) * image_size]
    packed = panel_scratch[part * panel_size : (part + 1) * panel_size]
    row_size = grid.padded_width * grid.slab

    for block in range(blocks):
        n_first, p_first = block // bands * grid.images_per_block, block % bands * grid.rows_per_block
        n_last = min(n_first + grid.images_per_block, grid.images)
        p_last = min(p_first + grid.rows_per_block, grid.rows_out)
        rows = (p_last - p_first - 1) * grid.stride_down + grid.taps_down
        slab_size = (n_last - n_first) * rows * row_size
        for slab in range(slab_first, slab_last):
            for n in range(n_first, n_last):
                gather(
                    x,
                    image,
                    (slab - slab_first) * slab_size + (n - n_first) * rows * row_size,
                    grid,
                    n,
                    p_first * grid.stride_down,
                    rows,
                    slab * grid.slab,
                    grid.slab,
                )
        segments = segment_table[: (n_last - n_first) * (p_last - p_first)]
        for s in range(len(segments)):
            n, p = s // (p_last - p_first), s % (p_last - p_first)
            segments[s] = (n * rows + p * grid.stride_down) * row_size
        for panel in range(panel_first, panel_last):
            width = min(columns, grid.channels_out - panel * columns)
            source, source_at, source_row = packed, 0, columns
            if grid.in_place and width == columns:
                source, source_row = dy, grid.channels_out
                source_at = (n_first * grid.rows_out + p_first) * grid.columns_out * source_row + panel * columns
            else:
                gather_panel(dy, packed, grid, n_first, n_last, p_first, p_last, panel, width)
            for slab in range(slab_first, slab_last):
                count = list_taps(
                    grid, slab, r_first, r_last, (slab - slab_first) * slab_size, row_size, sources, targets
                )
                for t in range(0, count, TILE_ROWS):
                    tile = product_tile(
                        image,
                        load_rows(sources, t),
                        segments,
                        grid.columns_out,
                        grid.stride_across * grid.slab,
                        source,
                        source_at,
                        source_row,
                        nothing,
                        0,
                    )
                    put_tile(
                        tile,
                        dw,
                        targets,
                        t,
                        panel * columns,
                        min(TILE_ROWS, count - t),
                        width,
                        columns,
                        True,
                    )
