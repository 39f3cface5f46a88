"""Activations narrower than the network's dtype: where a walk through its layers converts them.

A network takes and returns arrays of its own dtype. Inside, activations have the backend's `activation_dtype`, wherever
a layer takes that (`Layer.takes_narrow`); others are given the network's dtype. The end has the network's dtype, too:
logits and images are not rounded to the few digits of a narrow activation. It is what follows the last layer with
weights, such as a generator's `Tanh`; where nothing follows but a `Flatten`, it is that layer. A network inside another
one that is given narrow arrays returns narrow ones, and has no such end.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigan.backends import Array, Backend
from minigan.nn.layers.base import Layer
from minigan.nn.layers.fused import Step
from minigan.nn.parameters import Gradients


class Converted:
    """A step or a layer that is given arrays of one dtype, whatever its neighbors return."""

    def __init__(self, part: Any, dtype: np.dtype[Any], kernels: Backend) -> None:
        self.part, self.dtype, self.kernels = part, dtype, kernels

    def __len__(self) -> int:
        return len(self.part)

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        result: tuple[Array, Any] = self.part.forward(self.kernels.cast(x, self.dtype), train=train, rng=rng)
        return result

    def backward(self, dy: Array, cache: Any, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        return self.part.backward(self.kernels.cast(dy, self.dtype), cache, grads=grads, need_dx=need_dx)

    def backward_recorded(self, dy: Array, cache: Any) -> tuple[Array, Any]:
        result: tuple[Array, Any] = self.part.backward_recorded(self.kernels.cast(dy, self.dtype), cache)
        return result

    def double_backward(
        self, v: Array, record: Any, cache: Any, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        v = self.kernels.cast(v, self.dtype)
        result: tuple[Array, Array | None] = self.part.double_backward(v, record, cache, grads=grads)
        return result

    def extend(self, u: Array, record: Any, cache: Any, *, grads: Gradients | None) -> Array:
        return self.part.extend(self.kernels.cast(u, self.dtype), record, cache, grads=grads)


def dtypes_of_walk(
    steps: Sequence[Step], dtype: np.dtype[Any], narrow: np.dtype[Any], *, given: np.dtype[Any]
) -> list[np.dtype[Any]]:
    """The dtype that each step is given.

    Args:
        dtype: the network's.
        narrow: of its activations.
        given: of the walk's x.
    """
    end = len(steps) if given == narrow else _first_of_end(steps)
    return [
        narrow if index < end and all(layer.takes_narrow() for layer in step) else dtype
        for index, step in enumerate(steps)
    ]


def _first_of_end(steps: Sequence[Step]) -> int:
    """The index of the step with which the network's end begins."""
    trained = [index for index, step in enumerate(steps) if any(map(_has_weights, step))]
    if not trained:
        return len(steps)
    computing = [index for index in range(trained[-1] + 1, len(steps)) if any(layer.flops for layer in steps[index])]
    return computing[0] if computing else trained[-1]


def _has_weights(layer: Layer) -> bool:
    return any(inner.own_parameters for _, inner in layer.walk())
