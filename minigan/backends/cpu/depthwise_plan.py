"""The sizes of depthwise convolutions, which `depthwise.py` computes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minigan.backends.cpu.image_tiles import Shape
from minigan.backends.cpu.phases_plan import Grid, Phase, plan_forward, plan_input_grad
from minigan.backends.cpu.processor import BLOCK_BYTES, Processor, blocks
from minigan.backends.cpu.weights_plan import WeightGrid
from minigan.backends.geometry import ConvGeometry

# Parts of a batch whose weight gradients are summed up apart: as many whatever the threads, for the same bits.
SHARES = 4
# The most taps of a weight gradient's tile, each a register.
MOST_TAPS = 16


class DepthwisePlans:
    """Common to the three convolutions."""

    name: ClassVar[str] = "depthwise"
    reason: ClassVar[str] = "a channel meets nothing but its own filter, so whole pixels are multiplied and added"


@dataclass(frozen=True, slots=True)
class DepthwisePlan(DepthwisePlans):
    """A depthwise convolution, or its input gradient, by the phases of one without groups."""

    grid: Grid
    phases: tuple[Phase, ...]
    table: np.ndarray  # the phases, (phases, fields)
    taps: np.ndarray  # of all phases, r * S + s, in the order in which they are packed
    weights: np.ndarray  # (strips, columns): where in w a column's first weight lies; -1 for none
    weight_step: int
    tap_size: int  # of w
    scratch_size: int  # of one thread
    threads: int


@dataclass(frozen=True, slots=True)
class DepthwiseWeightsPlan(DepthwisePlans):
    """A depthwise weight gradient."""

    shape: Shape
    grid: WeightGrid
    shares: int
    row: int  # channels, up to whole vectors
    image_scratch: int  # of one thread
    output_scratch: int
    threads: int


def plan_depthwise(kernel: str, g: ConvGeometry, images: int, processor: Processor) -> DepthwisePlan:
    """The plan of `conv2d` or `conv2d_input_grad`."""
    alike, columns = ConvGeometry(g.H, g.W, g.C, g.K, g.R, g.S, g.stride, g.padding), processor.columns
    phased = (plan_forward if kernel == "conv2d" else plan_input_grad)(alike, images, processor)
    grid = phased.grid
    height = (grid.positions_down - 1) * grid.stride_down + grid.reach
    image_bytes = processor.itemsize * g.C * max(height * grid.padded_width, grid.height * grid.width)
    per_block, rows = blocks(images, grid.positions_down, processor.threads, image_bytes)
    # In scratch there is room beyond the last channel, where tiles read as well.
    in_place = int(grid.in_place and g.C % columns == 0)
    grid = grid._replace(in_place=in_place, images_per_block=per_block, rows_per_block=rows, shares=1)
    packed, placed = 0, []
    for phase, taps in zip(phased.phases, phased.taps, strict=True):
        placed.append(phase._replace(packed_at=packed))
        packed += len(taps) * columns
    outputs = np.arange(-(-g.C // columns) * columns)
    return DepthwisePlan(
        grid,
        tuple(placed),
        np.array(placed, np.int64),
        np.concatenate(phased.taps),
        np.where(outputs < g.C, outputs, -1).reshape(-1, columns),
        1,
        g.C,
        per_block * ((rows - 1) * grid.stride_down + grid.reach) * grid.padded_width * g.C + columns,
        processor.threads,
    )


def plan_depthwise_weights(g: ConvGeometry, images: int, processor: Processor) -> DepthwiseWeightsPlan:
    """The plan of `conv2d_weight_grad`."""
    taps, lanes = g.R * g.S, processor.lanes
    shape = Shape(-(-taps // -(-taps // MOST_TAPS)), 1)
    padded_width, shares = (g.Q - 1) * g.stride[1] + g.S, min(images, SHARES)
    height = (g.P - 1) * g.stride[0] + g.R
    image_bytes = processor.itemsize * g.C * (height * padded_width + g.P * g.Q)
    if image_bytes > BLOCK_BYTES:
        per_block, rows = 1, max(1, g.P * BLOCK_BYTES // image_bytes)
    else:
        per_block, rows = max(1, min(BLOCK_BYTES // image_bytes, images // shares)), g.P
    (top, _), (left, _) = g.padding
    grid = WeightGrid(
        images, g.H, g.W, g.C, top, left, padded_width, g.P, g.Q, g.K, g.R, g.S, *g.stride, 0, g.C, lanes,
        per_block, rows, 0,
    )  # fmt: skip
    image_scratch = per_block * ((rows - 1) * g.stride[0] + g.R) * padded_width * g.C + lanes
    return DepthwiseWeightsPlan(
        shape, grid, shares, -(-g.C // lanes) * lanes, image_scratch, per_block * rows * g.Q * g.C + lanes,
        processor.threads,
    )  # fmt: skip
