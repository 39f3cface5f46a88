"""Layers whose condition is their own input: StyleGAN's synthesis network, which reads a style w at each layer.

Source: Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", section 2.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.layers.condition import Condition, Conditional
from minigan.nn.layers.modulation import Modulated
from minigan.nn.network.combinators import Block
from minigan.nn.network.sequential import Sequential
from minigan.nn.network.tape import Tape
from minigan.nn.parameters import Gradients

__all__ = ["Styled", "conditional_layers"]


class StyledCache(NamedTuple):
    x: Array  # by reference
    inner: Tape


class Styled(Block):
    """Layers that are given their input as condition: y = f(x | x).

    A generator with styles is then one sequence of a mapping and a synthesis,

        Sequential([Dense(512), LeakyReLU(0.2), ..., Styled([LearnedConstant((4, 4, 512)), ...])], name="G")

    whose passes need no more than those of other networks: dx is the sum of what each layer inside sends to its
    condition, and of the first layer's dx (none, where that is a `LearnedConstant`); in the second order v is the
    tangent of the condition as well as of x. `G[:-1]` is the mapping, `G[-1:]` the synthesis.

    A style for each layer: x is then (L, F), a mapping's w in L rows, of which each layer reads the one that it was
    told. So styles can be mixed, or projected each by itself, between the two networks; the mapping sums the rows'
    gradients.

    A condition of the network around it stays outside: it belongs to the mapping.

    Args:
        layers: the layers of f.
    """

    separable: ClassVar[bool] = True

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.inner = Sequential(layers, name=f"{self.path}.inner")

    def infer(self, input_shape: Shape) -> Shape:
        return self.inner.setup(input_shape, f"{self.path}.inner")

    @property
    def rows(self) -> int:
        """The number of rows of styles that the layers read; 0 if all read the one style that there is."""
        rows = [layer.row for _, layer in self.inner.walk() if isinstance(layer, Modulated) and layer.row is not None]
        return max(rows, default=-1) + 1

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield "inner", self.inner

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, StyledCache]:
        y, tape = self.inner.given(x).forward(x, train=train, rng=rng)
        return y, StyledCache(x, tape)

    def backward(self, dy: Array, cache: StyledCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        x, tape = cache
        if not need_dx:
            return self.inner.given(x).backward(dy, tape, grads=grads, need_dx=False)
        dc = self._zeros(x)
        return self._sum(dc, self.inner.given(Condition(x, dc)).backward(dy, tape, grads=grads))

    def backward_recorded(self, dy: Array, cache: StyledCache) -> tuple[Array, Any]:
        dc = self._zeros(cache.x)
        dx, record = self.inner.given(Condition(cache.x, dc)).backward_recorded(dy, cache.inner)
        return self._sum(dc, dx), record

    def double_backward(
        self, v: Array, record: Any, cache: StyledCache, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        dc = self._zeros(cache.x)
        network = self.inner.given(Condition(cache.x, dc, tangent=v))
        ddy, ddx = network.double_backward(v, record, cache.inner, grads=grads)
        return ddy, self._sum(dc, ddx)

    def commit_statistics(self, cache: StyledCache) -> None:
        self.inner.commit_statistics(cache.inner)

    @property
    def own_flops(self) -> int:
        return 0  # its layers count their own

    def _zeros(self, x: Array) -> Array:
        zeros = self.kernels.empty(x.shape, x.dtype)
        zeros.fill(0)
        return zeros

    def _sum(self, dc: Array, dx: Array | None) -> Array:
        return dc if dx is None else self.kernels.add(dc, dx)


def conditional_layers(network: Layer) -> Iterator[Conditional]:
    """The layers that `network.given(condition)` reaches.

    Those in a `Styled`, and those inside a conditional layer, have a condition of their own.
    """
    if isinstance(network, Styled):
        return
    if isinstance(network, Conditional):
        yield network
        return
    for _, layer in network.children():
        yield from conditional_layers(layer)
