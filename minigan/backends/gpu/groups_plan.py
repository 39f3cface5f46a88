"""The layout of convolutions in narrow groups among threads: groups.cu; numbers only, nothing of CUDA.

A group of many channels is a matrix product, see `plan.py`; of few channels a product would be mostly empty.
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from minigan.backends.geometry import ConvGeometry
from minigan.backends.gpu.plan import Kernel
from minigan.errors import ShapeError

THREADS = 256  # of a block
LANES = 32  # threads side by side, at most
PIXELS, ROWS = 4, 9  # of a thread, as in groups.cu
OWN, COMMON, MIXED = range(3)  # which channels the neighboring results of a thread see, as in groups.cu
LEAST_PRODUCT = 256  # channels times filters of a group that is a matrix product: 16 by 16
LEAST_PIXELS = 32  # of a weight gradient, for each thread
BLOCKS = 4  # of a weight gradient, for each multiprocessor: what they sum must be added up


@lru_cache(maxsize=1024)
def one_group(g: ConvGeometry) -> ConvGeometry:
    """The convolution that each group is."""
    return g if g.groups == 1 else replace(g, C=g.C // g.groups, K=g.K // g.groups, groups=1)


def is_narrow(g: ConvGeometry) -> bool:
    """Tells whether groups are too narrow to be matrix products."""
    return g.groups > 1 and (g.C // g.groups) * (g.K // g.groups) < LEAST_PRODUCT


class GroupsPlan(NamedTuple):
    """The layout of one launch.

    Attributes:
        vector: neighboring results of a thread.
        share: OWN, COMMON or MIXED.
        fetch: channels that are fetched at once, of those that a result sees.
        lanes: threads side by side.
        apart: columns between a thread's pixels; of a weight gradient rows of the result that a block sums.
        splits: parts of a weight gradient's pixels.
        grid: blocks.
    """

    vector: int
    share: int
    fetch: int
    lanes: int
    apart: int
    splits: int
    grid: tuple[int, int]

    @property
    def settings(self) -> tuple[tuple[str, int], ...]:
        """The settings that groups.cu is compiled with."""
        return (("VECTOR", self.vector), ("SHARE", self.share), ("FETCH", self.fetch))

    def shared_bytes(self, itemsize: int) -> int:
        """Bytes of shared memory in which a weight gradient's threads leave their sums."""
        return ROWS * THREADS * self.vector * itemsize


@lru_cache(maxsize=4096)  # asked for before every launch
def plan_groups(
    kernel: Kernel, g: ConvGeometry, images: int, *, wide: int, aligned: bool, multiprocessors: int
) -> GroupsPlan:
    """The layout of one of the three kernels.

    Args:
        wide: numbers in 16 bytes.
        aligned: whether all arrays begin at a multiple of 16 bytes.
    """
    backwards = kernel == "conv2d_input_grad"
    (channels, height, width), step = ((g.C, g.H, g.W), g.stride[1]) if backwards else ((g.K, g.P, g.Q), 1)
    seen, made = (each // g.groups for each in ((g.K, g.C) if backwards else (g.C, g.K)))
    vector = wide if aligned and channels % wide == 0 else 1
    share = COMMON if made % vector == 0 else OWN if made == seen == 1 else MIXED
    tiles = -(-channels // (vector * LANES))
    lanes = -(-channels // (vector * tiles))
    at_once = THREADS // lanes
    if max(images * g.P * g.Q, images * height * (width + step)) >= 2**31 - THREADS:
        raise ShapeError(f"{kernel}: {images} images of {g.P}x{g.Q} pixels are more than fit. Use smaller batches.")
    if kernel == "conv2d_weight_grad":
        rows, pixels = g.R * g.S * seen, images * g.P * g.Q
        chunks = -(-rows // ROWS)
        most = multiprocessors * BLOCKS // (tiles * chunks)
        splits = max(1, min(most, pixels // (at_once * LEAST_PIXELS)))
        return GroupsPlan(vector, share, 1, lanes, -(-rows // chunks), splits, (chunks * splits, tiles))
    fetch = wide if share == COMMON and vector > 1 and seen % wide == 0 else 1
    apart = -(-width // (PIXELS * step)) * step
    return GroupsPlan(vector, share, fetch, lanes, apart, 1, (-(-images * height * apart // at_once), tiles))
