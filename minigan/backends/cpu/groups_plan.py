"""The sizes of convolutions in groups, which `groups.py` computes bundle by bundle; see `group_tiles.py`."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minigan.backends.cpu.group_tiles import Kind
from minigan.backends.cpu.phases_plan import Grid, Phase, PhasesPlan, plan_forward, plan_input_grad
from minigan.backends.cpu.processor import BLOCK_BYTES, Processor, blocks
from minigan.backends.cpu.sides import Sides
from minigan.backends.cpu.weights_plan import WeightGrid
from minigan.backends.geometry import ConvGeometry


class Bundle(NamedTuple):
    """Neighboring outputs that a tile's row holds, and the channels that they see; a row of an int64 table."""

    number: int
    first_channel: int  # of the image
    channels: int
    depth: int  # channels of a group: steps of a tap
    first: int  # output
    width: int


class BundledSides(Sides):
    """Image and outputs of a pass in groups, and how a tile's row holds them."""

    def kind(self, lanes: int) -> Kind:
        if self.wide > lanes or (self.wide == lanes and self.deep != lanes):
            return Kind("shared")
        if self.wide == lanes:
            return Kind("pairs")
        alike = self.deep == self.wide and lanes % self.deep == 0
        return Kind("lanes", self.deep if alike else 0)

    def bundles(self, columns: int, lanes: int) -> tuple[Bundle, ...]:
        """All outputs in order: of one group, or of as many groups as fill a tile's row."""
        if self.kind(lanes).name == "shared":
            firsts = [(g, k) for g in range(self.groups) for k in range(0, self.wide, columns)]
            return tuple(
                Bundle(i, g * self.deep, self.deep, self.deep, g * self.wide + k, min(columns, self.wide - k))
                for i, (g, k) in enumerate(firsts)
            )
        found = []
        for i, first in enumerate(range(0, self.outputs, columns)):
            width = min(columns, self.outputs - first)
            begin, end = first // self.wide, (first + width - 1) // self.wide + 1
            found.append(Bundle(i, begin * self.deep, (end - begin) * self.deep, self.deep, first, width))
        return tuple(found)

    def numbers(self, columns: int, lanes: int) -> int:
        """Numbers of a pixel in scratch."""
        kind = self.kind(lanes)
        if kind.name == "shared":
            return self.deep
        return columns if kind.name == "pairs" else self.deep * columns

    def step(self, columns: int, lanes: int) -> int:
        """From one step of a tap to the next, in scratch."""
        return columns if self.kind(lanes).name == "lanes" else 1

    def lanes_table(self, columns: int, lanes: int) -> np.ndarray:
        """Where, from a bundle's first channel, those of each column's group begin; (bundles, columns)."""
        table = np.zeros((len(bundles := self.bundles(columns, lanes)), columns), np.int64)
        for bundle in bundles:
            outputs = np.minimum(bundle.first + np.arange(columns), bundle.first + bundle.width - 1)
            table[bundle.number] = outputs // self.wide * self.deep - bundle.first_channel
        return table


@dataclass(frozen=True, slots=True)
class GroupsPlan:
    """A convolution in groups, or its input gradient, by the phases of one without."""

    kind: Kind
    grid: Grid  # of an image with the numbers of a pixel in scratch as its channels
    channels: int  # of the image itself
    step: int  # from one of a tap's steps to the next, in scratch
    phases: tuple[Phase, ...]
    table: np.ndarray  # the phases, (phases, fields)
    taps: np.ndarray  # of all phases, r * S + s, in the order in which they are packed
    bundles: np.ndarray  # (bundles, fields)
    lanes: np.ndarray  # (bundles, columns), see `BundledSides.lanes_table`
    weights: np.ndarray  # (bundles, columns): where in w a column's first weight lies; -1 for none
    weight_step: int  # from there to the next one of its group
    tap_size: int  # of w
    scratch_size: int  # of one thread
    threads: int

    @property
    def name(self) -> str:
        return algorithm(self.kind)

    @property
    def reason(self) -> str:
        return reason(self.kind)


@dataclass(frozen=True, slots=True)
class GroupWeightsPlan:
    """A weight gradient in groups."""

    kind: Kind
    grid: WeightGrid  # its slab has the numbers of a pixel in scratch
    step: int
    bundles: np.ndarray
    lanes: np.ndarray
    image_scratch: int  # of one thread
    panel_scratch: int
    threads: int

    @property
    def name(self) -> str:
        return algorithm(self.kind)

    @property
    def reason(self) -> str:
        return reason(self.kind)


