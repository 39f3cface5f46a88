"""Activations. Each remembers its output: the derivative is cheapest in y."""

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ShapeError
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.parameters import Gradients
from minigan.support.arguments import number, whole


class ActivationCache(NamedTuple):
    y: Array  # by reference


class Activation(Layer):
    """Base of the elementwise maps without parameters: a subclass defines `apply` and `gradient`."""

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
    """Leaky rectifier: y = gain * x where x > 0, gain * slope * x elsewhere.

    Source: Maas et al. 2013; the gain from Karras et al. 2020 (StyleGAN2), appendix B.

    Args:
        slope: in [0, 1); .2 in DCGAN's discriminator.
        gain: sqrt(2) in StyleGAN2, which keeps the size of what passes through the layers; positive.
    """

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

    def __init__(self, slope: float = 0.2, *, gain: float = 1.0) -> None:
        super().__init__()
        self.slope = number(slope, "slope", of=self.path, least=0, below=1)
        self.gain = number(gain, "gain", of=self.path, above=0)

    def apply(self, x: Array) -> Array:
        return self._gained(self.kernels.leaky_relu(x, slope=self.slope))

    def gradient(self, dy: Array, y: Array) -> Array:
        return self._gained(self.kernels.leaky_relu_grad(dy, y, slope=self.slope))

    def _gained(self, t: Array) -> Array:
        """The kernel's result times the gain, in its place."""
        if self.gain == 1:
            return t
        if t.dtype != self.dtype:  # narrow
            return self.kernels.cast(self.kernels.cast(t, self.dtype) * self.dtype.type(self.gain), t.dtype)
        t *= self.gain
        return t

    @property
    def own_flops(self) -> int:
        return int(np.prod(self.output_shape)) * (1 if self.gain == 1 else 2)


class ReLU(LeakyReLU):
    """Rectifier: y = max(x, 0)."""

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(slope=0.0)


class Tanh(Activation):
    """Hyperbolic tangent: y = tanh(x). The generator's last layer, for images in [-1, 1]."""

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def apply(self, x: Array) -> Array:
        return self.kernels.tanh(x)

    def gradient(self, dy: Array, y: Array) -> Array:
        return self.kernels.tanh_grad(dy, y)

    def double_backward(
        self, v: Array, record: Array, cache: ActivationCache, *, grads: Gradients | None
    ) -> tuple[Array, Array]:
        ddy = self.gradient(v, cache.y)
        y, dy, slope = (self.kernels.cast(t, self.dtype) for t in (cache.y, record, ddy))
        return ddy, self.kernels.cast(-2 * y * dy * slope, v.dtype)  # f'' = -2 y f'


class Sigmoid(Activation):
    """Logistic function: y = 1 / (1 + exp(-x)), for images in [0, 1]. Losses take logits, so D ends without one."""

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def apply(self, x: Array) -> Array:
        return self.kernels.sigmoid(x)

    def gradient(self, dy: Array, y: Array) -> Array:
        return self.kernels.sigmoid_grad(dy, y)

    def double_backward(
        self, v: Array, record: Array, cache: ActivationCache, *, grads: Gradients | None
    ) -> tuple[Array, Array]:
        ddy = self.gradient(v, cache.y)
        y, dy, slope = (self.kernels.cast(t, self.dtype) for t in (cache.y, record, ddy))
        return ddy, self.kernels.cast((1 - 2 * y) * dy * slope, v.dtype)  # f'' = (1 - 2y) f'


class MaxoutCache(NamedTuple):
    x: Array  # (..., pieces * K), by reference
    y: Array  # (..., K), by reference


class Maxout(Layer):
    """Maxout: y[...,k] = max_p x[...,p*K+k], the largest of `pieces` numbers: an activation whose shape is learned.

    (F,) becomes (F / pieces,); in images each pixel's channels do. After a `Dense(pieces * K)` or a
    `Conv2D(pieces * K, ...)` it is the paper's maxout unit: the largest of several linear maps, a convex function with
    that many pieces. Where several are equal the first gets the gradient.

    Source: Goodfellow et al. 2013 ("Maxout Networks"), section 3.

    Args:
        pieces: the number of inputs that compete for each output; 5 in the discriminators of Goodfellow et al. 2014
            and of PacGAN (Lin et al. 2018).
    """

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = whole(pieces, "pieces", of=self.path)

    def infer(self, input_shape: Shape) -> Shape:
        if input_shape[-1] % self.pieces:
            raise ShapeError(
                f"{self.path}: expected a multiple of {self.pieces} channels, {self.pieces} for each output, got "
                f"{input_shape[-1]} from the layer before. Let it end with {self.pieces} times as many as you want."
            )
        return *input_shape[:-1], input_shape[-1] // self.pieces

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, MaxoutCache]:
        y = self.kernels.maxout(x, pieces=self.pieces)
        return y, MaxoutCache(x, y)

    def backward(self, dy: Array, cache: MaxoutCache, *, grads: Gradients | None, need_dx: bool = True) -> Array | None:
        return self.kernels.maxout_grad(dy, cache.x, cache.y, pieces=self.pieces) if need_dx else None

    def double_backward(
        self, v: Array, record: Array, cache: MaxoutCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        # dx = dy at the winners, so dP/d(dy) is v at the winners; piecewise linear: f'' = 0.
        chosen = self.kernels.maxout_grad(self.kernels.xp.ones_like(cache.y), cache.x, cache.y, pieces=self.pieces)
        winners = self.kernels.xp.where(chosen > 0, v, v.dtype.type(0))
        return winners.reshape(*v.shape[:-1], self.pieces, -1).sum(axis=-2), None

    @property
    def own_flops(self) -> int:
        return int(np.prod(self.input_shape))

    def describe(self) -> str:
        return f"Maxout {self.pieces}"
