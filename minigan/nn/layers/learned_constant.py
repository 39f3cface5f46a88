"""The constant that a generator with styles starts from."""

from typing import ClassVar

import numpy as np

from minigan.backends import Array
from minigan.nn.initializers import Initializer, Normal, expect_initializer
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients, Parameter
from minigan.support.arguments import shape_of


class LearnedConstant(Layer):
    """A constant that is learned: y = c for every example, whatever x is, so that dx is 0.

    In StyleGAN the images of all styles start from one array of 4x4 pixels.

    Source: Karras et al. 2019, section 2; starts at N(0, 1) as in StyleGAN2.

    Args:
        shape: the shape of c.
        init: its initializer.
    """

    separable: ClassVar[bool] = True
    c: Parameter

    def __init__(
        self,
        shape: Shape,
        *,
        init: Initializer = Normal(1.0),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__()
        self.shape = shape_of(shape, "shape", of=self.path, example=(4, 4, 512))
        self.init = expect_initializer(init, "init", of=self.path)

    def infer(self, input_shape: Shape) -> Shape:
        self.c = self.add_parameter("c", self.shape, self.init)
        return self.shape

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, None]:
        y = self.kernels.empty((len(x), *self.shape), x.dtype)
        y[...] = self.c.value
        return y, None

    def backward(self, dy: Array, cache: None, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        if grads is not None:
            dc = grads[self.c]
            dc += dy.sum(axis=0)
        return self._zeros(len(dy), self.input_shape, dy) if need_dx else None

    def double_backward(self, v: Array, record: Array, cache: None, *, grads: Gradients | None) -> tuple[Array, None]:
        return self._zeros(len(v), self.shape, v), None

    def _zeros(self, n: int, shape: Shape, like: Array) -> Array:
        zeros = self.kernels.empty((n, *shape), like.dtype)
        zeros.fill(0)
        return zeros

    @property
    def own_flops(self) -> int:
        return 0
