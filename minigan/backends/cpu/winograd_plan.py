"""When a convolution is done with few multiplications, and the integers that this takes: see `winograd.py`."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

from minigan.backends.cpu.transforms import Scheme
from minigan.shapes import ConvGeometry

# What one thread keeps of a block's transformed images: its share of a third-level cache, which they stream from.
POINTS_BYTES = 4 << 20
# Of the block's results, one strip, before and after they are transformed back: about a second-level cache.
RESULTS_BYTES = 3 << 19
# And of transformed weights: a part of one.
WEIGHTS_BYTES = 1 << 19
# Outputs of a tile, each way. Two more points for each one more, and those cost digits.
OUTPUTS = 4
# Steps of the microkernel (one row of a panel times a tile's rows) in the time that it takes to transform one item's
# strip at one point, of weights and of images; and to pack one row of weights for the direct kernels.
WEIGHT_STEPS, TRANSFORM_STEPS, PACKING_STEPS = 1.0, 1.5, 0.5
# How much faster by that count is worth the digits.
GAIN = 1.2


class WinogradGrid(NamedTuple):
    """The sizes of one pass."""

    images: int
    height: int
    width: int
    channels: int
    top: int
    left: int
    rows_out: int  # P
    columns_out: int  # Q
    channels_out: int  # K
    taps_down: int  # R
    taps_across: int  # S
    stride: int
    m: int  # outputs of a tile, each way
    r: int  # taps of a phase, each way
    n: int  # pixels of a phase that a tile meets, each way
    points: int  # n * n
    tiles_down: int
    tiles_across: int
    strip_height: int  # of a padded image
    strip_width: int
    columns: int  # of a tile of the microkernel: a strip's channels
    images_per_block: int
    tile_items: int  # room for a block's tiles, in items of a strip
    point_step: int  # in points, from one point to the next
    group_step: int  # from the tiles of one product to the next ones
    strip_step: int  # from one strip to the next
    strips_at_once: int  # of weights
    split: int  # what threads share out: 0 images (weight gradient: channels), 1 what the product's columns are
    weights_at: int  # where in one thread's scratch what begins; first come the points
    products_at: int
    taps_at: int
    strip_at: int
    scratch_size: int


@dataclass(frozen=True, slots=True)
class WinogradPlan:
    scheme: Scheme
    grid: WinogradGrid
    steps: float  # of the microkernel, in the time that one thread takes

    @property
    def name(self) -> str:
        m, r = self.scheme.m, self.scheme.r
        return f"winograd F({m}x{m}, {r}x{r})"


@functools.lru_cache(maxsize=256)
def choose_winograd(
    kernel: str, g: ConvGeometry, images: int, rows: int, columns: int, itemsize: int, threads: int
) -> WinogradPlan | None:
    """The plan of one of the three kernels, or None where the direct one is about as fast.

    Single precision only: who asks for double wants the digits. Few channels would leave strips empty; `plan.py` has
    groups for them. The arguments are those of `plan_winograd`.
    """
    if itemsize != 4 or 2 * min(g.C, g.K) < columns:
        return None
    plan = plan_winograd(kernel, g, images, rows, columns, itemsize, threads)
    if plan is None or plan.steps * GAIN > _direct_steps(kernel, g, images, rows, columns, threads):
        return None
    return plan


def _direct_steps(kernel: str, g: ConvGeometry, images: int, rows: int, columns: int, threads: int) -> float:
    """Of the microkernel and of packing the weights, one thread's share."""
    if kernel == "conv2d_weight_grad":
        return images * g.P * g.Q * -(-g.K // columns) * g.R * g.S * -(-g.C // rows) / threads
    depth, width = (g.C, g.K) if kernel == "conv2d" else (g.K, g.C)
    positions = images * g.P * g.Q / rows
    return g.R * g.S * depth * -(-width // columns) * (positions + PACKING_STEPS) / threads


def scheme_of(g: ConvGeometry) -> Scheme | None:
    """Equal strides, and filters of which each phase has 2 or 3 taps a side."""
    if g.stride[0] != g.stride[1]:
        return None
    r = -(-max(g.R, g.S) // g.stride[0])
    return Scheme(OUTPUTS, r) if r in (2, 3) else None


def plan_winograd(
    kernel: str, g: ConvGeometry, images: int, rows: int, columns: int, itemsize: int, threads: int
) -> WinogradPlan | None:
    """The plan of one of the three kernels, or None for filters that there is no scheme for.

    Args:
        kernel: "conv2d", "conv2d_input_grad" or "conv2d_weight_grad".
        rows, columns: of a tile of the microkernel.
    """
    scheme = scheme_of(g)
    if scheme is None:
        return None
    m, r, n, stride = scheme.m, scheme.r, scheme.n, g.stride[0]
    (top, _), (left, _) = g.padding
    phases, points = stride * stride, n * n
    tiles_down, tiles_across = -(-g.P // m), -(-g.Q // m)
    tiles = tiles_down * tiles_across
    strip_height = max((tiles_down * m + r - 1) * stride, top + g.H)
    strip_width = max((tiles_across * m + r - 1) * stride, left + g.W)
    strips, strips_out = -(-g.C // columns), -(-g.K // columns)

    # What one thread does: strips of points that it reads, and strips that it computes (or also reads, for weights).
    if kernel == "conv2d_weight_grad":
        split = int(_balance(strips_out, threads) > _balance(strips, threads))
        own = images
        reads = (strips if split else -(-strips // threads)) * phases
        makes = -(-strips_out // threads) if split else strips_out
    else:
        reads, outer, inner = (strips * phases, strips_out, 1)
        if kernel == "conv2d_input_grad":
            reads, outer, inner = strips_out, strips, phases
        # Either each thread transforms all weights, or all images: whichever are fewer.
        split = int(images * tiles < outer * inner * columns or images < threads)
        own = images if split else -(-images // threads)
        makes = (-(-outer // threads) if split else outer) * inner
    resident = reads + makes if kernel == "conv2d_weight_grad" else reads
    strip_points, strip_bytes = tiles * points, columns * itemsize  # an image's points of one strip
    image = strip_height * strip_width
    results = {"conv2d": strip_points, "conv2d_input_grad": strip_points + image, "conv2d_weight_grad": 0}[kernel]
    most = min(
        POINTS_BYTES // (resident * strip_points * strip_bytes), RESULTS_BYTES // (max(results, 1) * strip_bytes)
    )
    blocks = -(-own // max(most, 1))
    per_block = -(-own // blocks)
    # One item more than the microkernel needs: points a power of two apart would compete for the same cache lines.
    tile_items = -(-per_block * tiles // rows) * rows + 1
    strip_points = points * tile_items * columns  # a block's
    if kernel == "conv2d_weight_grad":
        point_step, group_step, strip_step = tile_items * columns, rows * columns, strip_points
    else:
        strip_step, group_step = rows * columns, reads * rows * columns
        point_step = tile_items // rows * group_step + columns
    chunks = -(-reads * points * columns * columns * itemsize // WEIGHTS_BYTES)
    at_once = -(-reads // chunks)

    room = reads * strip_points + points * columns  # a tile's last rows may read beyond the last strip
    if kernel == "conv2d_weight_grad":
        beside, products = makes * strip_points, points * (-(-columns // rows) * rows + 1) * columns
        product_steps = points * reads * -(-columns // rows) * makes * own * tiles
        tiles_in_steps = TRANSFORM_STEPS * points * own * tiles * resident
    else:
        beside, products = points * (at_once * columns + 1) * columns, strip_points
        product_steps = points * reads * columns * makes * blocks * -(-per_block * tiles // rows)
        tiles_in_steps = TRANSFORM_STEPS * points * own * tiles * (reads + makes)
    weight_steps = WEIGHT_STEPS * points * reads * columns * makes * blocks
    images_at_once = per_block if kernel == "conv2d_input_grad" else 1
    ends = [room]
    for size in (beside, products, r * r * columns * columns, images_at_once * image * columns):
        ends.append(ends[-1] + size)
    grid = WinogradGrid(
        images, g.H, g.W, g.C, top, left, g.P, g.Q, g.K, g.R, g.S, stride, m, r, n, points, tiles_down, tiles_across,
        strip_height, strip_width, columns, per_block, tile_items, point_step, group_step, strip_step, at_once, split, *ends,
    )  # fmt: skip
    return WinogradPlan(scheme, grid, product_steps + tiles_in_steps + weight_steps)


def _balance(count: int, threads: int) -> float:
    """How evenly a number of strips is shared out."""
    return count / (-(-count // threads) * threads)
