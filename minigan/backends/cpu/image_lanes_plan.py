"""The sizes of convolutions in groups whose lanes are images, which `image_lanes.py` computes."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from minigan.backends.cpu.image_tiles import Shape
from minigan.backends.cpu.phases_plan import Grid, Phase, PhasesPlan, plan_forward, plan_input_grad
from minigan.backends.cpu.processor import BLOCK_BYTES, Processor, balance
from minigan.backends.cpu.sides import Sides
from minigan.backends.cpu.weights_plan import WeightGrid
from minigan.backends.geometry import ConvGeometry

# Channels of a bundle of several groups, at most: what it sees of a pixel should be a small part of a cache.
BUNDLE_CHANNELS = 64
# Pixels of a pile that a tile of a weight gradient sums up at once: what they and their outputs take stays in the
# first-level cache from one tap to the next, and adding up the lanes at the end takes little beside them.
PIXELS_AT_ONCE = 64
# Threads with less than this share of a weight gradient's bundles in balance share out the filters' rows as well.
BALANCED = 0.8


class PileBundle(NamedTuple):
    """Outputs of one group or of several, as many as a vector has numbers; a row of an int64 table."""

    first_channel: int  # of the image
    channels: int
    first: int  # output
    width: int
    first_strip: int
    last_strip: int  # exclusive


class Strip(NamedTuple):
    """Outputs of one group that a tile has as columns; a row of an int64 table."""

    place: int  # of its group's first channel, from the bundle's first on, in scratch
    first: int  # output
    width: int


class PileSizes(NamedTuple):
    """Sizes that the kernels of piles need beside a grid."""

    images: int
    channels: int  # of the image
    depth: int  # channels of a group
    lanes: int
    rows: int  # of a tile
    columns: int
    outputs: int  # of a pixel that there is room for
    lines: int  # of outputs that a weight gradient's tile sums up at once
    shares: int  # of the rows of the filter, which threads compute apart


class PilesPlan:
    """Common to the three convolutions."""

    name: ClassVar[str] = "images in lanes"
    reason: ClassVar[str] = "a vector holds one number of several images, so every lane is used, however narrow a group"


@dataclass(frozen=True, slots=True)
class PileImagesPlan(PilesPlan):
    """A convolution in groups, or its input gradient, by the phases of one without."""

    shape: Shape
    grid: Grid
    sizes: PileSizes
    phases: tuple[Phase, ...]
    table: np.ndarray  # the phases, (phases, fields)
    taps: np.ndarray  # of all phases, r * S + s, in the order in which they are packed
    bundles: np.ndarray
    strips: np.ndarray
    weights: np.ndarray  # (strips, columns): where in w a column's first weight lies; -1 for none
    weight_step: int  # from there to the next one of its group
    tap_size: int  # of w
    scratch_size: int  # of one thread
    room_size: int
    threads: int


@dataclass(frozen=True, slots=True)
class PileWeightsPlan(PilesPlan):
    """A weight gradient in groups."""

    shape: Shape
    grid: WeightGrid
    sizes: PileSizes
    bundles: np.ndarray
    strips: np.ndarray
    image_scratch: int  # of one thread
    panel_scratch: int
    threads: int


def tile_shape(wide: int, processor: Processor, *, power: bool = False) -> Shape:
    """The tile for groups of so many outputs: as many accumulators as there are registers for, few columns idle.

    Args:
        power: the number of accumulators must divide into vectors.
    """
    registers = 16 if processor.rows == 8 else 12 if not power else 8
    columns = min((4, 2) if power else (4, 3, 2), key=lambda c: (-(-wide // c) * c, -c))
    return Shape(registers // columns, columns)


def make_bundles(sides: Sides, shape: Shape, lanes: int) -> tuple[list[PileBundle], list[Strip]]:
    """All outputs in order: whole groups as long as they fit into a vector, or a part of one."""
    bundles: list[PileBundle] = []
    strips: list[Strip] = []
    together = max(1, min(lanes // sides.wide, BUNDLE_CHANNELS // sides.deep))
    for g in range(0, sides.groups, together):
        count = min(together, sides.groups - g)
        for k in range(0, sides.wide, lanes):
            width, begin = min(lanes, sides.wide - k), len(strips)
            for i in range(count):
                for j in range(0, width, shape.columns):
                    first = (g + i) * sides.wide + k + j
                    strips.append(Strip(i * sides.deep * lanes, first, min(shape.columns, width - j)))
            first, channels = g * sides.wide + k, count * sides.deep
            bundles.append(
                PileBundle(g * sides.deep, channels, first, (count - 1) * sides.wide + width, begin, len(strips))
            )
    return bundles, strips


def _room(bundles: list[PileBundle], strips: list[Strip], columns: int, lanes: int) -> int:
    """Outputs of a pixel for which a bundle's tiles need room."""
    reach = max(strips[s].first - b.first + columns for b in bundles for s in range(b.first_strip, b.last_strip))
    return max(lanes, reach)


