"""The sizes of a weight gradient, which `correlate_weights` in `correlate.py` computes."""

from dataclasses import dataclass
from typing import NamedTuple

from minigan.backends.cpu.processor import Processor, balance, blocks
from minigan.backends.geometry import ConvGeometry

# A weight gradient with so few rows reads dy where it is, pixel by pixel: to pack it would not pay. Nor to leave it
# where it is if its pixels are wider, as they would crowd each other out of the cache.
FEW_ROWS, NARROW = 96, 128


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
class WeightsPlan:
    """A weight gradient, computed directly.

    Attributes:
        turned: the convolution that is computed instead, with x and dy exchanged; None for the gradient itself.
    """

    grid: WeightGrid
    image_scratch: int  # of one thread
    panel_scratch: int
    threads: int
    turned: ConvGeometry | None

    @property
    def name(self) -> str:
        return "direct" if self.turned is None else "turned round"

    @property
    def reason(self) -> str:
        if self.turned is None:
            return "the general case of a weight gradient: windows of x times dy, read in place"
        return "so few channels of dy would leave vectors empty; with x and dy exchanged they are full"


def plan_weight_grad(g: ConvGeometry, images: int, processor: Processor) -> WeightsPlan:
    """The plan of `conv2d_weight_grad`.

    With K of 1 or 3 a panel of dy would be nearly empty: then x and dy change places. Threads share out the result, not
    the images: no partial results to add up, whose order would matter.
    """
    turned = turned_round(g, processor)
    g = turned or g
    rows, columns, threads = processor.rows, processor.columns, processor.threads
    slab = min(g.C, rows)
    slabs, panels = -(-g.C // slab), -(-g.K // columns)
    padded_width = (g.Q - 1) * g.stride[1] + g.S
    # A block's one panel of dy and one slab of x should stay in the second-level cache together.
    image_bytes = processor.itemsize * max(g.P * g.Q * columns, ((g.P - 1) * g.stride[0] + g.R) * padded_width * slab)
    per_block, rows_per_block = blocks(images, g.P, 1, image_bytes)
    shares = [balance(count, threads) for count in (slabs, panels, g.R)]
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
    image_scratch = own_slabs * per_block * block_rows * padded_width * slab
    return WeightsPlan(grid, image_scratch, per_block * rows_per_block * g.Q * columns, threads, turned)


def turned_round(g: ConvGeometry, processor: Processor) -> ConvGeometry | None:
    """The convolution with x and dy in each other's place, where its weight gradient is the faster one.

    If the stride is 1, dw[r, s, c, k] is also the weight gradient [R - 1 - r, S - 1 - s, k, c] of the convolution with
    dy as its input and x as its output's gradient.
    """
    (top, bottom), (left, right) = g.padding
    if g.stride != (1, 1) or max(top, bottom) >= g.R or max(left, right) >= g.S:
        return None
    padding = (g.R - 1 - top, g.R - 1 - bottom), (g.S - 1 - left, g.S - 1 - right)
    turned = ConvGeometry(g.P, g.Q, g.K, g.C, g.R, g.S, g.stride, padding)
    steps, turned_steps = _weight_steps(g, processor), _weight_steps(turned, processor)
    return turned if 4 * turned_steps < 3 * steps else None  # its result is one more array to add


def _weight_steps(g: ConvGeometry, processor: Processor) -> int:
    """The number of innermost steps for the weight gradient of one image."""
    rows = processor.rows
    tiles = g.R * g.S * (g.C // rows) + -(-g.R * g.S * (g.C % rows) // rows)
    return tiles * -(-g.K // processor.columns) * g.P * g.Q
