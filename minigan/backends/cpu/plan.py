"""Which algorithm a convolution uses, and the integers it needs: all the decisions, none of the arithmetic.

**Dense.** A filter as large as its unpadded image leaves one output pixel: the convolution is a matrix product.
(A generator's first layer and a discriminator's last.)

**Phases.** The general case, see `Phase`. A convolution has one phase. Its input gradient has one for each remainder
of the pixel's (padded) coordinates by the stride, since a pixel meets only the taps of its own remainder: each phase
is a convolution with stride 1 and a part of the filter. No zeros are inserted and nothing is added twice.

**Overlap-add.** With 1 or 3 channels to make, a tile's columns would run almost empty. See `overlap.py`: there the
columns are all the numbers that one pixel adds to, R * S as many.

**Overlap-add, weights in place.** An input gradient of few pixels, where packing the weights takes most of the time:
see the end of `overlap.py`.

**Winograd.** In single precision, where there are channels and images enough to pay for the transforms: see
`toom.py` for the idea and `winograd_plan.py` for the choice.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minigan.backends.cpu.simd import TILE_ROWS, TILE_VECTORS
from minigan.backends.cpu.winograd_plan import choose_winograd
from minigan.shapes import ConvGeometry, Pair

# Half of a small second-level cache: what one thread works on before it moves on.
BLOCK_BYTES = 1 << 18

# A weight gradient with so few rows reads dy where it is, pixel by pixel: to pack it would not pay. Nor to leave it
# where it is if its pixels are wider, as they would crowd each other out of the cache.
FEW_ROWS, NARROW = 96, 128

# Fewer pixels than so many of dy, with so many channels, make an input gradient that reads w where it is.
FEW_PIXELS, MANY_CHANNELS = 64, 256

# Adding a vector of what lies in the cache takes as long as so many multiply-adds of one.
ADDING_STEPS = 16


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


class Phase(NamedTuple):
    """Those positions of a grid that share a set of taps; one row of an int64 table."""

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
class Plan:
    """How to compute a convolution or an input gradient."""

    grid: Grid
    phases: tuple[Phase, ...]
    table: np.ndarray  # the phases, (phases, fields)
    taps: tuple[np.ndarray, ...]  # for each phase, which taps r*S + s, in the order they are packed
    packed_size: int
    scratch_size: int  # of one thread


def is_dense(g: ConvGeometry) -> bool:
    return (g.R, g.S) == (g.H, g.W) and not any(g.padding[0] + g.padding[1])


def algorithm(
    kernel: str,
    g: ConvGeometry,
    images: int,
    *,
    rows: int,
    columns: int,
    itemsize: int,
    threads: int,
    exact: bool = False,
) -> str:
    """What `CpuBackend` computes a convolution kernel by: a name for people.

    Args:
        kernel: "conv2d", "conv2d_input_grad" or "conv2d_weight_grad".
        rows, columns: of a tile of the microkernel.
    """
    if is_dense(g):
        return "dense"
    fast = None if exact else choose_winograd(kernel, g, images, rows, columns, itemsize, threads)
    if fast is not None:
        return fast.name
    if kernel == "conv2d_weight_grad":
        return "direct" if turned_round(g, rows, columns) is None else "turned round"
    if kernel == "conv2d_input_grad" and has_few_pixels(g, images):
        return "overlap-add, weights in place"
    return "overlap-add" if overlaps(kernel, g, columns) else "phases"


def has_few_pixels(g: ConvGeometry, images: int) -> bool:
    """Whether dy has so few pixels, of so many channels, that w is worth no packing."""
    return images * g.P * g.Q <= FEW_PIXELS and g.K >= MANY_CHANNELS


def _blocks(images: int, positions: int, threads: int, image_bytes: int) -> Pair:
    """Images a block and rows a block: either several whole images, or a band of one."""
    bands = max(-(-image_bytes // BLOCK_BYTES), -(-threads // images))
    if bands > 1:
        return 1, max(1, -(-positions // bands))
    return max(1, min(BLOCK_BYTES // max(image_bytes, 1), -(-images // threads))), positions


def _vectors(width: int, columns: int) -> int:
    """How many vectors a tile's row of that many numbers takes."""
    return -(-width // (columns // TILE_VECTORS))


def overlaps(kernel: str, g: ConvGeometry, columns: int) -> bool:
    """Whether an overlap-add is faster than phases, by the vectors that each computes for one pixel that is read."""
    if kernel == "conv2d":
        if g.stride != (1, 1):
            return False  # most products would go nowhere
        made, read = g.K, g.C
    else:
        made, read = g.C, g.K
    phases = g.R * g.S * -(-made // columns) * TILE_VECTORS * read
    added = g.R * -(-g.S // g.stride[1]) * _vectors(g.stride[1] * made, columns)
    return _vectors(g.R * g.S * made, columns) * read + added * ADDING_STEPS < phases


def _plan(
    phases: list[Phase],
    taps: list[np.ndarray],
    *,
    images: int,
    source: tuple[int, int, int],
    target: tuple[int, int, int],
    padding: Pair,
    positions: Pair,
    stride: Pair,
    step: Pair,
    columns: int,
    itemsize: int,
    threads: int,
) -> Plan:
    """Places the phases' weights one after the other, and cuts the work into blocks."""
    height, width, channels = source
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
    per_block, rows = _blocks(images, positions[0], threads, image_size * itemsize)
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
    )
    scratch = 0 if in_place else per_block * ((rows - 1) * stride[0] + reach) * padded_width * channels
    table = np.array(placed, dtype=np.int64)
    return Plan(grid, tuple(placed), table, tuple(taps), packed, scratch)


@functools.lru_cache(maxsize=256)
def plan_forward(g: ConvGeometry, images: int, columns: int, itemsize: int, threads: int) -> Plan:
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
        columns=columns,
        itemsize=itemsize,
        threads=threads,
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


@functools.lru_cache(maxsize=256)
def plan_input_grad(g: ConvGeometry, images: int, columns: int, itemsize: int, threads: int) -> Plan:
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
        columns=columns,
        itemsize=itemsize,
        threads=threads,
    )


class OverlapGrid(NamedTuple):
    """The sizes of one pass of `overlap_add` from a source image to a target image."""

    images: int
    height: int  # source
    width: int
    channels: int
    target_height: int
    target_width: int
    target_channels: int
    taps_down: int
    taps_across: int
    stride_down: int  # in the target, from where one source pixel adds to where the next does
    stride_across: int
    top: int  # rows and columns by which the first pixel's run begins outside the target
    left: int
    columns: int  # a tile's
    pieces: int  # of a run of taps, each a stride long, the last one perhaps shorter
    bands: int  # of an image


@dataclass(frozen=True, slots=True)
class OverlapPlan:
    grid: OverlapGrid
    scratch_size: int  # of one thread


@functools.lru_cache(maxsize=256)
def plan_overlap(
    kernel: str, g: ConvGeometry, images: int, columns: int, itemsize: int, threads: int
) -> OverlapPlan | None:
    """The plan of an overlap-add, for `conv2d` or `conv2d_input_grad`, where that is the faster way."""
    if not overlaps(kernel, g, columns):
        return None
    source, target = _ends(kernel, g)
    row = _vectors(g.R * g.S * target[2], columns) * (columns // TILE_VECTORS)  # what one source pixel adds
    bands = min(target[0], max(-(-source[0] * source[1] * row * itemsize // BLOCK_BYTES), -(-threads // images)))
    source_rows = min(source[0], (-(-target[0] // bands) + g.R - 2) // g.stride[0] + 1)  # that a band reads
    grid = overlap_grid(kernel, g, images, columns, bands)
    return OverlapPlan(grid, (source_rows * source[1] + TILE_ROWS) * row)


def overlap_grid(kernel: str, g: ConvGeometry, images: int, columns: int, bands: int) -> OverlapGrid:
    """The sizes for `conv2d` with stride 1 or `conv2d_input_grad`, whose images are cut into so many bands."""
    source, target = _ends(kernel, g)
    (top, _), (left, _) = g.padding
    if kernel == "conv2d":
        top, left = g.R - 1 - top, g.S - 1 - left
    pieces = -(-g.S // g.stride[1])
    return OverlapGrid(images, *source, *target, g.R, g.S, *g.stride, top, left, columns, pieces, bands)


def _ends(kernel: str, g: ConvGeometry) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The shapes of what is read and of what is made."""
    return (g.input_shape, g.output_shape) if kernel == "conv2d" else (g.output_shape, g.input_shape)


class WeightGrid(NamedTuple):
    """The sizes of one pass of `correlate_weights`."""

    images: int
    height: int
    width: int
    channels: int
    top: int
    left: int
    padded_width: int
    rows_out: int  # P
    columns_out: int  # Q
    channels_out: int  # K
    taps_down: int
    taps_across: int
    stride_down: int
    stride_across: int
    in_place: int  # dy's full panels are read where they are
    slab: int  # channels of the image that lie together while it is in scratch
    columns: int
    images_per_block: int
    rows_per_block: int
    split: int  # what threads share out: 0 slabs, 1 panels, 2 rows of the filter


@dataclass(frozen=True, slots=True)
class WeightPlan:
    grid: WeightGrid
    image_scratch: int
    panel_scratch: int


def _weight_steps(g: ConvGeometry, rows: int, columns: int) -> int:
    """How often the innermost step is done for the weight gradient of one image."""
    tiles = g.R * g.S * (g.C // rows) + -(-g.R * g.S * (g.C % rows) // rows)
    return tiles * -(-g.K // columns) * g.P * g.Q


@functools.lru_cache(maxsize=256)
def turned_round(g: ConvGeometry, rows: int, columns: int) -> ConvGeometry | None:
    """The convolution with x and dy in each other's place, where its weight gradient is the faster one.

    With K of 1 or 3 a panel of dy would be nearly empty. If the stride is 1, dw[r, s, c, k] is also the weight
    gradient [R - 1 - r, S - 1 - s, k, c] of the convolution that makes x, as it were, of dy.
    """
    (top, bottom), (left, right) = g.padding
    if g.stride != (1, 1) or max(top, bottom) >= g.R or max(left, right) >= g.S:
        return None
    padding = (g.R - 1 - top, g.R - 1 - bottom), (g.S - 1 - left, g.S - 1 - right)
    turned = ConvGeometry(g.P, g.Q, g.K, g.C, g.R, g.S, g.stride, padding)
    steps, turned_steps = _weight_steps(g, rows, columns), _weight_steps(turned, rows, columns)
    return turned if 4 * turned_steps < 3 * steps else None  # its result is one more array to add


@functools.lru_cache(maxsize=256)
def plan_weight_grad(g: ConvGeometry, images: int, rows: int, columns: int, itemsize: int, threads: int) -> WeightPlan:
    """The plan of `conv2d_weight_grad`.

    Threads share out the result, not the images: no partial results to add up, whose order would matter.
    """
    slab = min(g.C, rows)
    slabs, panels = -(-g.C // slab), -(-g.K // columns)
    padded_width = (g.Q - 1) * g.stride[1] + g.S
    # A block's one panel of dy and one slab of x should stay in the second-level cache together.
    image_bytes = itemsize * max(g.P * g.Q * columns, ((g.P - 1) * g.stride[0] + g.R) * padded_width * slab)
    per_block, rows_per_block = _blocks(images, g.P, 1, image_bytes)
    shares = [count / (-(-count // threads) * threads) for count in (slabs, panels, g.R)]
    split = max(range(3), key=lambda i: (shares[i], -i))
    grid = WeightGrid(
        images,
        g.H,
        g.W,
        g.C,
        g.padding[0][0],
        g.padding[1][0],
        padded_width,
        g.P,
        g.Q,
        g.K,
        g.R,
        g.S,
        *g.stride,
        int(g.R * g.S * g.C <= FEW_ROWS and g.K <= NARROW),
        slab,
        columns,
        per_block,
        rows_per_block,
        split,
    )
    own_slabs = -(-slabs // threads) if split == 0 else slabs
    block_rows = (rows_per_block - 1) * g.stride[0] + g.R
    return WeightPlan(
        grid, own_slabs * per_block * block_rows * padded_width * slab, per_block * rows_per_block * g.Q * columns
    )
