"""Packing: a discriminator that judges several examples at once."""

from typing import ClassVar

import numpy as np

from minigan.backends import Array
from minigan.errors import ShapeError
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients
from minigan.support.arguments import whole


class Pack(Layer):
    """Joins each `count` neighbors of the batch along the channels: (N, H, W, C) becomes (N / count, H, W, count * C).

    At the front of D it makes a PacGAN: D recognizes fakes by being all alike, so a generator that forgets modes does
    badly. No other layer changes the number of examples.

    Source: Lin et al. 2018, "PacGAN: The power of two samples in generative adversarial networks", section 2.

    Args:
        count: the number of examples that are joined.
    """

    narrow: ClassVar[bool] = True

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = whole(count, "count", of=self.path)

    def infer(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.count * input_shape[-1])

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, None]:
        if len(x) % self.count:
            raise ShapeError(
                f"{self.path}: joins {self.count} examples, got a batch of {len(x)}. Use a multiple of {self.count}."
            )
        y = self.kernels.empty((len(x) // self.count, *self.output_shape), x.dtype)
        self._packed(y)[...] = self._in_turn(x)
        return y, None

    def backward(self, dy: Array, cache: None, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        if not need_dx:
            return None
        dx = self.kernels.empty((len(dy) * self.count, *self.input_shape), dy.dtype)
        self._in_turn(dx)[...] = self._packed(dy)
        return dx

    def double_backward(self, v: Array, record: Array, cache: None, *, grads: Gradients | None) -> tuple[Array, None]:
        return self.forward(v, train=True)[0], None

    def _packed(self, packed: Array) -> Array:
        """A view (N / count, ..., count, C) of joined examples."""
        return packed.reshape(len(packed), *self.input_shape[:-1], self.count, self.input_shape[-1])

    def _in_turn(self, x: Array) -> Array:
        """The same view of examples that follow each other in the batch."""
        return self.kernels.xp.moveaxis(x.reshape(-1, self.count, *self.input_shape), 1, -2)

    def describe(self) -> str:
        return f"Pack {self.count}"

    @property
    def own_flops(self) -> int:
        return 0
