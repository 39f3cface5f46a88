"""The sizes of convolutions in groups with few multiplications, which `winograd_groups.py` computes, and when they pay.

A strip of channels is a whole number of groups, so it meets one strip of filters alone: its transformed pixels, their
products and the results stay in the second-level cache together, which they do not where all channels meet.
"""

from dataclasses import dataclass

import numpy as np

from minigan.backends.cpu.group_tiles import Kind
from minigan.backends.cpu.processor import Processor
from minigan.backends.cpu.transforms import Scheme
from minigan.backends.cpu.winograd_plan import OUTPUTS, Blocks, WinogradGrid
from minigan.backends.geometry import ConvGeometry

# A side of the filter. What else is in groups is depthwise, or has strides.
TAPS = 3
# Tiles of a block: the points of a strip and their products take 9 KiB of each.
TILES_AT_ONCE = 40


# So few strips leave two threads unequal shares of a weight gradient: then so many parts of the images are summed up
# apart, as many whatever the threads, for the same bits.
FEW_STRIPS, SHARES = (1, 3), 2
# The least channels of a group for which it is faster than a direct kernel, by which one that is: those with images in
# lanes are as fast at 4, and a weight gradient's are slower. Narrower groups have hardly more products than transforms.
LEAST_DEPTH = {"conv2d": 8, "conv2d_input_grad": 8, "conv2d_weight_grad": 4}
# The least tiles of a batch: fewer leave the microkernel's tile empty, or do not pay for transforming the filters.
LEAST_TILES = {"conv2d": 8, "conv2d_input_grad": 8, "conv2d_weight_grad": 16}


@dataclass(frozen=True, slots=True)
class WinogradGroupsPlan:
    """One of the three convolutions in groups, strip by strip."""

    scheme: Scheme
    kind: Kind
    depth: int  # channels of a group
    grid: WinogradGrid
    blocks: int
    shares: int  # of the images, whose weight gradients are computed apart
    weights: np.ndarray  # (strips, columns): where in w a column's first weight lies; -1 for none
    weight_step: int  # from there to the next one of its group
    taps: np.ndarray  # in the order in which they are packed
    tap_size: int  # of w
    threads: int

    @property
    def name(self) -> str:
        m, r = self.scheme.m, self.scheme.r
        return f"winograd F({m}x{m}, {r}x{r}) in groups"

    @property
    def reason(self) -> str:
        m, r, points = self.scheme.m, self.scheme.r, self.grid.points
        return f"{m}x{m} outputs take {points} products instead of {m * m * r * r}, a few groups at a time"


def winograd_kind(g: ConvGeometry, processor: Processor) -> Kind | None:
    """How the groups of a strip meet their channels; None where groups and strips do not fit together."""
    wide = g.K // g.groups
    if wide != g.C // g.groups or g.R != g.S or g.R != TAPS or g.stride != (1, 1) or processor.itemsize != 4:
        return None
    if max(*g.padding[0], *g.padding[1]) >= g.R:
        return None
    if wide == processor.columns:
        return Kind("shared")
    if wide == processor.lanes:
        return Kind("pairs")
    return Kind("lanes", wide) if wide > 1 and processor.lanes % wide == 0 else None


def choose_winograd_groups(
    kernel: str, g: ConvGeometry, images: int, processor: Processor
) -> WinogradGroupsPlan | None:
    """The plan of one of the three kernels, or None where there is none or a direct one is about as fast.

    The shape alone decides. Measured on Zen 4, 32 to 256 channels, 4x4 to 32x32 pixels, batches of 8 to 64: 1.2 to 2.1
    times as fast as direct kernels in groups of 8 to 32, and never slower than Winograd's convolution without groups,
    whose transforms are the same and whose products are as many times more as there are groups in its channels.
    """
    kind = winograd_kind(g, processor)
    if kind is None or g.C // g.groups < LEAST_DEPTH[kernel]:
        return None
    plan = plan_winograd_groups(kernel, g, images, processor, kind)
    return plan if images * plan.grid.tiles_down * plan.grid.tiles_across >= LEAST_TILES[kernel] else None


def scheme_of(g: ConvGeometry) -> Scheme:
    """The one with the fewest products."""
    schemes = [Scheme(m, TAPS) for m in OUTPUTS[TAPS]]
    return min(schemes, key=lambda each: -(-g.P // each.m) * -(-g.Q // each.m) * each.n**2)


def plan_winograd_groups(
    kernel: str, g: ConvGeometry, images: int, processor: Processor, kind: Kind
) -> WinogradGroupsPlan:
    """The plan of one of the three kernels. An input gradient is a convolution with stride 1, its filter turned."""
    turned = kernel == "conv2d_input_grad"
    depth, columns, threads = g.C // g.groups, processor.columns, processor.threads
    one = _turned(g) if turned else g
    scheme = scheme_of(one)
    m, r, points = scheme.m, scheme.r, scheme.n * scheme.n
    (top, _), (left, _) = one.padding
    tiles_down, tiles_across = -(-one.P // m), -(-one.Q // m)
    strip_height, strip_width = max(tiles_down * m + r - 1, top + one.H), max(tiles_across * m + r - 1, left + one.W)
    strips = -(-g.C // columns)
    sums = kernel == "conv2d_weight_grad"
    shares = min(images, SHARES) if sums and strips in FEW_STRIPS else 1
    sharing = shares if sums else -(-threads // strips)
    blocks = Blocks.of(images, sharing, tiles_down, max(1, TILES_AT_ONCE // tiles_across), overlap=False)
    tile_items = -(-blocks.images * blocks.rows_per_band * tiles_across // processor.rows) * processor.rows + 1
    strip_points = points * tile_items * columns
    ends = [strip_points]
    for size in (
        strip_points if sums else points * depth * columns,
        0 if sums else strip_points,
        0 if sums else r * r * depth * columns,
        (blocks.rows_per_band * m + r - 1) * strip_width * columns,
    ):
        ends.append(ends[-1] + size)
    grid = WinogradGrid(
        images, one.H, one.W, one.C, top, left, one.P, one.Q, one.K, g.R, g.S, 1, m, r, scheme.n, points, tiles_down,
        tiles_across, strip_height, strip_width, columns, blocks.images, blocks.bands, blocks.rows_per_band, tile_items,
        tile_items * columns, processor.rows * columns, strip_points, 1, 0, *ends,
    )  # fmt: skip
    outputs = np.arange(strips * columns)
    group, within = np.divmod(outputs, depth)
    places = within * g.K + group * depth if turned else outputs
    weights = np.where(outputs < g.K, places, -1).reshape(strips, columns)
    taps = np.arange(g.R * g.S)
    return WinogradGroupsPlan(
        scheme, kind, depth, grid, -(-images * blocks.bands // blocks.images), shares, weights,
        1 if turned else g.K, taps[::-1].copy() if turned else taps, depth * g.K, threads,
    )  # fmt: skip


def _turned(g: ConvGeometry) -> ConvGeometry:
    """The convolution of dy that is an input gradient, its filter turned round."""
    (top, bottom), (left, right) = g.padding
    padding = (g.R - 1 - top, g.R - 1 - bottom), (g.S - 1 - left, g.S - 1 - right)
    return ConvGeometry(g.P, g.Q, g.K, g.C, g.R, g.S, g.stride, padding, g.groups)
