"""The choice of tiles and splits for a convolution's matrix product; numbers only, nothing of CUDA.

A block of threads makes one tile of the result. Large tiles read each factor less often; small ones give all
multiprocessors something to do. Instead of in smaller tiles a product can also be cut along its depth, and the parts
are added up by a second kernel. Which is best is estimated: see `clocks`.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple, Self

from minigan.backends.geometry import ConvGeometry
from minigan.errors import ShapeError

Kernel = Literal["conv2d", "conv2d_input_grad", "conv2d_weight_grad"]

Precision = Literal["fp64", "fp32", "tf32", "bf16"]  # of a product; the first two without tensor cores

PRECISION: dict[Precision, int] = {"fp64": 0, "fp32": 0, "tf32": 1, "bf16": 2}  # as in product.cuh
RESERVED = 1 << 10  # bytes of shared memory that CUDA takes for each block
THIN = 4  # channels of an image up to which its gradient is a sum of overlaps
MIN_DEPTH = 64  # of a split, so that its first tiles' journey is paid for
MOST_SPLITS = 256  # of 64, DCGAN-64's first weight gradient takes twice as long on an H200
STAGES = 4  # tiles under way, at most

# What the estimate assumes of one multiprocessor of an H100, in its clocks; only the ratios matter.
MULTIPLY_ADDS: dict[Precision, int] = {"fp64": 64, "fp32": 128, "tf32": 640, "bf16": 1280}  # per clock
SHARED_BYTES_PER_CLOCK = 128
MEMORY_BYTES_PER_CLOCK = 14
DEPTH_AROUND = 128  # that a block's beginning and end cost
BUSY_WARPS = 8  # that hide each other's waiting
LAUNCH = 4000  # a second kernel


class Tile(NamedTuple):
    """Rows and columns of the result that a block makes, its warps down and across.

    Attributes:
        blocks: that a multiprocessor has registers for.
    """

    rows: int
    columns: int
    warps: tuple[int, int]
    blocks: int = 2

    @property
    def threads(self) -> int:
        return 32 * self.warps[0] * self.warps[1]


# Of the tensor cores: a warp has up to 64x64 numbers, so that a fragment is multiplied eight or four times.
HUGE, TALL, LARGE, WIDE, SMALL, NARROW = (
    Tile(256, 128, (4, 2), 1),
    Tile(256, 64, (4, 1), 2),
    Tile(128, 128, (2, 2), 2),
    Tile(128, 64, (2, 2), 2),
    Tile(64, 64, (2, 2), 3),
    Tile(128, 8, (4, 1), 3),
)
TILES = (HUGE, TALL, LARGE, WIDE, SMALL, NARROW)
# Without them: each thread has a grid of numbers, of a double one no more than 4x4.
PLAIN_TILES = (Tile(128, 128, (2, 4)), Tile(128, 64, (4, 2)), Tile(64, 64, (2, 4)), Tile(128, 8, (8, 1)))
DOUBLE_TILES = PLAIN_TILES[2:]
# Of convolutions in groups, of which 16 or 32 filters are many.
GROUP_TILES = (Tile(128, 32, (4, 1), 3), Tile(128, 16, (4, 1), 3))
PLAIN_GROUP_TILES = (Tile(128, 32, (8, 1)), Tile(128, 16, (8, 1)))
MOST_LAYERS = (1 << 16) - 1  # of a grid: its third size


def tiles_of(precision: Precision, *, grouped: bool = False) -> tuple[Tile, ...]:
    """The tiles to choose from, the narrowest last."""
    *tiles, narrow = {"fp64": DOUBLE_TILES, "fp32": PLAIN_TILES}.get(precision, TILES)
    between = (PLAIN_GROUP_TILES if precision in ("fp64", "fp32") else GROUP_TILES) if grouped else ()
    return (*tiles, *between, narrow)


class Product(NamedTuple):
    """A matrix product as the grid of blocks sees it.

    Attributes:
        rows, depth, columns: of the largest phase.
        phases: products of the same kind that one launch does, see conv.cu.
        together: numbers of each factor that lie side by side: a fetch must not go beyond them.
    """

    rows: int
    depth: int
    columns: int
    phases: int
    together: tuple[int, int]


class ProductPlan(NamedTuple):
    """The layout of one launch of a convolution's kernel.

    Attributes:
        depth: of a step.
        stages: tiles under way.
        vectors: numbers that a thread fetches at once, of each factor.
        splits: parts of the depth, each summed by its own blocks.
        grid: blocks.
        grouped: whether the products are a convolution's groups, whose numbers lie between each other's.
    """

    precision: Precision
    tile: Tile
    depth: int
    stages: int
    vectors: tuple[int, int]
    splits: int
    grid: tuple[int, int, int]
    grouped: bool = False

    @property
    def itemsize(self) -> int:
        return 8 if self.precision == "fp64" else 4

    @property
    def settings(self) -> tuple[tuple[str, int], ...]:
        """The settings that conv.cu is compiled with."""
        (BM, BN, (WARPS_M, WARPS_N), blocks), (VA, VB) = self.tile, self.vectors
        grouped = (("GROUPED", 1),) if self.grouped else ()
        tile = (("BM", BM), ("BN", BN), ("WARPS_M", WARPS_M), ("WARPS_N", WARPS_N), ("BLOCKS", blocks))
        steps = (("BK", self.depth), ("STAGES", self.stages))
        return (("PRECISION", PRECISION[self.precision]), *tile, *steps, ("VA", VA), ("VB", VB), *grouped)

    def stage_bytes(self, kernel: Kernel) -> int:
        """Bytes of shared memory for one tile of each factor; the strides are product.cuh's."""

        def numbers(extent: int, depth_inner: bool) -> int:
            return extent * (self.depth + 4) if depth_inner else self.depth * (extent + 8)

        left = numbers(self.tile.rows, kernel != "conv2d_weight_grad")
        right = numbers(self.tile.columns, kernel == "conv2d_input_grad")
        return (left + right) * self.itemsize

    def shared_bytes(self, kernel: Kernel) -> int:
        """Bytes of shared memory for the tiles under way."""
        return self.stages * self.stage_bytes(kernel)

    def fitted(self, kernel: Kernel, shared: int) -> Self:
        """With as many stages as leave room for the tile's blocks, but two at least."""
        room = (shared + RESERVED) // self.tile.blocks - RESERVED
        return self._replace(stages=max(2, min(STAGES, room // self.stage_bytes(kernel))))

    def name(self) -> str:
        """A readable name."""
        split = f" in {self.splits} parts" if self.splits > 1 else ""
        return f"{self.precision} {self.tile.rows}x{self.tile.columns}{split}"


def product_of(kernel: Kernel, g: ConvGeometry, images: int) -> Product:
    """The matrix product that a kernel is; the table at the head of conv.cu."""
    if kernel == "conv2d":
        return Product(images * g.P * g.Q, g.R * g.S * g.C, g.K, 1, (g.C, g.K))
    if kernel == "conv2d_weight_grad":
        return Product(g.R * g.S * g.C, images * g.P * g.Q, g.K, 1, (g.C, g.K))
    pixels = [-(-extent // stride) for extent, stride in zip((g.H, g.W), g.stride, strict=True)]
    taps = [-(-extent // stride) for extent, stride in zip((g.R, g.S), g.stride, strict=True)]
    return Product(images * math.prod(pixels), math.prod(taps) * g.K, g.C, math.prod(g.stride), (g.K, g.K))


@lru_cache(maxsize=4096)  # asked for before every launch
def plan_product(
    kernel: Kernel,
    g: ConvGeometry,
    images: int,
    *,
    products: int = 1,
    grouped: bool = False,
    precision: Precision,
    multiprocessors: int,
    shared: int,
    aligned: tuple[bool, bool],
) -> ProductPlan:
    """The layout of one launch.

    Args:
        products: of this shape, that are done together.
        grouped: they are the groups of one convolution.
        multiprocessors: of the GPU.
        shared: bytes that a block can have of a multiprocessor's shared memory.
        aligned: whether each factor begins at a multiple of 16 bytes.
    """
    product = product_of(kernel, g, images)
    product = product._replace(phases=product.phases * products)
    if max(product.rows, product.depth) >= 2**31 - 64:  # with a step beyond
        raise ShapeError(f"{kernel}: {images} images of {g.P}x{g.Q} pixels are more than fit. Use smaller batches.")
    wide = 2 if precision == "fp64" else 4
    left, right = (
        wide if together % wide == 0 and straight else 1
        for together, straight in zip(product.together, aligned, strict=True)
    )
    deep = precision in ("tf32", "bf16") and min(left, right) > 1 and product.depth > 16
    plain = ProductPlan(precision, SMALL, 32 if deep else 16, STAGES, (left, right), 1, (0, 0, 0), grouped)
    plans = _candidates(product, plain)
    fitted = (plan.fitted(kernel, shared) for plan in plans)
    fitting = (plan for plan in fitted if plan.shared_bytes(kernel) <= shared)
    return min(fitting, key=lambda plan: clocks(product, plan, multiprocessors))


def _candidates(product: Product, plan: ProductPlan) -> Iterator[ProductPlan]:
    """Tiles that fit in the registers and are not mostly empty, each with the numbers of splits to consider."""
    most = max(1, min(product.depth // MIN_DEPTH, MOST_SPLITS))
    tiles = tiles_of(plan.precision, grouped=plan.grouped)
    for tile in tiles:
        if (tile is tiles[-1]) != (product.columns <= tiles[-1].columns):
            continue
        if not has_registers(plan._replace(tile=tile)):
            continue
        down, across = -(-product.rows // tile.rows), -(-product.columns // tile.columns)
        for splits in (1 << i for i in range(most.bit_length())):
            if splits > 1 and product.phases * splits > MOST_LAYERS:
                break
            yield plan._replace(tile=tile, splits=splits, grid=(down, across, product.phases * splits))


def has_registers(plan: ProductPlan) -> bool:
    """Whether a thread has registers for its sums and, where numbers are fetched one by one, for their places."""
    return min(plan.vectors) > 1 or plan.tile.rows * plan.tile.columns <= 64 * plan.tile.threads


def clocks(product: Product, plan: ProductPlan, multiprocessors: int) -> float:
    """An estimate of what a product takes.

    Blocks are dealt to the multiprocessors. A step of the depth costs the time of its multiply-adds or that of its
    traffic with shared memory; with few warps waiting shows. The parts of a cut product travel to memory and back.
    """
    blocks = math.prod(plan.grid)
    turns = -(-blocks // multiprocessors)
    warps = plan.tile.threads // 32 * min(plan.tile.blocks, turns)
    depth = -(-product.depth // (plan.depth * plan.splits)) * plan.depth + DEPTH_AROUND
    total = turns * depth * _clocks_of_depth(plan) * math.sqrt(max(1.0, BUSY_WARPS / warps))
    if plan.splits > 1:
        parts = 2 * plan.splits * product.rows * product.columns * product.phases * plan.itemsize
        total += LAUNCH + parts / (MEMORY_BYTES_PER_CLOCK * multiprocessors)
    return total


def _clocks_of_depth(plan: ProductPlan) -> float:
    """Clocks of a block for each 1 of depth."""
    rows, columns, warps, _ = plan.tile
    multiply = rows * columns / MULTIPLY_ADDS[plan.precision]
    if plan.precision in ("fp32", "fp64"):  # the numbers that each thread fetches
        across = min(16, columns)
        fetched = plan.tile.threads * (rows * across // plan.tile.threads + columns // across)
    else:  # the fragments that each warp fetches
        fetched = math.prod(warps) * (rows // warps[0] + columns // warps[1])
    copied = 2 * (rows + columns)  # they arrive at half the speed
    return max(multiply, (fetched + copied) * plan.itemsize / SHARED_BYTES_PER_CLOCK)


def dense(features: int, outputs: int) -> ConvGeometry:
    """A dense layer as the convolution of images of one pixel."""
    return ConvGeometry(1, 1, features, outputs, 1, 1)


def folded(g: ConvGeometry) -> ConvGeometry:
    """A convolution whose filter covers the whole image once as the dense layer that it is; others as they are."""
    if (g.groups, g.P, g.Q) == (1, 1, 1) and (g.R, g.S) == (g.H, g.W) and not any(sum(g.padding, ())):
        return dense(g.R * g.S * g.C, g.K)
    return g


def is_thin(g: ConvGeometry, images: int) -> bool:
    """Tells whether an input gradient is faster as a product for each window and a sum of overlapping windows.

    So it is for images of 1 to 4 channels: as a product over windows 5 of 8 columns and more would be empty. The sum
    counts with C's int.
    """
    return g.groups == 1 and g.C <= THIN and g.R * g.S > 1 and images * g.H * g.W * g.C < 2**31
