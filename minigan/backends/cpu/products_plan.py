"""The sizes of dense layers' products of bfloat16 numbers, which `products.py` computes, and when they pay.

A block of the result is 32 rows by 32 columns, and all of the product's depth is added up for it at once. So the sums
are the same whatever threads share out: groups of 32 rows or panels of 32 columns, whichever leaves each less to do.
Sums that add to a gradient are shared out by rows, as the optimizer's step is: they are in its cache then.

Small products stay in float32, whose backward pass is one call in compiled code. These are `long` kernels (see
`jit.py`), each a call through Python: handed over in compiled code they took so much longer that an MLP's step of
1.8 ms became one of 3.9 (on Zen 4, two threads). `tiles_plan.py` has what the steps are, and the errors.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

from minigan.backends.cpu.blocks import BLOCK, DEPTH, SIDE
from minigan.backends.cpu.processor import Processor
from minigan.backends.cpu.tile_units import Unit
from minigan.backends.cpu.tiles_plan import GAINS, PACKING_STEPS, PRODUCT_STEPS, TAKING_STEPS, OfUnit

# Bytes of packed panels, which stay in a second-level cache of 1 MiB, and of packed groups, which stay in the third.
PANEL_BYTES, GROUP_BYTES = 1 << 18, 1 << 22
# Steps in the time of the calls that a product adds, some 25 microseconds; it must save as many.
CALL_STEPS = 6000
# Columns of a product for which vectors along the rows are the faster way.
THIN = 3


class Product(NamedTuple):
    """The sizes of a product (rows, depth) . (depth, width)."""

    rows: int
    depth: int
    width: int
    transpose_a: bool
    transpose_b: bool
    accumulate: bool
    packed: int  # numbers of a packed block, low parts included
    groups_at_once: int  # of 32 rows
    panels_at_once: int  # of 32 columns
    split: int  # what threads share out: 0 groups, 1 panels


@dataclass(frozen=True, slots=True)
class ProductPlan(OfUnit):
    """A matrix product."""

    unit: Unit
    product: Product
    groups_size: int  # of one thread's packed groups
    panels_size: int
    threads: int
    steps: float


@functools.lru_cache(maxsize=1024)
def choose_product(
    rows: int,
    depth: int,
    width: int,
    processor: Processor,
    unit: Unit | None,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    accumulate: bool = False,
) -> ProductPlan | None:
    """The plan of a product, or None where float32 is about as fast."""
    if unit is None or processor.itemsize != 4 or not rows * depth * width:
        return None
    plan = plan_product(
        rows, depth, width, processor, unit, transpose_a=transpose_a, transpose_b=transpose_b, accumulate=accumulate
    )
    other_steps = float32_steps(rows, depth, width, processor)
    gain = GAINS[unit.products]
    return plan if gain * (plan.steps + CALL_STEPS) < other_steps else None


def float32_steps(rows: int, depth: int, width: int, processor: Processor) -> float:
    """Steps of the microkernel in the time of one thread's share of the product in float32."""
    if width <= THIN:
        return rows * depth * width / (processor.rows * processor.columns * processor.threads)
    return -(-rows // processor.rows) * -(-width // processor.columns) * depth / processor.threads


def plan_product(
    rows: int,
    depth: int,
    width: int,
    processor: Processor,
    unit: Unit,
    *,
    transpose_a: bool,
    transpose_b: bool,
    accumulate: bool,
) -> ProductPlan:
    """The plan of a product by blocks."""
    threads, packed = processor.threads, BLOCK * unit.parts
    groups, panels, blocks = -(-rows // SIDE), -(-width // SIDE), -(-depth // DEPTH)
    # Of a group's rows, vectors leave out those that are not there, as many as a tile of the microkernel has.
    full = -(-rows // processor.rows) * processor.rows / (groups * SIDE) if unit.name == "dot" else 1

    def steps(own_groups: int, own_panels: int) -> float:
        taken = own_groups * blocks * (PACKING_STEPS * 1.5 if transpose_a else SIDE * TAKING_STEPS)
        multiplied = own_groups * own_panels * blocks * unit.products * PRODUCT_STEPS[unit.name] * full
        return multiplied + (taken + own_panels * blocks * PACKING_STEPS) * unit.parts

    ways = [(-(-groups // threads), panels), (groups, -(-panels // threads))]
    split = 0 if accumulate and groups >= threads else min((0, 1), key=lambda way: steps(*ways[way]))
    own_groups, own_panels = ways[split]
    groups_at_once = max(1, min(own_groups, GROUP_BYTES // (2 * blocks * packed)))
    panels_at_once = max(1, min(own_panels, PANEL_BYTES // (2 * blocks * packed)))
    product = Product(
        rows, depth, width, transpose_a, transpose_b, accumulate, packed, groups_at_once, panels_at_once, split
    )
    sizes = (groups_at_once * blocks * packed, panels_at_once * blocks * packed)
    return ProductPlan(unit, product, *sizes, threads, steps(own_groups, own_panels))
