"""The sizes of convolutions by products of bfloat16 numbers, which `tiles.py` computes, and when they pay.

A block of a result is 32 rows by 32 channels. Tile registers want their rows at even distances, and the 32 rows are,
whichever wastes least,

- 32 images at one position: nothing is lost on images of 4x4 or 7x7, and taps outside the image are left out;
- 16 images at two neighboring positions;
- 32 neighboring positions of one image, for few, large images.

In scratch, the numbers of one pixel of all these images lie side by side. With few channels a pixel would be mostly
empty, so there a pixel is a whole window of the filter: see `has_thin_pixels`. A weight gradient adds up over images,
32 at a time: then no shift of a tap matters, and dy is packed once for all of them.

**Errors.** One product of factors that are rounded to bfloat16 errs by up to 3e-3 of the largest number; three
(high times high, high times low, low times high) by up to 1e-5, as Winograd's do. What is not finite stays so, and
reaches no other pixel.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from minigan.backends.cpu.blocks import BLOCK, DEPTH, SIDE
from minigan.backends.cpu.phases_plan import Grid, Phase, PhasesPlan, plan_forward, plan_input_grad
from minigan.backends.cpu.processor import Processor, balance
from minigan.backends.cpu.tile_units import Unit
from minigan.backends.geometry import ConvGeometry

# Bytes of one thread's scratch: half of a second-level cache of 1 MiB, the packed weights taking the rest.
SCRATCH_BYTES = 5 << 17
# Images whose pixels lie together, and positions of one block.
WAYS = ((32, 1), (16, 2), (1, 32))
# Numbers that are left free after each pixel: distances of a power of two would compete for the same cache lines.
PAD = 32
# Steps of the microkernel in float32 (16 multiply-adds of vectors) in the time of one block's product with 32 of depth;
# and of rounding 32 numbers, and of packing one block from weights, images or their gradients.
PRODUCT_STEPS = {"amx": 12.0, "dot": 64.0, "emulated": 64.0}
TAKING_STEPS, PACKING_STEPS = 2.0, 16.0
# How much faster by that count one product must be, and three, which cost digits.
GAINS = {1: 1.0, 3: 1.2}


class Tiling(NamedTuple):
    """How a convolution's pixels lie in scratch, beside what `Grid` says."""

    together: int  # images whose pixels lie side by side
    across: int  # positions of one block
    depth: int  # blocks of 32 channels
    low: int  # numbers from the high parts of a pixel to its low ones
    pitch: int  # from one image's pixel to the next image's
    packed: int  # numbers of a packed block, low parts included
    rows_per_block: int  # of positions, in scratch at a time
    window_height: int  # of the image whose windows are the pixels; 0: none are
    window_width: int
    window_channels: int
    window_rows: int  # taps
    window_columns: int
    window_down: int  # strides
    window_across: int
    window_top: int  # zeros above and left
    window_left: int


class OfUnit:
    """The name and the reason that both plans have."""

    __slots__ = ()
    unit: Unit

    @property
    def name(self) -> str:
        return f"{self.unit.name} bf16" if self.unit.products == 1 else f"{self.unit.name} bf16x3"

    @property
    def reason(self) -> str:
        if self.unit.products == 1:
            return "factors rounded to bfloat16, which this processor multiplies in pairs"
        return "three bfloat16 products, of high and low parts, are faster here than one of float32"


@dataclass(frozen=True, slots=True)
class TilesPlan(OfUnit):
    """A convolution or an input gradient.

    Attributes:
        table: the phases, as in `PhasesPlan`, with packed blocks.
        taps: of each phase.
        lines: where the 32 rows of a block lie in scratch.
        targets: where they go to.
    """

    unit: Unit
    grid: Grid
    tiling: Tiling
    table: np.ndarray
    taps: tuple[np.ndarray, ...]
    transposed: bool
    packed_size: int
    scratch_size: int  # of one thread
    lines: np.ndarray
    targets: np.ndarray
    threads: int
    steps: float


class WeightTiling(NamedTuple):
    """The sizes of a weight gradient."""

    images: int
    height: int
    width: int
    channels: int  # of a pixel, or the numbers of a window
    top: int
    left: int
    rows_out: int
    columns_out: int
    channels_out: int
    taps_down: int
    taps_across: int
    stride_down: int
    stride_across: int
    groups: int  # of 32 images
    together: int  # groups that are in scratch at a time
    packed: int  # numbers of a packed block, low parts included
    rows_per_block: int  # of dy
    split: int  # what threads share out: 0 blocks of channels, 1 panels of dy


