"""The sizes of a convolution, or its input gradient, by phases, which `correlate` in `correlate.py` computes."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from minigan.backends.cpu.processor import Processor, blocks
from minigan.backends.geometry import ConvGeometry, IntPair


class Grid(NamedTuple):
    """The sizes of one pass of `correlate` over a source image, into a target image."""

    images: int
    height: int  # source
    width: int
    channels: int
    top: int  # zeros above and left of the source; what is needed below and right follows
    left: int
    padded_width: int
    in_place: int  # no zeros needed: read the source where it is
    positions_down: int
    positions_across: int
    stride_down: int  # from one position to the next, in the padded source
    stride_across: int
    reach: int  # source rows that one row of positions reads
    target_height: int
    target_width: int
    target_channels: int
    step_down: int  # from one position to the next, in the target
    step_across: int
    columns: int  # a tile's
    images_per_block: int
    rows_per_block: int
    shares: int  # of the target's channels, in whole tiles, that threads compute apart


class Phase(NamedTuple):
    """Positions of a grid that share a set of taps; one row of an int64 table."""

    first_down: int
    last_down: int  # exclusive
    first_across: int
    last_across: int
    source_row: int  # of the first tap, for position 0, in the padded source
    source_column: int
    taps_down: int
    taps_across: int
    target_row: int  # of position 0
    target_column: int
    packed_at: int  # where this phase's weights begin


@dataclass(frozen=True, slots=True)
class PhasesPlan:
    """A convolution or an input gradient, computed by phases."""

    name: ClassVar[str] = "phases"
    reason: ClassVar[str] = "the general case: a convolution for each remainder by the stride, no zeros inserted"

    grid: Grid
    phases: tuple[Phase, ...]
    table: np.ndarray  # the phases, (phases, fields)
    taps: tuple[np.ndarray, ...]  # for each phase, which taps r*S + s, in the order they are packed
    packed_size: int
    scratch_size: int  # of one thread
    threads: int


def _plan(
    phases: list[Phase],
    taps: list[np.ndarray],
    *,
    images: int,
    source: tuple[int, int, int],
    target: tuple[int, int, int],
    padding: IntPair,
    positions: IntPair,
    stride: IntPair,
    step: IntPair,
    processor: Processor,
) -> PhasesPlan:
    """Places the phases' weights one after the other, and cuts the work into blocks."""
    height, width, channels = source
    columns = processor.columns
    panels = -(-target[2] // columns)
    placed, packed = [], 0
    for phase in phases:
        placed.append(phase._replace(packed_at=packed))
        packed += panels * phase.taps_down * phase.taps_across * channels * columns
    reach = max(p.source_row + p.taps_down for p in phases)
    padded_height = (positions[0] - 1) * stride[0] + reach
    padded_width = (positions[1] - 1) * stride[1] + max(p.source_column + p.taps_across for p in phases)
    in_place = padding == (0, 0) and padded_height <= height and padded_width <= width
    image_size = padded_height * padded_width * channels
    shares = _shares(images, panels, processor.threads)
    per_block, rows = blocks(images, positions[0], -(-processor.threads // shares), image_size * processor.itemsize)
    grid = Grid(
        images,
        height,
        width,
        channels,
        *padding,
        padded_width,
        int(in_place),
        *positions,
        *stride,
        reach,
        *target,
        *step,
        columns,
        per_block,
        rows,
        shares,
    )
    scratch = 0 if in_place else per_block * ((rows - 1) * stride[0] + reach) * padded_width * channels
    table = np.array(placed, dtype=np.int64)
    return PhasesPlan(grid, tuple(placed), table, tuple(taps), packed, scratch, processor.threads)


def _shares(images: int, panels: int, threads: int) -> int:
    """How many threads share out one image's channels: then each reads only its own weights, which are the most of it.

    Bands of the image would have each thread read all of them, and a few rows fill tiles badly.
    """
    shares = min(panels, -(-threads // images))
    return shares if panels % shares == 0 or panels >= 4 * shares else 1


def plan_forward(g: ConvGeometry, images: int, processor: Processor) -> PhasesPlan:
    """The plan of `conv2d`: one phase, all taps."""
    phase = Phase(0, g.P, 0, g.Q, 0, 0, g.R, g.S, 0, 0, 0)
    return _plan(
        [phase],
        [np.arange(g.R * g.S)],
        images=images,
        source=g.input_shape,
        target=g.output_shape,
        padding=(g.padding[0][0], g.padding[1][0]),
        positions=(g.P, g.Q),
        stride=g.stride,
        step=(1, 1),
        processor=processor,
    )


class Remainder(NamedTuple):
    """One axis of one phase: the pixels whose padded coordinate leaves this remainder by the stride."""

    first: int  # position u of the first pixel, whose padded coordinate is u * stride + remainder
    last: int  # exclusive
    taps: range  # remainder, remainder + stride, ..., the last one first: along the source, taps run backwards


def _remainders(size: int, pad: int, filter: int, stride: int) -> list[Remainder]:
    return [
        Remainder(-((a - pad) // stride), (pad + size - 1 - a) // stride + 1, range(a, filter, stride)[::-1])
        for a in range(stride)
    ]


def plan_input_grad(g: ConvGeometry, images: int, processor: Processor) -> PhasesPlan:
    """The plan of `conv2d_input_grad`: a phase for each remainder."""
    window = -(-g.R // g.stride[0]), -(-g.S // g.stride[1])  # taps that a pixel meets, at most
    (top, _), (left, _) = g.padding
    vertical, horizontal = _remainders(g.H, top, g.R, g.stride[0]), _remainders(g.W, left, g.S, g.stride[1])
    first = min(v.first for v in vertical), min(h.first for h in horizontal)
    positions = max(v.last for v in vertical) - first[0], max(h.last for h in horizontal) - first[1]
    phases, taps = [], []
    for a, v in enumerate(vertical):
        for b, h in enumerate(horizontal):
            if v.first == v.last or h.first == h.last:
                continue  # the image is smaller than the stride
            phases.append(
                Phase(
                    v.first - first[0],
                    v.last - first[0],
                    h.first - first[1],
                    h.last - first[1],
                    window[0] - len(v.taps),
                    window[1] - len(h.taps),
                    len(v.taps),
                    len(h.taps),
                    first[0] * g.stride[0] + a - top,
                    first[1] * g.stride[1] + b - left,
                    0,
                )
            )
            taps.append(np.array([r * g.S + s for r in v.taps for s in h.taps], dtype=np.int64))
    padding = window[0] - 1 - first[0], window[1] - 1 - first[1]
    return _plan(
        phases,
        taps,
        images=images,
        source=g.output_shape,
        target=g.input_shape,
        padding=padding,
        positions=positions,
        stride=(1, 1),
        step=g.stride,
        processor=processor,
    )