def _rows(positions: int, row_bytes: int, pieces: int, threads: int) -> int:
    """Rows of positions in a block: of one that fits into the cache, and so few that all threads have one."""
    bands = max(-(-positions * row_bytes // BLOCK_BYTES), -(-threads // pieces))
    return max(1, -(-positions // bands))


def plan_pile_images(kernel: str, g: ConvGeometry, images: int, processor: Processor) -> PileImagesPlan:
    """The plan of `conv2d` or `conv2d_input_grad`."""
    forward, lanes = kernel == "conv2d", processor.lanes
    sides = Sides(g.C, g.K, g.groups) if forward else Sides(g.K, g.C, g.groups)
    shape = tile_shape(sides.wide, processor)
    bundles, strips = make_bundles(sides, shape, lanes)
    numbers = max(bundle.channels for bundle in bundles) * lanes
    ends = (numbers, lanes) if forward else (lanes, numbers)
    alike = ConvGeometry(g.H, g.W, *ends, g.R, g.S, g.stride, g.padding)
    phased: PhasesPlan = (plan_forward if forward else plan_input_grad)(alike, 1, processor)
    grid, piles = phased.grid, -(-images // lanes)
    row_size = grid.padded_width * numbers
    row_bytes = grid.stride_down * row_size * processor.itemsize
    rows = _rows(grid.positions_down, row_bytes, piles * len(bundles), processor.threads)
    grid = grid._replace(in_place=0, images_per_block=1, rows_per_block=rows, target_channels=sides.outputs)
    packed, placed = 0, []
    for phase, taps in zip(phased.phases, phased.taps, strict=True):
        placed.append(phase._replace(packed_at=packed))
        packed += len(taps) * sides.deep * shape.columns
    weights = np.full((len(strips), shape.columns), -1, np.int64)
    for number, strip in enumerate(strips):
        outputs = np.arange(strip.first, strip.first + strip.width)
        group, within = np.divmod(outputs, sides.wide)
        weights[number, : strip.width] = outputs if forward else within * g.K + group * sides.deep
    room = _room(bundles, strips, shape.columns, lanes)
    sizes = PileSizes(images, sides.channels, sides.deep, lanes, shape.rows, shape.columns, room, 0, 1)
    return PileImagesPlan(
        shape,
        grid,
        sizes,
        tuple(placed),
        np.array(placed, np.int64),
        np.concatenate(phased.taps) if phased.taps else np.zeros(0, np.int64),
        np.array(bundles, np.int64),
        np.array(strips, np.int64),
        weights,
        g.K if forward else 1,
        g.C // g.groups * g.K,
        ((rows - 1) * grid.stride_down + grid.reach) * row_size + lanes * lanes,
        shape.rows * room * lanes,
        processor.threads,
    )


def plan_pile_weights(g: ConvGeometry, images: int, processor: Processor) -> PileWeightsPlan:
    """The plan of `conv2d_weight_grad`; threads share out the result, so that no partial sums are added."""
    sides, lanes, threads = Sides(g.C, g.K, g.groups), processor.lanes, processor.threads
    shape = tile_shape(sides.wide, processor, power=True)
    bundles, strips = make_bundles(sides, shape, lanes)
    numbers, room = max(bundle.channels for bundle in bundles) * lanes, _room(bundles, strips, shape.columns, lanes)
    padded_width, piles = (g.Q - 1) * g.stride[1] + g.S, -(-images // lanes)
    row_bytes = processor.itemsize * max(g.stride[0] * padded_width * numbers, g.Q * room * lanes)
    rows = _rows(g.P, row_bytes, 1, 1)
    per_block = max(1, min(piles, BLOCK_BYTES // (g.P * row_bytes))) if rows == g.P else 1
    lines = max(1, PIXELS_AT_ONCE // g.Q)
    (top, _), (left, _) = g.padding
    grid = WeightGrid(
        images, g.H, g.W, g.C, top, left, padded_width, g.P, g.Q, g.K, g.R, g.S, *g.stride, 0, numbers, lanes,
        per_block, rows, 0,
    )._replace(channels=numbers)  # fmt: skip
    shares = 1 if balance(len(bundles), threads) >= BALANCED else g.R
    sizes = PileSizes(images, g.C, sides.deep, lanes, shape.rows, shape.columns, room, lines, shares)
    block_rows = (rows - 1) * g.stride[0] + g.R
    return PileWeightsPlan(
        shape,
        grid,
        sizes,
        np.array(bundles, np.int64),
        np.array(strips, np.int64),
        per_block * block_rows * padded_width * numbers + lanes * lanes,
        per_block * rows * g.Q * room * lanes + (lanes + shape.columns) * lanes,
        threads,
    )
