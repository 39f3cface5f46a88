"""The compiled loops of dense layers' products of bfloat16 numbers: `products_plan.py` has the sizes and the reasons.

Both factors are packed: the left one in blocks of 32 rows by 32 of depth, row after row, the right one in the blocks of
`blocks.py`. Each thread packs what it needs, so that none waits for another: all of one factor, and of the other its
share. Of the right factor a few panels are packed at a time, which stay in the second-level cache.
"""

import numpy as np

from minigan.backends.cpu.blocks import (
    BLOCK,
    DEPTH,
    SIDE,
    add_sums,
    pair_rows,
    put_sums,
    take_row,
    turn_half,
    turn_rows,
)
from minigan.backends.cpu.jit import kernel
from minigan.backends.cpu.simd import copy
from minigan.backends.cpu.tile_units import HALF, Rows, Window, begin_products, end_products, multiply_block


@kernel(inline=True)
def pack_group(unit, a, packed, to, product, group):
    """Packs 32 rows of the left factor."""
    first = group * SIDE
    if product.transpose_a:
        for k in range(0, product.depth, DEPTH):
            turn_rows(
                unit, packed, to + k // DEPTH * product.packed, BLOCK, a, k * product.rows + first, product.rows,
                product.depth - k, product.rows - first,
            )  # fmt: skip
    else:
        for m in range(min(SIDE, product.rows - first)):
            at = (first + m) * product.depth
            for k in range(0, product.depth, DEPTH):
                place = to + k // DEPTH * product.packed + m * DEPTH
                take_row(unit, packed, place, BLOCK, a, at + k, product.depth - k)


@kernel(inline=True)
def pack_panel(unit, b, packed, to, product, panel):
    """Packs 32 columns of the right factor."""
    first = panel * SIDE
    for k in range(0, product.depth, DEPTH):
        at = to + k // DEPTH * product.packed
        if product.transpose_b:
            for half in range(2):
                j = first + half * HALF
                turn_half(
                    unit, packed, at + half * (BLOCK // 2), BLOCK, b, j * product.depth + k, product.depth,
                    product.width - j, product.depth - k,
                )  # fmt: skip
        else:
            for i in range(0, DEPTH, 2):
                pair_rows(
                    unit, packed, at + i * HALF, BLOCK, b, (k + i) * product.width + first, product.width,
                    product.depth - k - i, product.width - first,
                )  # fmt: skip


@kernel(inline=True)
def put_product(y, sums, bias, start, slope, product, group, panel):
    """Adds one block of sums to y, or stores it.

    Args:
        start: 32 zeros, or room for 32 numbers of the bias.
    """
    to, width = group * SIDE * product.width + panel * SIDE, product.width - panel * SIDE
    if len(bias):
        copy(start, 0, bias, panel * SIDE, min(SIDE, width))
    for m in range(min(SIDE, product.rows - group * SIDE)):
        if product.accumulate:
            add_sums(y, to + m * product.width, sums, m * SIDE, width)
        else:
            put_sums(y, to + m * product.width, sums, m * SIDE, start, 0, slope, width)


@kernel(long=True)
def multiply_tiles(part, parts, unit, configuration, a, b, bias, slope, y, product, packed_a, packed_b):
    """y = a . b + bias, then through the activation, or y += a . b: this part's share.

    Args:
        bias: (N,), or (0,) for none.
        slope: of a LeakyReLU; 1 for no activation.
        packed_a, packed_b: (parts, ...), scratch.
    """
    begin_products(unit, configuration)
    own_a, own_b = packed_a[part], packed_b[part]
    sums, start, lines = np.empty(SIDE * SIDE, np.float32), np.zeros(SIDE, np.float32), np.arange(SIDE) * DEPTH
    blocks = -(-product.depth // DEPTH)
    size, window = (
        blocks * product.packed,
        Window(0, 1, 0, 1, blocks, 0, 0, product.packed, BLOCK, 0, 0, product.packed),
    )
    g_first, g_last, p_first, p_last = 0, -(-product.rows // SIDE), 0, -(-product.width // SIDE)
    if product.split:
        p_first, p_last = p_last * part // parts, p_last * (part + 1) // parts
    else:
        g_first, g_last = g_last * part // parts, g_last * (part + 1) // parts
    for first in range(g_first, g_last, product.groups_at_once):
        last = min(first + product.groups_at_once, g_last)
        for group in range(first, last):
            pack_group(unit, a, own_a, (group - first) * size, product, group)
        for left in range(p_first, p_last, product.panels_at_once):
            right = min(left + product.panels_at_once, p_last)
            for panel in range(left, right):
                pack_panel(unit, b, own_b, (panel - left) * size, product, panel)
            for group in range(first, last):
                count = min(SIDE, product.rows - group * SIDE)
                rows = Rows(DEPTH, HALF * DEPTH, min(HALF, count), max(0, count - HALF))
                for panel in range(left, right):
                    multiply_block(
                        unit, own_a, (group - first) * size, rows, lines, window, own_b, (panel - left) * size, sums
                    )
                    put_product(y, sums, bias, start, slope, product, group, panel)
    end_products(unit)