def algorithm(kind: Kind) -> str:
    return {"shared": "group by group", "pairs": "pairs of groups", "lanes": "groups in lanes"}[kind.name]


def reason(kind: Kind) -> str:
    return {
        "shared": "a group fills vectors by itself",
        "pairs": "a vector holds the outputs of one group, and a tile's row two vectors",
        "lanes": "a vector holds the outputs of several groups, each lane multiplied by its own group's channels",
    }[kind.name]


def plan_groups(kernel: str, g: ConvGeometry, images: int, processor: Processor) -> GroupsPlan:
    """The plan of `conv2d` or `conv2d_input_grad`."""
    forward = kernel == "conv2d"
    sides = BundledSides(g.C, g.K, g.groups) if forward else BundledSides(g.K, g.C, g.groups)
    lanes, columns = processor.lanes, processor.columns
    bundles, numbers = sides.bundles(columns, lanes), sides.numbers(columns, lanes)
    alike = ConvGeometry(
        g.H, g.W, *((numbers, columns) if forward else (columns, numbers)), g.R, g.S, g.stride, g.padding
    )
    phased: PhasesPlan = (plan_forward if forward else plan_input_grad)(alike, images, processor)
    grid = phased.grid
    height = (grid.positions_down - 1) * grid.stride_down + grid.reach
    image_bytes = processor.itemsize * max(
        height * grid.padded_width * numbers, grid.height * grid.width * sides.channels
    )
    per_block, rows = blocks(images, grid.positions_down, processor.threads, image_bytes)
    made = sides.outputs
    grid = grid._replace(in_place=0, images_per_block=per_block, rows_per_block=rows, target_channels=made)
    packed, placed = 0, []
    for phase, taps in zip(phased.phases, phased.taps, strict=True):
        placed.append(phase._replace(packed_at=packed))
        packed += len(taps) * sides.deep * columns
    weights = np.full((len(bundles), columns), -1, np.int64)
    for bundle in bundles:
        outputs = np.arange(bundle.first, bundle.first + bundle.width)
        group, within = np.divmod(outputs, sides.wide)
        weights[bundle.number, : bundle.width] = outputs if forward else within * g.K + group * sides.deep
    return GroupsPlan(
        sides.kind(lanes),
        grid,
        sides.channels,
        sides.step(columns, lanes),
        tuple(placed),
        np.array(placed, np.int64),
        np.concatenate(phased.taps) if phased.taps else np.zeros(0, np.int64),
        np.array(bundles, np.int64),
        sides.lanes_table(columns, lanes),
        weights,
        g.K if forward else 1,
        g.C // g.groups * g.K,
        per_block * ((rows - 1) * grid.stride_down + grid.reach) * grid.padded_width * numbers + 2 * columns,
        processor.threads,
    )


def plan_group_weights(g: ConvGeometry, images: int, processor: Processor) -> GroupWeightsPlan:
    """The plan of `conv2d_weight_grad`; threads share out the result, so that no partial sums are added."""
    sides, lanes, columns = BundledSides(g.C, g.K, g.groups), processor.lanes, processor.columns
    numbers = sides.numbers(columns, lanes)
    padded_width = (g.Q - 1) * g.stride[1] + g.S
    height = (g.P - 1) * g.stride[0] + g.R
    image_bytes = processor.itemsize * max(g.P * g.Q * columns, height * padded_width * numbers, g.H * g.W * g.C)
    per_block, rows = blocks(images, g.P, 1, min(image_bytes, max(BLOCK_BYTES, image_bytes // 4)))
    (top, _), (left, _) = g.padding
    grid = WeightGrid(
        images, g.H, g.W, g.C, top, left, padded_width, g.P, g.Q, g.K, g.R, g.S, *g.stride, 0, numbers, columns,
        per_block, rows, 0,
    )  # fmt: skip
    bundles = np.array(sides.bundles(columns, lanes), np.int64)
    image_scratch = per_block * ((rows - 1) * g.stride[0] + g.R) * padded_width * numbers + 2 * columns
    return GroupWeightsPlan(
        sides.kind(lanes), grid, sides.step(columns, lanes), bundles, sides.lanes_table(columns, lanes), image_scratch,
        per_block * rows * g.Q * columns, processor.threads,
    )  # fmt: skip
