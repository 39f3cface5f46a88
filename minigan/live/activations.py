"""Activations of any layer, as its network's walk tells them."""

from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.nn.network import Observer, Pass, Sequential

__all__ = ["activations", "layer_names"]


class Outputs(Observer):
    """Remembers the outputs of a forward pass.

    Attributes:
        passes: of layers, in their order; those within a layer come before it.
    """

    def __init__(self) -> None:
        self.passes: list[Pass] = []

    def after(self, now: Pass) -> None:
        self.passes.append(now)


def _walked(network: Sequential, x: Array) -> list[Pass]:
    outputs = Outputs()
    with network.observed(outputs):
        network.forward(x, train=False)
    return [one for one in outputs.passes if one.result is not None and one.result.ndim in (2, 4)]


def layer_names(network: Sequential, x: Array) -> list[dict[str, Any]]:
    """The passes whose outputs can be shown, each with its name and the shape of one example's output."""
    return [
        {
            "name": " + ".join(layer.path.rpartition(".")[2] for layer in one.layers),
            "path": one.path,
            "shape": [] if one.result is None else list(one.result.shape[1:]),
        }
        for one in _walked(network, x)
    ]


def activations(network: Sequential, x: Array, index: int) -> np.ndarray | None:
    """The output of a pass of that number for x, (N, ...); None if there is none."""
    walked = _walked(network, x)
    if not 0 <= index < len(walked):
        return None
    return np.asarray(network.kernels.to_numpy(walked[index].result))
