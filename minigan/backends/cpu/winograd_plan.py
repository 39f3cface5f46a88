"""The sizes of convolutions with few multiplications, which `winograd.py` computes, and when they pay.

A number that is not finite reaches a whole tile of the result (a square of a few pixels, in all channels), not only the
pixels whose windows hold it: each of the tile's products is of a sum of all its pixels. No other image is reached.
`exact` computes each pixel by itself.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

from minigan.backends.cpu.processor import Processor, balance
from minigan.backends.cpu.transforms import Scheme
from minigan.backends.geometry import ConvGeometry

# What one thread keeps of a block's transformed images: its share of a third-level cache, which they stream from. On
# two threads and a cache of 32 MiB twice as much is up to 2 times slower, half as much 1.1 times.
POINTS_BYTES = 4 << 20
# Of the block's results, one strip, before and after they are transformed back: about a second-level cache.
RESULTS_BYTES = 3 << 19
# And of transformed weights: a part of one.
WEIGHTS_BYTES = 1 << 19
# Outputs of a tile, each way, for phases of 2 and of 3 taps: 4, or what leaves fewer of them beyond the image. One more
# takes one more point, and more than 6 points cost digits: F(6, 2) errs by 3 times as much as F(5, 2). F(4, 2) beside
# F(3, 2) for images of 7 outputs saves a fifth of the products, and loses the time to transforming 3 times the weights.
OUTPUTS = {2: (4, 5, 3), 3: (4, 3)}
# Steps of the microkernel (one row of a panel times a tile's rows) in the time that it takes to transform one item's
# strip at one point, of weights and of images; and to pack one row of weights for the direct kernels.
WEIGHT_STEPS, TRANSFORM_STEPS, PACKING_STEPS = 1.0, 1.5, 0.5
# Threads that would be busy for less than this part of a weight gradient's time share out its images instead, and their
# sums are added up at the end.
EVEN, BY_IMAGES = 0.75, 2
# How much faster by that count is worth the digits.
GAIN = 1.2
# The same beside weights that an earlier call has packed: direct kernels need no packing, while Winograd's would be
# transformed again, for so few tiles that reading them takes longer than the count says. (Transformed ones are 6 times
# as many numbers, which fit in no cache.) Measured on Zen 4 with DCGAN-64's layers, in batches of 1 to 16.
GAIN_OVER_PACKED = 1.55


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
    n: int  # pixels of a phase that a tile meets, each way; also points
    points: int  # n * n
    tiles_down: int
    tiles_across: int
    strip_height: int  # of a padded image
    strip_width: int
    columns: int  # of a tile of the microkernel: a strip's channels
    images_per_block: int  # whole ones; 1 if an image has several bands
    bands: int  # that an image is cut into
    rows_per_band: int  # rows of tiles
    tile_items: int  # room for a block's tiles, in items of a strip
    point_step: int  # in points, from one point to the next
    group_step: int  # from the tiles of one product to the next ones
    strip_step: int  # from one strip to the next
    strips_at_once: int  # of weights
    split: int  # shared out among threads: 0 images (weight gradient: channels), 1 the product's columns; BY_IMAGES
    weights_at: int  # where in one thread's scratch what begins; first come the points
    products_at: int
    taps_at: int
    strip_at: int
    scratch_size: int


@dataclass(frozen=True, slots=True)
class WinogradPlan:
    scheme: Scheme
    grid: WinogradGrid
    threads: int
    steps: float  # of the microkernel, in the time that one thread takes

    @property
    def name(self) -> str:
        m, r = self.scheme.m, self.scheme.r
        return f"winograd F({m}x{m}, {r}x{r})"

    @property
    def reason(self) -> str:
        m, r, points = self.scheme.m, self.scheme.r, self.grid.points
        return f"{m}x{m} outputs take {points} products instead of {m * m * r * r}, for each phase of the stride"


def choose_winograd(
    kernel: str, g: ConvGeometry, images: int, processor: Processor, *, gain: float = GAIN
) -> WinogradPlan | None:
    """The plan of one of the three kernels, or None where the direct one is about as fast.

    Single precision only: a user of double precision wants the digits. Few channels would leave strips empty.

    Args:
        gain: how much faster it must be by the count of steps.
    """
    if processor.itemsize != 4 or 2 * min(g.C, g.K) < processor.columns:
        return None
    plans = [plan_winograd(kernel, g, images, processor, scheme) for scheme in schemes_of(g)]
    plan = min(plans, key=lambda plan: plan.steps, default=None)
    if plan is None or plan.steps * gain > direct_steps(kernel, g, images, processor):
        return None
    return plan


def direct_steps(kernel: str, g: ConvGeometry, images: int, processor: Processor) -> float:
    """Steps of the microkernel and of packing the weights that the direct kernels need: one thread's share."""
    rows, columns, threads = processor.rows, processor.columns, processor.threads
    if kernel == "conv2d_weight_grad":
        return images * g.P * g.Q * -(-g.K // columns) * g.R * g.S * -(-g.C // rows) / threads
    depth, width = (g.C, g.K) if kernel == "conv2d" else (g.K, g.C)
    positions = images * g.P * g.Q / rows
    return g.R * g.S * depth * -(-width // columns) * (positions + PACKING_STEPS) / threads


def schemes_of(g: ConvGeometry) -> list[Scheme]:
    """The schemes for equal strides, and filters of which each phase has 2 or 3 taps a side; else none."""
    if g.stride[0] != g.stride[1]:
        return []
    r = -(-max(g.R, g.S) // g.stride[0])
    return [Scheme(m, r) for m in OUTPUTS.get(r, ())]


class Work(NamedTuple):
    """One thread's share of the work."""

    split: int  # as in WinogradGrid
    sharing: int  # threads that share out the images
    reads: int  # strips of points that it keeps, to multiply them
    makes: int  # strips that it computes; for the weight gradient the others that it keeps

    @classmethod
    def of(cls, kernel: str, g: ConvGeometry, rows_of_tiles: int, tiles: int, columns: int, threads: int) -> Self:
        """Its share of a batch with so many rows of tiles, and tiles."""
        phases, strips, strips_out = g.stride[0] ** 2, -(-g.C // columns), -(-g.K // columns)
        if kernel == "conv2d_weight_grad":
            if max(balance(strips_out, threads), balance(strips, threads)) < EVEN and rows_of_tiles >= threads:
                return cls(BY_IMAGES, threads, strips * phases, strips_out)
            split = balance(strips_out, threads) > balance(strips, threads)
            if split:
                return cls(1, 1, strips * phases, -(-strips_out // threads))
            return cls(0, 1, -(-strips // threads) * phases, strips_out)
        reads, outer, inner = (strips * phases, strips_out, 1)
        if kernel == "conv2d_input_grad":
            reads, outer, inner = strips_out, strips, phases
        # Either each thread transforms all weights, or all images: whichever are fewer.
        if tiles < outer * inner * columns or rows_of_tiles < threads:
            return cls(1, 1, reads, -(-outer // threads) * inner)
        return cls(0, threads, reads, outer * inner)


class Blocks(NamedTuple):
    """The blocks of one thread's images: several images each, or a band of one."""

    bands: int
    rows_per_band: int
    images: int  # in a block
    number: int
    halo: int  # rows of tiles that a band computes once more, because they reach into it

    @classmethod
    def of(cls, images: int, sharing: int, tiles_down: int, room: int, *, overlap: bool) -> Self:
        """Blocks of at most `room` rows of tiles, or else of one."""
        bands = max(-(-tiles_down // max(room, 1)), -(-sharing // images))
        rows_per_band = -(-tiles_down // bands)
        bands = -(-tiles_down // rows_per_band)
        own = -(-images * bands // sharing)  # bands of one thread
        if bands > 1:
            return cls(bands, rows_per_band, 1, own, int(overlap))
        number = -(-own // max(room // tiles_down, 1))
        return cls(1, tiles_down, -(-own // number), number, 0)


def plan_winograd(kernel: str, g: ConvGeometry, images: int, processor: Processor, scheme: Scheme) -> WinogradPlan:
    """The plan of one of the three kernels by one of the schemes for its geometry."""
    rows, columns = processor.rows, processor.columns
    m, r, points, stride = scheme.m, scheme.r, scheme.n * scheme.n, g.stride[0]
    (top, _), (left, _) = g.padding
    tiles_down, tiles_across = -(-g.P // m), -(-g.Q // m)
    strip_height = max((tiles_down * m + r - 1) * stride, top + g.H)
    strip_width = max((tiles_across * m + r - 1) * stride, left + g.W)
    work = Work.of(kernel, g, images * tiles_down, images * tiles_down * tiles_across, columns, processor.threads)
    row_pixels = m * stride * strip_width if kernel == "conv2d_input_grad" else 0
    room = _room(kernel, work, tiles_across * points, row_pixels, columns * processor.itemsize)
    blocks = Blocks.of(images, work.sharing, tiles_down, room, overlap=kernel == "conv2d_input_grad")
    tiles = blocks.images * (blocks.rows_per_band + blocks.halo) * tiles_across  # of a block

    # One item more than the microkernel needs: points a power of two apart would compete for the same cache lines.
    tile_items = -(-tiles // rows) * rows + 1
    strip_points = points * tile_items * columns  # a block's
    if kernel == "conv2d_weight_grad":
        point_step, group_step, strip_step = tile_items * columns, rows * columns, strip_points
    else:  # in the order in which the products read them: some tiles of all strips, then the next tiles
        strip_step, group_step = rows * columns, work.reads * rows * columns
        point_step = tile_items // rows * group_step + columns
    chunks = -(-work.reads * points * columns * columns * processor.itemsize // WEIGHTS_BYTES)
    at_once = -(-work.reads // chunks)

    image_rows = ((blocks.rows_per_band + blocks.halo) * m + r - 1) * stride
    if kernel == "conv2d_input_grad":  # all images of the block at once, and the last band to the image's end
        last_rows = strip_height - ((blocks.bands - 1) * blocks.rows_per_band - blocks.halo) * m * stride
        image_rows = blocks.images * max(image_rows, last_rows)
    if kernel == "conv2d_weight_grad":
        weights, products = work.makes * strip_points, points * (-(-columns // rows) * rows + 1) * columns
    else:
        weights, products = points * (at_once * columns + 1) * columns, strip_points
    ends = [work.reads * strip_points + points * columns]  # a tile's last rows may read beyond the last strip
    for size in (weights, products, r * r * columns * columns, image_rows * strip_width * columns):
        ends.append(ends[-1] + size)
    grid = WinogradGrid(
        images, g.H, g.W, g.C, top, left, g.P, g.Q, g.K, g.R, g.S, stride, m, r, scheme.n, points, tiles_down,
        tiles_across, strip_height, strip_width, columns, blocks.images, blocks.bands, blocks.rows_per_band, tile_items,
        point_step, group_step, strip_step, at_once, work.split, *ends,
    )  # fmt: skip
    return WinogradPlan(scheme, grid, processor.threads, _steps(kernel, points, work, blocks, tiles, processor))


def _room(kernel: str, work: Work, row_points: int, row_pixels: int, strip_bytes: int) -> int:
    """The number of rows of tiles that the caches have room for.

    Args:
        row_points, row_pixels: numbers of one channel in a row of tiles, as points and as pixels.
        strip_bytes: bytes of one such number's strip.
    """
    if kernel == "conv2d_weight_grad":
        return POINTS_BYTES // ((work.reads + work.makes) * row_points * strip_bytes)
    room = POINTS_BYTES // (work.reads * row_points * strip_bytes)
    return min(room, RESULTS_BYTES // ((row_points + row_pixels) * strip_bytes))


def _steps(kernel: str, points: int, work: Work, blocks: Blocks, tiles: int, processor: Processor) -> float:
    """Steps of the microkernel in the time that one thread takes, with so many tiles in a block."""
    rows, columns = processor.rows, processor.columns
    if kernel == "conv2d_weight_grad":
        product_steps = points * work.reads * -(-columns // rows) * work.makes * blocks.number * tiles
    else:
        product_steps = points * work.reads * columns * work.makes * blocks.number * -(-tiles // rows)
    tiles_transformed = blocks.number * tiles * (work.reads + work.makes)
    weights_transformed = work.reads * columns * work.makes * blocks.number
    return product_steps + points * (TRANSFORM_STEPS * tiles_transformed + WEIGHT_STEPS * weights_transformed)
