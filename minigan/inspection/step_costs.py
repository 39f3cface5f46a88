"""The costs of a pass's operations, with those of the layers inside that have no pass of their own."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from minigan.inspection.work import Cost, work_of
from minigan.nn.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    GroupNorm,
    Layer,
    LeakyReLU,
    MinibatchStdDev,
    PixelNorm,
    SelfAttention,
    Sigmoid,
    Tanh,
)
from minigan.nn.network import Sequential
from minigan.nn.network.combinators import Block
from minigan.nn.optimizers import SGD, Adam, Optimizer, RMSprop

__all__ = ["NONLINEAR", "Counted", "counted", "has_weights", "inner_layers", "swept_by_default", "update_cost"]

# Layers whose backward pass PyTorch differentiates with respect to their input.
NONLINEAR = (LeakyReLU, Tanh, Sigmoid, BatchNorm, GroupNorm, PixelNorm, MinibatchStdDev, SelfAttention)
UPDATES: dict[type, int] = {Adam: 12, RMSprop: 9, SGD: 4}  # operations for each weight, by their algorithms


class Counted(NamedTuple):
    """A cost, and the operations of convolutions and fully connected layers in it."""

    cost: Cost = Cost()
    products: int = 0

    def __add__(self, other: "Counted") -> "Counted":  # type: ignore[override]  # sums, not a longer tuple
        return Counted(self.cost + other.cost, self.products + other.products)


def inner_layers(layer: Layer) -> Iterator[Layer]:
    """The layer and those inside whose passes are its own: not those of a network, which tell of their passes."""
    yield layer
    for _, inner in layer.children():
        if not isinstance(inner, Sequential):
            yield from inner_layers(inner)


def has_weights(layer: Layer) -> bool:
    """Whether a pass of the layer has weights' gradients to compute."""
    return any(inner.own_parameters for inner in inner_layers(layer))


def counted(layer: Layer, examples: int, *passes: str) -> Counted:
    """The cost of some passes of a layer: y, dx, dw, second."""
    found = Counted()
    for inner in inner_layers(layer):
        work = work_of(inner, examples)
        for name in passes:
            cost: Cost | None = getattr(work, name)
            if cost is not None:
                found += Counted(cost, cost.flops if isinstance(inner, Conv2D | Dense) else 0)
    return found


def swept_by_default(layers: Iterable[Layer]) -> list[Layer]:
    """The layers that PyTorch's second backward pass reaches once more, below the last nonlinear one.

    Its LeakyReLU hands zeros on where ours says that there is nothing to hand on, and what lies below computes with
    them.
    """
    found: list[Layer] = []
    reached = False
    for layer in reversed(list(layers)):
        if reached:
            found += [inner for _, inner in layer.walk()]
        elif isinstance(layer, Sequential | Block):
            for _, branch in layer.children():
                found += swept_by_default(branch.layers if isinstance(branch, Sequential) else [branch])
        reached = reached or any(isinstance(inner, NONLINEAR) for _, inner in layer.walk())
    return found


def update_cost(optimizer: Optimizer) -> Cost:
    """Operations and bytes of an optimizer's pass over its arena, of those that minigan has."""
    each = next((count for kind, count in UPDATES.items() if isinstance(optimizer, kind)), 0)
    n, buffers, itemsize = len(optimizer.arena), len(optimizer.buffers), optimizer.arena.flat.itemsize
    return Cost(each * n, (2 + buffers) * n * itemsize, (1 + buffers) * n * itemsize)
