"""Drawings of a step: each network as a chain of layers, with the passes that ran and those that did not, and why.

Forward passes are solid, backward passes dashed, and what is not computed is gray with its reason.
"""

from typing import NamedTuple

__all__ = ["Chain", "Node", "Panel"]


class Node(NamedTuple):
    """A layer of a chain in one phase of a step.

    Attributes:
        label: `0 Conv2D 4x4 /2`.
        shape: of its output.
        has_weights: whether it, or a layer inside, has weights.
        dx: whether the gradient of its input was computed.
        dw: whether the gradients of its weights were computed.
        second: whether the gradient of its backward pass was computed.
        no_dx, no_dw: the reasons why not.
        depth: the number of layers it stands inside of.
        beside: the layer whose input it shares, if it begins a branch and does not follow the layer above it.
    """

    label: str
    shape: str
    has_weights: bool
    dx: bool
    dw: bool
    second: bool = False
    no_dx: str = ""
    no_dw: str = ""
    depth: int = 0
    beside: str = ""


class Chain(NamedTuple):
    """A network in one phase.

    Attributes:
        name: `G`.
        source: its input: `z (100,)`.
        nodes: its layers, in the order of the forward pass.
        result: what becomes of its output: `logits to the loss`.
        backward: whether any backward pass went through it.
        why: why none did.
    """

    name: str
    source: str
    nodes: tuple[Node, ...]
    result: str
    backward: bool
    why: str = ""


class Panel(NamedTuple):
    """A phase of a step: `D's step`, and the networks that take part in it."""

    title: str
    chains: tuple[Chain, ...]
