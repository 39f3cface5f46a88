"""The processor that a plan is made for, and the size of its blocks."""

from typing import NamedTuple

from minigan.backends.geometry import IntPair

# Half of a small second-level cache: the memory of one block, which a thread finishes before it takes the next.
BLOCK_BYTES = 1 << 18


class Processor(NamedTuple):
    """The tile of the microkernel, and how many threads there are."""

    rows: int
    columns: int
    lanes: int  # numbers in a vector
    itemsize: int  # bytes of a number
    threads: int


def balance(count: int, threads: int) -> float:
    """The balance of so many pieces among threads: 1 if all have equally many."""
    return count / (-(-count // threads) * threads)


def blocks(images: int, positions: int, threads: int, image_bytes: int) -> IntPair:
    """Images and rows in a block: either several whole images, or a band of one."""
    bands = max(-(-image_bytes // BLOCK_BYTES), -(-threads // images))
    if bands > 1:
        return 1, max(1, -(-positions // bands))
    return max(1, min(BLOCK_BYTES // max(image_bytes, 1), -(-images // threads))), positions
