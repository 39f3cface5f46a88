"""Two batches as one, where nothing in a network depends on the batch: half the calls, and larger products.

In a small network the calls take as long as the work in them. In a large one they do not, and the activations of two
batches at a time would only crowd the caches and the memory.
"""

import math

from minigan.backends import Array, Backend
from minigan.nn.network import Sequential

__all__ = ["joinable_examples", "joined"]


def joinable_examples(network: Sequential) -> int:
    """The most examples of two batches that may go through a network as one, with the same results, and are quicker so.

    0 for a network in which examples meet, or which draws random numbers.
    """
    if not network.is_separable:
        return 0
    largest = max(math.prod(layer.output_shape) for layer in network) * network.dtype.itemsize
    return network.kernels.joined_bytes // largest


def joined(kernels: Backend, first: Array, second: Array) -> Array:
    """The examples of both batches, one batch after the other."""
    both = kernels.empty((len(first) + len(second), *first.shape[1:]), first.dtype)
    kernels.join(first, second, both)
    return both
