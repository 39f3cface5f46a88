"""Two batches as one, where nothing in a network depends on the batch: half the calls, and larger products.

In a small network the calls take as long as the work in them. In a large one they do not, and the activations of two
batches at a time would only crowd the caches and the memory.
"""

import math

from minigan.backends import Array, Backend
from minigan.nn.network import Sequential

__all__ = ["can_join", "joined"]


def can_join(network: Sequential, first: Array, second: Array) -> bool:
    """Whether both batches may go through the network as one, with the same results, and are quicker so."""
    limit = network.kernels.joined_bytes
    if not limit or first.shape[1:] != second.shape[1:] or first.dtype != second.dtype:
        return False
    examples = len(first) + len(second)
    numbers = max(math.prod(layer.output_shape) for layer in network)
    return numbers * examples * network.dtype.itemsize <= limit and network.is_separable


def joined(kernels: Backend, first: Array, second: Array) -> Array:
    """The examples of both batches, one batch after the other."""
    both = kernels.empty((len(first) + len(second), *first.shape[1:]), first.dtype)
    both[: len(first)], both[len(first) :] = first, second
    return both
