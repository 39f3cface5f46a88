"""Activations. Each remembers its output: the derivative is cheapest in y."""

from abc import abstractmethod
from typing import NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.layers.base import Layer, Shape
from minigan.parameters import Gradients


class ActivationCache(NamedTuple):
    y: Array  # by reference


class Activation(Layer):
    """An elementwise map without parameters; `apply` and `gradient` say which."""

    @abstractmethod
    def apply(self, x: Array) -> Array:
        """y = f(x)."""

    @abstractmethod
    def gradient(self, dy: Array, y: Array) -> Array:
        """dy * f'(x), written with y = f(x)."""

    def infer(self, input_shape: Shape) -> Shape:
        return input_shape

    def forward(
        self, x: Array, *, train: bool, rng: np.random.Generator | None = None
    ) -> tuple[Array, ActivationCache]:
        y = self.apply(x)
        return y, ActivationCache(y)

    def backward(
        self, dy: Array, cache: ActivationCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        return self.gradient(dy, cache.y) if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: ActivationCache, *, grads: Gradients | None
    ) -> tuple[Array, Array | None]:
        return self.gradient(v, cache.y), None  # piecewise linear: f'' = 0


class LeakyReLU(Activation):
    """y = x where x > 0, slope * x elsewhere. Source: Maas et al. 2013; slope .2 in DCGAN's discriminator."""

    def __init__(self, slope: float = 0.2) -> None:
        super().__init__()
        if not 0 <= slope < 1:
            raise ConfigError(f"{self.path}: slope must be in [0, 1), got {slope}.")
        self.slope = slope

    def apply(self, x: Array) -> Array:
        return self.kernels.leaky_relu(x, slope=self.slope)

    def gradient(self, dy: Array, y: Array) -> Array:
        return self.kernels.leaky_relu_grad(dy, y, slope=self.slope)


class ReLU(LeakyReLU):
    """y = max(x, 0)."""

    def __init__(self) -> None:
        super().__init__(slope=0.0)


class Tanh(Activation):
    """y = tanh(x), the generator's last layer: images in [-1, 1]."""

    def apply(self, x: Array) -> Array:
        return self.kernels.tanh(x)

    def gradient(self, dy: Array, y: Array) -> Array:
        return self.kernels.tanh_grad(dy, y)

    def double_backward(
        self, v: Array, record: Array, cache: ActivationCache, *, grads: Gradients | None
    ) -> tuple[Array, Array]:
        ddy = self.gradient(v, cache.y)
        return ddy, -2 * cache.y * record * ddy  # f'' = -2 y f'


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x)), for images in [0, 1]. Losses take logits, so D ends without one."""

    def apply(self, x: Array) -> Array:
        return self.kernels.sigmoid(x)

    def gradient(self, dy: Array, y: Array) -> Array:
        return self.kernels.sigmoid_grad(dy, y)

    def double_backward(
        self, v: Array, record: Array, cache: ActivationCache, *, grads: Gradients | None
    ) -> tuple[Array, Array]:
        ddy = self.gradient(v, cache.y)
        return ddy, (1 - 2 * cache.y) * record * ddy  # f'' = (1 - 2y) f'
