"""The sizes of depthwise convolutions, which `depthwise.py` computes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minigan.backends.cpu.depthwise_tiles import Window
from minigan.backends.cpu.phases_plan import Grid, Phase, plan_forward, plan_input_grad
from minigan.backends.cpu.processor import Processor
from minigan.backends.cpu.weights_plan import WeightGrid
from minigan.backends.geometry import ConvGeometry

# Parts of a batch whose weight gradients are summed up apart: as many whatever the threads, for the same bits.
SHARES = 4
# The most taps of a weight gradient, each a register.
MOST_TAPS = 16
# Pixels for which a weight gradient's sums stay in registers, so that loading and storing them is little beside.
PIXELS_AT_ONCE = 64

# Bytes of results that go past the caches: they would push out more than they leave for the next layer, and a line that
# is stored as a whole need not be read before. 1.2 to 3 times as fast on Zen 4, with a third-level cache of 32 MiB.
STREAMED = 1 << 23


class DepthwisePlans:
    """Common to the three convolutions."""

    name: ClassVar[str] = "depthwise"
    reason: ClassVar[str] = "a channel meets its own filter alone, so whole pixels are multiplied and added, in place"


@dataclass(frozen=True, slots=True)
class DepthwisePlan(DepthwisePlans):
    """A depthwise convolution, or its input gradient, by the phases of one without groups."""

    window: Window  # of one row of the filter
    grid: Grid
    phases: tuple[Phase, ...]
    table: np.ndarray  # the phases, (phases, fields)
    taps: np.ndarray  # of all phases, r * S + s, in the order in which they are packed
    weights: np.ndarray  # (strips, columns): where in w a column's first weight lies; -1 for none
    weight_step: int  # from one channel of a group to the next: there is one only
    tap_size: int  # of w
    streams: bool  # results go past the caches, if they are aligned
    threads: int


@dataclass(frozen=True, slots=True)
class DepthwiseWeightsPlan(DepthwisePlans):
    """A depthwise weight gradient."""

    window: Window
    grid: WeightGrid
    shares: int
    row: int  # channels, up to whole vectors
    lines: int  # rows of dy that are summed up before the next channels are
    threads: int


def is_depthwise(kernel: str, g: ConvGeometry) -> bool:
    """Tells whether the kernels of `depthwise.py` compute it; others that are as narrow are rare."""
    if not g.C == g.K == g.groups:
        return False
    if kernel == "conv2d_input_grad":  # its phases must have equally many taps
        return not g.R % g.stride[0] and not g.S % g.stride[1]
    return kernel == "conv2d" or g.R * g.S <= MOST_TAPS


def plan_depthwise(kernel: str, g: ConvGeometry, images: int, processor: Processor) -> DepthwisePlan:
    """The plan of `conv2d` or `conv2d_input_grad`."""
    alike, columns = ConvGeometry(g.H, g.W, g.C, g.K, g.R, g.S, g.stride, g.padding), processor.columns
    phased = (plan_forward if kernel == "conv2d" else plan_input_grad)(alike, images, processor)
    grid, packed, placed = phased.grid, 0, []
    for phase, taps in zip(phased.phases, phased.taps, strict=True):
        placed.append(phase._replace(packed_at=packed))
        packed += len(taps) * columns
    outputs = np.arange(-(-g.C // columns) * columns)
    return DepthwisePlan(
        Window(1, placed[0].taps_across, grid.stride_across),
        grid,
        tuple(placed),
        np.array(placed, np.int64),
        np.concatenate(phased.taps),
        np.where(outputs < g.C, outputs, -1).reshape(-1, columns),
        1,
        g.C,
        g.C % columns == 0 and images * grid.target_height * grid.target_width * g.C >= STREAMED // processor.itemsize,
        processor.threads,
    )


def plan_depthwise_weights(g: ConvGeometry, images: int, processor: Processor) -> DepthwiseWeightsPlan:
    """The plan of `conv2d_weight_grad`."""
    lanes, (top, _), (left, _) = processor.lanes, *g.padding
    grid = WeightGrid(
        images, g.H, g.W, g.C, top, left, 0, g.P, g.Q, g.K, g.R, g.S, *g.stride, 1, g.C, lanes, images, g.P, 0,
    )  # fmt: skip
    shares = min(images, SHARES)
    return DepthwiseWeightsPlan(
        Window(g.R, g.S, g.stride[1]), grid, shares, -(-g.C // lanes) * lanes, max(1, PIXELS_AT_ONCE // g.Q),
        min(processor.threads, shares),
    )  # fmt: skip
