"""The error of a training step that runs out of memory: which arrays are largest, and the remedy."""

import heapq
import math
from collections.abc import Mapping

from minigan.errors import OutOfMemoryError
from minigan.nn.network import Sequential

__all__ = ["out_of_memory", "size"]


def out_of_memory(error: MemoryError, networks: Mapping[str, Sequential], *, batch_size: int) -> OutOfMemoryError:
    """The error, with the batch size, the largest arrays of a step and the remedy."""
    largest = ", ".join(
        f"{path} {shape} {size(nbytes)}" for nbytes, path, shape in largest_outputs(networks, batch_size=batch_size)
    )
    reason = str(error).rstrip(".") or "the system gave no more"
    return OutOfMemoryError(
        f"out of memory with batches of {batch_size}: {reason}. The largest outputs are those of "
        f"{largest}. Use a smaller `batch_size`, image size or width."
    )


def largest_outputs(
    networks: Mapping[str, Sequential], *, batch_size: int, count: int = 3
) -> list[tuple[int, str, tuple[int, ...]]]:
    """Bytes, layer and shape of the layers' outputs for a batch, largest first."""
    outputs = []
    for network in networks.values():
        for _, layer in network.walk():
            if not list(layer.children()):
                shape = (batch_size, *layer.output_shape)
                outputs.append((math.prod(shape) * layer.activations.itemsize, layer.path, shape))
    return heapq.nlargest(count, outputs)


def size(nbytes: int) -> str:
    """A number of bytes in words: `1.5 GB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= scale:
            return f"{nbytes / scale:.3g} {unit}"
    return f"{nbytes} bytes"
