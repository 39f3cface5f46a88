"""The sizes of convolutions in groups with few multiplications, which `winograd_groups.py` computes, and when they pay.

A strip of channels is a whole number of groups, so it meets one strip of filters alone: its transformed pixels, their
products and the results stay in the second-level cache together, which they do not where all channels meet.
"""

from dataclasses import dataclass

import numpy as np

from minigan.backends.cpu.group_tiles import Kind
from minigan.backends.cpu.groups_plan import BundledSides
from minigan.backends.cpu.processor import Processor
from minigan.backends.cpu.transforms import Scheme
from minigan.backends.cpu.winograd_plan import OUTPUTS, Blocks, WinogradGrid
from minigan.backends.geometry import ConvGeometry

# Tiles of a block: the points of a strip and their products take 9 KiB of each.
TILES_AT_ONCE = 40


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
    if wide != g.C // g.groups or g.R != g.S or g.R not in OUTPUTS or g.stride != (1, 1) or processor.itemsize != 4:
        return None
    if max(*g.padding[0], *g.padding[1]) >= g.R:
        return None
    if wide == processor.columns:
        return Kind("shared")
    if wide == processor.lanes:
        return Kind("pairs")
    return Kind("lanes", wide) if wide > 1 and processor.lanes % wide == 0 else None


def scheme_of(g: ConvGeometry) -> Scheme:
    """The one with the fewest products."""
    schemes = [Scheme(m, g.R) for m in OUTPUTS[g.R]]
    return min(schemes, key=lambda each: -(-g.P // each.m) * -(-g.Q // each.m) * each.n**2)


def plan_winograd_groups(kernel: str, g: ConvGeometry, images: int, processor: Processor) -> WinogradGroupsPlan | None:
    """The plan of one of the three kernels; None where it has none. An input gradient is a convolution with stride 1."""
    kind = winograd_kind(g, processor)
    if kind is None:
        return None
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
    shares = min(images, threads) if sums and strips % threads else 1
    sharing = shares if sums else -(-threads // strips)
    blocks = Blocks.of(images, sharing, tiles_down, max(1, TILES_AT_ONCE // tiles_across), overlap=False)
    tile_items = -(-blocks.images * blocks.rows_per_band * tiles_across // processor.rows) * processor.rows + 1
    strip_points = points * tile_items * columns
    ends = [strip_points]
    for size in (
        strip_points if sums else points * depth * columns,
        points * (depth + processor.rows) * columns if sums else strip_points,
        0,
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
