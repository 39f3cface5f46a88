"""Gradients of several batches in one update: what a larger batch gives, in the memory of a smaller one."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from minigan.nn.parameters import Gradients

__all__ = ["mean_of_batches"]


M = TypeVar("M", bound=tuple[Any, ...])  # a NamedTuple of scalar arrays


def mean_of_batches(grads: Sequence[Gradients], batches: Sequence[Callable[[], M]]) -> M:
    """Leaves in `grads` the mean of several batches' gradients.

    Of networks in which examples do not meet it is the gradient of all of them as one batch; what is taken over a batch
    (BatchNorm's statistics, a mean that a loss compares with) is taken over each batch by itself. Each batch adds to
    the same memory, and its activations are gone before the next one's are computed.

    Args:
        grads: overwritten.
        batches: each adds a batch's gradients to `grads`, and returns the values measured.
    Returns:
        The means of the values.
    """
    for each in grads:
        each.zero()
    values = [batch() for batch in batches]
    if len(values) == 1:
        return values[0]
    for each in grads:
        each.flat *= 1 / len(values)
    means = [sum(column[1:], column[0]) / len(values) for column in zip(*values, strict=True)]
    return type(values[0])(*means)
