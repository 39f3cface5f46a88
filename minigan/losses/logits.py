"""Sums and functions of logits that losses share."""

import math
from collections.abc import Sequence
from typing import Any

from minigan.backends import Array, array_module, logit_kernels
from minigan.backends.reference.activation import sigmoid
from minigan.errors import DTypeError
from minigan.support.arguments import kind_of


def expect_array(value: Any, name: str, *, of: Any) -> None:
    """Refuses what is no array of numbers.

    Args:
        name: the argument's.
        of: the loss or the function.
    Raises:
        DTypeError: it is something else.
    """
    if not hasattr(value, "dtype") or value.dtype.kind not in "fiu":
        owner = getattr(of, "__name__", type(of).__name__)
        raise DTypeError(
            f"{owner}: {name} must be an array of numbers, got {kind_of(value)}. "
            f"Write np.array({name}, dtype='float32')."
        )


def softplus_and_probability(x: Array) -> tuple[Array, Array]:
    """log(1 + exp(x)) and its derivative 1 / (1 + exp(-x)), from one exp(-|x|), which cannot overflow."""
    xp = array_module(x)
    e = xp.exp(-xp.abs(x))
    return xp.maximum(x, 0) + xp.log1p(e), xp.where(x >= 0, 1, e) / (1 + e)


def binary_cross_entropy(logits: Array, target: float) -> tuple[Array, Array]:
    """-t log p - (1 - t) log(1 - p) = softplus(s) - t s with p = sigmoid(s), for each logit s, and p.

    Of an infinite logit, too: a certain and right answer costs 0, every other costs infinity.
    """
    xp = array_module(logits)
    softplus, p = softplus_and_probability(logits)
    if not target:
        return softplus, p
    of_certain = 0.0 if target == 1 else math.inf
    return xp.where(logits == math.inf, of_certain, softplus - target * logits), p


def mean_cross_entropy(logits: Array, target: float) -> tuple[Array, Array]:
    """The mean of `binary_cross_entropy`, and its derivative with respect to each logit: (p - t) / N."""
    native = logit_kernels(logits)
    if native is not None:
        return native.cross_entropy(logits, target)  # type: ignore[no-any-return]
    values, p = binary_cross_entropy(logits, target)
    return mean(values), (p - target) / logits.size


def mean_probability(logits: Array) -> Array:
    """The mean of D = sigmoid(s)."""
    native = logit_kernels(logits)
    return mean(probability(logits)) if native is None else native.mean_probability(logits)


def mean(x: Array) -> Array:
    """Mean of all elements; for a few numbers NumPy's own `mean` takes longer than all the rest of a loss."""
    return x.sum() / x.size


def probability(logits: Array) -> Array:
    """D = sigmoid(s) = 1 / (1 + exp(-s)), without overflow."""
    return sigmoid(logits, array_module(logits))


def stack(arrays: Sequence[Array]) -> Array:
    """Stacks arrays along a new last axis.

    `xp.stack` would not do: for many arrays CuPy's copies a table from the host, which a captured step must not.
    """
    first = arrays[0]
    stacked = array_module(first).empty((*first.shape, len(arrays)), dtype=first.dtype)
    for index, array in enumerate(arrays):
        stacked[..., index] = array
    return stacked
