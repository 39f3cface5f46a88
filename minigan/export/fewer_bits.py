"""Graphs whose weights are in fewer bits, as the formats store them."""

from dataclasses import replace

import numpy as np

from minigan.checkpoints.quantized import WEIGHTS, quantize
from minigan.errors import ConfigError
from minigan.export import graph as g

__all__ = ["in_bits"]


def in_bits(graph: g.Graph, weights: str) -> g.Graph:
    """The graph with filters in fewer bits, and `w` the numbers that these stand for.

    Args:
        weights: fp32, fp16, or int8 with a scale for each output channel.
    Raises:
        ConfigError: there is no such type; or a number is not finite, or too large for fp16: names the layer.
    """
    if weights not in WEIGHTS:
        raise ConfigError(f"expected `weights` as one of {', '.join(WEIGHTS)}, got {weights!r}.")
    _expect_finite(graph)
    return replace(graph, ops=tuple(_in_bits(op, weights) for op in graph.ops))


def _in_bits(op: g.Op, weights: str) -> g.Op:
    if not isinstance(op, g.Linear) or weights == "fp32":
        return op
    fewer = quantize(op.w, weights=weights, axis=op.output_axis, of=op.path)
    return replace(op, w=fewer.restored(), fewer=fewer)


def _expect_finite(graph: g.Graph) -> None:
    """Refuses a graph whose weights are not finite.

    Raises:
        ConfigError: names the layer.
    """
    for op in graph.ops:
        for name, value in vars(op).items():
            if isinstance(value, np.ndarray) and not np.isfinite(value).all():
                raise ConfigError(f"{op.path}: expected finite weights, found NaN or infinity in {name}. Train again.")
