"""The choice of tiles and splits for a convolution's matrix product; numbers only, nothing of CUDA.

A block of 256 threads makes one tile of the result. Large tiles read each factor less often; small ones give all
multiprocessors something to do. Instead of in smaller tiles a product can also be cut along its depth, and the parts
are added up by a second kernel. Which is best is estimated: see `clocks`.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from minigan.backends.geometry import ConvGeometry
from minigan.errors import ShapeError

Kernel = Literal["conv2d", "conv2d_input_grad", "conv2d_weight_grad"]

BK = 16  # depth of a tile, product.cuh's
STAGES = 4  # conv.cu's
THIN = 4  # channels of an image up to which its gradient is a sum of overlaps
MIN_STEPS = 4  # of a split, so that its first tiles' journey is paid for
MOST_SPLITS = 256  # of 64, DCGAN-64's first weight gradient takes twice as long on an H200

# What the estimate assumes of one multiprocessor of an H100, in its clocks; only the ratios matter.
BLOCKS = 2  # at a time
SHARED_BYTES_PER_CLOCK = 128
MEMORY_BYTES_PER_CLOCK = 14
STEPS_AROUND = 8  # that a block's beginning and end cost
LAUNCH = 4000  # a second kernel


class Tile(NamedTuple):
    """Rows and columns of the result that a block makes, and its warps down and across."""

    rows: int
    columns: int
    warps: tuple[int, int]


LARGE, WIDE, SMALL, NARROW = (
    Tile(128, 128, (2, 4)),
    Tile(128, 64, (4, 2)),
    Tile(64, 64, (2, 4)),
    Tile(128, 8, (8, 1)),
)
TILES = (LARGE, WIDE, SMALL, NARROW)


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
        vectors: numbers that a thread fetches at once, of each factor.
        splits: parts of the depth, each summed by its own blocks.
        grid: blocks.
    """

    tile: Tile
    vectors: tuple[int, int]
    splits: int
    grid: tuple[int, int, int]

    def shared_bytes(self, kernel: Kernel, itemsize: int) -> int:
        """Bytes of shared memory for the tiles under way; the strides are product.cuh's."""

        def numbers(extent: int, depth_inner: bool) -> int:
            return extent * (BK + 4) if depth_inner else BK * (extent + 8)

        left = numbers(self.tile.rows, kernel != "conv2d_weight_grad")
        right = numbers(self.tile.columns, kernel == "conv2d_input_grad")
        return STAGES * (left + right) * itemsize

    def name(self, precision: str) -> str:
        """A readable name."""
        split = f" in {self.splits} parts" if self.splits > 1 else ""
        return f"{precision} {self.tile.rows}x{self.tile.columns}{split}"


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
    kernel: Kernel, g: ConvGeometry, images: int, *, multiprocessors: int, itemsize: int, aligned: tuple[bool, bool]
) -> ProductPlan:
    """The layout of one launch.

    Args:
        multiprocessors: of the GPU; two blocks run on each.
        itemsize: bytes of a number.
        aligned: whether each factor begins at a multiple of 16 bytes.
    """
    product = product_of(kernel, g, images)
    if max(product.rows, product.depth) >= 2**31:
        raise ShapeError(f"{kernel}: {images} images of {g.P}x{g.Q} pixels are more than fit. Use smaller batches.")
    tile, splits = min(
        _candidates(product, itemsize), key=lambda c: clocks(product, c[0], c[1], multiprocessors, itemsize)
    )
    down, across = -(-product.rows // tile.rows), -(-product.columns // tile.columns)
    wide = 16 // itemsize
    vectors = tuple(
        wide if together % wide == 0 and straight else 1
        for together, straight in zip(product.together, aligned, strict=True)
    )
    return ProductPlan(tile, (vectors[0], vectors[1]), splits, (down, across, product.phases * splits))


def _candidates(product: Product, itemsize: int) -> Iterator[tuple[Tile, int]]:
    """Tiles that fit in the registers and are not mostly empty, each with the numbers of splits to consider."""
    most = max(1, min(-(-product.depth // BK) // MIN_STEPS, MOST_SPLITS))
    for tile in (SMALL, NARROW) if itemsize == 8 else TILES:
        if (tile is NARROW) == (product.columns <= NARROW.columns):
            yield from ((tile, 1 << i) for i in range(most.bit_length()))


def clocks(product: Product, tile: Tile, splits: int, multiprocessors: int, itemsize: int) -> float:
    """An estimate of what a product takes, from the fragments that its warps fetch from shared memory.

    In each step of the depth a warp fetches the rows and the columns of its part of the tile; that bounds the tensor
    cores. Blocks come in waves, and the parts of a cut product travel to memory and back.
    """
    down, across = -(-product.rows // tile.rows), -(-product.columns // tile.columns)
    waves = -(-down * across * product.phases * splits // (BLOCKS * multiprocessors))
    steps = -(-product.depth // BK) / splits + STEPS_AROUND
    fetched = 8 * (tile.rows // tile.warps[0] + tile.columns // tile.warps[1]) * BK * itemsize
    total = waves * BLOCKS * steps * fetched / SHARED_BYTES_PER_CLOCK
    if splits > 1:
        parts = 2 * splits * product.rows * product.columns * product.phases * itemsize
        total += LAUNCH + parts / (MEMORY_BYTES_PER_CLOCK * multiprocessors)
    return total


def dense(features: int, outputs: int) -> ConvGeometry:
    """A dense layer as the convolution of images of one pixel."""
    return ConvGeometry(1, 1, features, outputs, 1, 1)


def folded(g: ConvGeometry) -> ConvGeometry:
    """A convolution whose filter covers the whole image once as the dense layer that it is; others as they are."""
    if (g.P, g.Q) == (1, 1) and (g.R, g.S) == (g.H, g.W) and not any(sum(g.padding, ())):
        return dense(g.R * g.S * g.C, g.K)
    return g


def is_thin(g: ConvGeometry, images: int) -> bool:
    """Tells whether an input gradient is faster as a product for each window and a sum of overlapping windows.

    So it is for images of 1 to 4 channels: as a product over windows 5 of 8 columns and more would be empty. The sum
    counts with C's int.
    """
    return g.C <= THIN and g.R * g.S > 1 and images * g.H * g.W * g.C < 2**31
