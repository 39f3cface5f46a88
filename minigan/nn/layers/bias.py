"""Bias as a layer of its own, for networks that add it elsewhere than right behind a weight."""

from typing import ClassVar

import numpy as np

from minigan.backends import Array
from minigan.nn.initializers import Constant, Initializer, expect_initializer
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients, Parameter


class Bias(Layer):
    """Bias: y = x + b, a number for each channel of images or each feature of vectors.

    Behind a convolution or a dense layer its own bias is the same and faster. This one stands behind something else,
    such as StyleGAN2's noise.

    Args:
        init: the initializer of b, (C,).
    """

    separable: ClassVar[bool] = True
    b: Parameter

    def __init__(self, *, init: Initializer = Constant(0)) -> None:  # noqa: B008 (immutable)
        super().__init__()
        self.init = expect_initializer(init, "init", of=self.path)

    def infer(self, input_shape: Shape) -> Shape:
        self.b = self.add_parameter("b", (input_shape[-1],), self.init)
        return input_shape

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, None]:
        return self.kernels.xp.add(x, self.b.value, out=self.kernels.empty(x.shape, x.dtype)), None

    def backward(self, dy: Array, cache: None, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        if grads is not None:
            self.kernels.channel_sum(dy, add_to=grads[self.b])
        return dy if need_dx else None

    def double_backward(self, v: Array, record: Array, cache: None, *, grads: Gradients | None) -> tuple[Array, None]:
        return v, None
