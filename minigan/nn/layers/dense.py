"""Fully connected layer."""

from typing import ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.nn.initializers import Constant, GlorotUniform, Initializer, expect_initializer
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients, Parameter
from minigan.support.arguments import flag, whole


class DenseCache(NamedTuple):
    x: Array  # (N, F), by reference


class Dense(Layer):
    """Fully connected layer: y = x w + b, with x (N, F) and w (F, K).

    Args:
        features: K, the number of outputs.
        bias: add b; it starts at 0.
        init: the initializer of w.
    """

    narrow: ClassVar[bool] = True

    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True
    w: Parameter
    b: Parameter | None

    def __init__(
        self,
        features: int,
        *,
        bias: bool = True,
        init: Initializer = GlorotUniform(),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__()
        self.features = whole(features, "features", of=self.path)
        self.bias = flag(bias, "bias", of=self.path)
        self.init = expect_initializer(init, "init", of=self.path)

    def infer(self, input_shape: Shape) -> Shape:
        self.w = self.add_parameter("w", (self.expect_vector(input_shape), self.features), self.init)
        self.b = self.add_parameter("b", (self.features,), Constant(0)) if self.bias else None
        return (self.features,)

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, DenseCache]:
        b = self.b.value if self.b else None
        return self.kernels.matmul(x, self.w.value, bias=b), DenseCache(x)

    def backward(self, dy: Array, cache: DenseCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        return self.kernels.dense_grad(dy, cache.x, self.w.value, add_to=self.sums(grads), need_dx=need_dx)

    def sums(self, grads: Gradients | None) -> tuple[Array, Array | None] | None:
        """The arrays that the gradients of w and b are added to."""
        if grads is None:
            return None
        return grads[self.w], grads[self.b] if self.b else None

    def double_backward(
        self, v: Array, record: Array, cache: DenseCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        if grads is not None:
            self.kernels.matmul(v, record, transpose_a=True, add_to=grads[self.w])
        return self.kernels.matmul(v, self.w.value), None

    def extend(self, u: Array, record: Array, cache: DenseCache, *, grads: Gradients | None) -> Array:
        self.backward(record, DenseCache(u), grads=grads, need_dx=False)
        return self.forward(u, train=True)[0]

    @property
    def own_flops(self) -> int:
        return 2 * self.w.size