@dataclass(frozen=True, slots=True)
class WeightTilesPlan(OfUnit):
    unit: Unit
    tiling: WeightTiling
    windows: Tiling  # where a pixel is a window; else without one
    packed_size: int
    scratch_size: int  # of one thread
    threads: int
    steps: float


def choose_tiles(
    kernel: str, g: ConvGeometry, images: int, processor: Processor, unit: Unit | None, other_steps: float
) -> TilesPlan | WeightTilesPlan | None:
    """The plan of one of the three kernels, or None where another way is about as fast.

    Args:
        unit: of this processor, with the number of products that the precision asks for.
        other_steps: of the microkernel, in the time that one thread takes the other way.
    """
    if unit is None or processor.itemsize != 4:
        return None
    plan = (
        plan_weight_tiles(g, images, processor, unit)
        if kernel == "conv2d_weight_grad"
        else plan_tiles(kernel, g, images, processor, unit)
    )
    return plan if plan.steps * GAINS[unit.products] < other_steps else None


def has_thin_pixels(g: ConvGeometry) -> bool:
    """Tells whether a whole window takes fewer blocks of depth than its taps do one by one."""
    return -(-g.R * g.S * g.C // DEPTH) * 2 <= g.R * g.S * -(-g.C // DEPTH) and g.R * g.S > 1


def _windowed(g: ConvGeometry) -> ConvGeometry:
    """The convolution whose pixels are the windows of g."""
    return ConvGeometry(g.P, g.Q, g.R * g.S * g.C, g.K, 1, 1)


def _tiling(g: ConvGeometry, channels: int, unit: Unit, *, windows: bool) -> Tiling:
    """The sizes of a pixel with so many channels: of one image by itself."""
    depth = -(-channels // DEPTH)
    window = (g.H, g.W, g.C, g.R, g.S, *g.stride, g.padding[0][0], g.padding[1][0]) if windows else (0,) * 9
    return Tiling(1, 1, depth, depth * DEPTH, unit.parts * depth * DEPTH + PAD, unit.parts * BLOCK, 1, *window)


class Cut(NamedTuple):
    """One way to cut a convolution into bands of images that are in scratch at a time."""

    tiling: Tiling
    scratch: int  # numbers
    steps: float

    @classmethod
    def of(cls, phased: PhasesPlan, tiling: Tiling, unit: Unit) -> Self:
        """The bands that fit into scratch, of at least one row of positions."""
        grid, threads = phased.grid, phased.threads
        groups, pixel = -(-grid.images // tiling.together), tiling.together * tiling.pitch

        def scratch(rows: int) -> int:
            return ((rows - 1) * grid.stride_down + grid.reach) * grid.padded_width * pixel

        bands = -(-threads // groups)
        while bands < grid.positions_down and 2 * scratch(-(-grid.positions_down // bands)) > SCRATCH_BYTES:
            bands += 1
        rows = -(-grid.positions_down // bands)
        bands = -(-grid.positions_down // rows)
        rows_taken = min(bands * ((rows - 1) * grid.stride_down + grid.reach), bands * grid.height)
        taken = grid.images * rows_taken * grid.width * _takes(tiling) * unit.parts
        products = groups * sum(_products(grid, phase, tiling.across) for phase in phased.phases) * tiling.depth
        products *= -(-grid.target_channels // SIDE)
        steps = products * unit.products * PRODUCT_STEPS[unit.name] + taken * TAKING_STEPS
        return cls(tiling._replace(rows_per_block=rows), scratch(rows), steps / threads)


def _takes(tiling: Tiling) -> int:
    """The number of rows of 32 that are copied for one pixel; a window is cleared first, then copied row by row."""
    return tiling.depth + tiling.window_rows * -(-tiling.window_columns * tiling.window_channels // DEPTH)


def _products(grid: Grid, phase: Phase, across: int) -> int:
    """The taps of all a phase's blocks, in one group of images, that meet the image."""
    down = sum(
        min(phase.taps_down, grid.height - i) - max(0, -i)
        for u in range(phase.first_down, phase.last_down)
        for i in (u * grid.stride_down + phase.source_row - grid.top,)
    )
    if across > 1:
        return down * phase.taps_across * -(-(phase.last_across - phase.first_across) // across)
    return down * sum(
        min(phase.taps_across, grid.width - j) - max(0, -j)
        for v in range(phase.first_across, phase.last_across)
        for j in (v * grid.stride_across + phase.source_column - grid.left,)
    )


def plan_tiles(kernel: str, g: ConvGeometry, images: int, processor: Processor, unit: Unit) -> TilesPlan:
    """The plan of "conv2d" or "conv2d_input_grad"."""
    transposed = kernel == "conv2d_input_grad"
    windows = not transposed and has_thin_pixels(g)
    phased = (plan_input_grad if transposed else plan_forward)(_windowed(g) if windows else g, images, processor)
    grid, plain = phased.grid, _tiling(g, phased.grid.channels, unit, windows=windows)
    ways = (plain._replace(together=together, across=across) for together, across in WAYS)
    tiling, scratch, steps = min((Cut.of(phased, way, unit) for way in ways), key=lambda cut: cut.steps)

    panels, table, packed = -(-grid.target_channels // SIDE), phased.table.copy(), 0
    for line, phase in zip(table, phased.phases, strict=True):
        line[-1] = packed
        packed += panels * phase.taps_down * phase.taps_across * tiling.depth * tiling.packed
    m, pixel = np.arange(SIDE), tiling.together * tiling.pitch
    image, position = m % tiling.together, m // tiling.together
    lines = image * tiling.pitch + position * grid.stride_across * pixel
    image_size = grid.target_height * grid.target_width * grid.target_channels
    targets = image * image_size + position * grid.step_across * grid.target_channels
    beyond = tiling.across * grid.stride_across * pixel  # rows of a block that are not there are read all the same
    return TilesPlan(
        unit, grid, tiling, table, phased.taps, transposed, packed, _whole(scratch + beyond + PAD),
        lines, targets, phased.threads, steps + packed / BLOCK * PACKING_STEPS / phased.threads,
    )  # fmt: skip


def plan_weight_tiles(g: ConvGeometry, images: int, processor: Processor, unit: Unit) -> WeightTilesPlan:
    """The plan of "conv2d_weight_grad"."""
    windows = has_thin_pixels(g)
    window_tiling = _tiling(g, g.R * g.S * g.C, unit, windows=windows)
    if windows:
        g = _windowed(g)
    threads, groups, packed = processor.threads, -(-images // SIDE), BLOCK * unit.parts
    deep, panels = -(-g.C // SIDE), -(-g.K // SIDE)

    def scratch(rows: int, together: int) -> int:
        return ((rows - 1) * g.stride[0] + g.R) * g.W * together * packed

    def fitting(together: int) -> int:
        return next((rows for rows in range(g.P, 1, -1) if 2 * scratch(rows, together) <= SCRATCH_BYTES), 1)

    together, rows = groups, fitting(groups)
    if rows * g.stride[0] < g.R and together > 1:  # rows of the image would be turned several times over
        together, rows = 1, fitting(1)
    split = int(balance(panels, threads) > balance(deep, threads))
    bands = -(-g.P // rows)
    tiling = WeightTiling(
        images, g.H, g.W, g.C, g.padding[0][0], g.padding[1][0], g.P, g.Q, g.K, g.R, g.S, *g.stride, groups,
        together, packed, rows, split,
    )  # fmt: skip
    own_deep, own_panels = (deep, -(-panels // threads)) if split else (-(-deep // threads), panels)
    blocks = own_deep * own_panels * g.R * g.S * g.P * g.Q * groups
    turned = own_deep * bands * ((rows - 1) * g.stride[0] + g.R) * g.W * groups
    paired = panels * g.P * g.Q * groups / threads
    steps = blocks * unit.products * PRODUCT_STEPS[unit.name] + (turned * 1.5 + paired) * unit.parts * PACKING_STEPS
    steps += turned * SIDE * _takes(window_tiling) * TAKING_STEPS * windows
    line = SIDE * window_tiling.pitch if windows else 0
    return WeightTilesPlan(
        unit,
        tiling,
        window_tiling,
        panels * g.P * g.Q * groups * packed,
        _whole(scratch(rows, together) + line + PAD),
        threads,
        steps,
    )


def _whole(numbers: int) -> int:
    """So many numbers, up to a whole cache line, so that the next thread's scratch begins with one."""
    return -(-numbers // DEPTH) * DEPTH
