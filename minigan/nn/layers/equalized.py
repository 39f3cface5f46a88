"""Equalized learning rate: a layer around another one, whose weights are scaled where they are used."""

from collections.abc import Iterator
from copy import copy
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.nn.initializers import Constant, Normal
from minigan.nn.layers.base import Cache, Layer, Shape
from minigan.nn.layers.conv import Conv2D, ConvTranspose2D
from minigan.nn.layers.dense import Dense
from minigan.nn.parameters import Gradients, Parameter
from minigan.support.arguments import kind_of, number

WeightLayer = Conv2D | Dense  # and ConvTranspose2D, which is a Conv2D


class EqualizedCache(NamedTuple):
    inner: Cache  # of the layer inside


class EqualizedRate(Layer):
    """Equalized learning rate: a layer with m c w in place of its weight w, and m b in place of its bias.

    c = gain / sqrt(fan in), and w is drawn from N(0, 1 / m²), whatever the initializer of the layer inside. So all
    weights are of one size, and Adam, whose steps do not depend on the gradients' size, moves each at the same relative
    speed. A multiplier m of .01 makes that a hundredth.

        y = m f(c x; w, b) = m f(x; c w, b),    dw = c dw_bar,    with dw_bar the gradient of w_bar = c w

    A dense layer is given c x, which is smaller than its weights; no copy of w is made. A convolution, whose filter is
    smaller than an image and used at each pixel, is given c w, which each pass makes anew. Being linear, both have the
    second order of the layer inside.

    The fan in counts the inputs of one output: R S C / groups for a convolution. A transposed one counts each tap,
    too, also those that its stride lets fall between inputs, as StyleGAN2 does.

    Source: Karras et al. 2018, section 4.1; m from Karras et al. 2019 ("A Style-Based Generator Architecture"),
    appendix C.

    Args:
        inner: the layer: Conv2D, ConvTranspose2D or Dense.
        multiplier: m, of the learning rate; .01 in StyleGAN2's mapping network.
        gain: multiplies the weight, but not the bias.
    """

    narrow: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def __init__(self, inner: WeightLayer, *, multiplier: float = 1.0, gain: float = 1.0) -> None:
        super().__init__()
        if not isinstance(inner, WeightLayer):
            raise ConfigError(
                f"{self.path}: expected a layer with a weight (Conv2D, ConvTranspose2D, Dense), got {kind_of(inner)}. "
                "Wrap only such a layer: EqualizedRate(Dense(1))."
            )
        self.inner = inner
        self.multiplier = number(multiplier, "multiplier", of=self.path, above=0)
        self.gain = number(gain, "gain", of=self.path, above=0)

    def infer(self, input_shape: Shape) -> Shape:
        output_shape = self.inner.setup(input_shape, f"{self.path}.{type(self.inner).__name__}")
        self.inner.w.initializer = Normal(1 / self.multiplier)
        return output_shape

    @property
    def scale(self) -> float:
        """c, by which the weight is multiplied besides m."""
        shape, inner = self.inner.w.shape, self.inner
        if isinstance(inner, ConvTranspose2D):
            inputs = shape[0] * shape[1] * shape[3] // inner.groups
        else:
            inputs = int(np.prod(shape[:-1]))
        return float(self.gain * inputs**-0.5)

    def children(self) -> Iterator[tuple[str, Layer]]:
        yield "inner", self.inner

    def takes_narrow(self) -> bool:
        return super().takes_narrow() and self.inner.takes_narrow() and self.multiplier == 1

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None = None) -> tuple[Array, EqualizedCache]:
        inside = self._times(x, self.scale) if isinstance(self.inner, Dense) else x
        inner: Cache
        y, inner = self._scaled().forward(inside, train=train, rng=rng)
        if self.multiplier != 1:
            y *= self.multiplier
        return y, EqualizedCache(inner)

    def backward(
        self, dy: Array, cache: EqualizedCache, *, grads: Gradients | None, need_dx: bool = True
    ) -> Array | None:
        dy, layer = self._through(dy), self._scaled()
        if layer is self.inner or grads is None:
            dx = layer.backward(dy, cache.inner, grads=grads, need_dx=need_dx)
        else:
            dw_bar = self.zeros(self.inner.w.shape)
            dx = layer.backward(dy, cache.inner, grads=grads.with_destination(layer.w, dw_bar), need_dx=need_dx)
            self._add_weight_gradient(dw_bar, add_to=grads[self.inner.w])
        return self._outside(dx) if dx is not None else None

    def backward_recorded(self, dy: Array, cache: EqualizedCache) -> tuple[Array, Any]:
        dx, record = self._scaled().backward_recorded(self._through(dy), cache.inner)
        return self._outside(dx), record

    def double_backward(
        self, v: Array, record: Any, cache: EqualizedCache, *, grads: Gradients | None
    ) -> tuple[Array, None]:
        layer = self._scaled()
        if layer is self.inner:
            ddy, _ = layer.double_backward(self._times(v, self.scale), record, cache.inner, grads=grads)
        elif grads is None:
            ddy, _ = layer.double_backward(v, record, cache.inner, grads=None)
        else:
            dw_bar = self.zeros(self.inner.w.shape)
            ddy, _ = layer.double_backward(v, record, cache.inner, grads=grads.with_destination(layer.w, dw_bar))
            self._add_weight_gradient(dw_bar, add_to=grads[self.inner.w])
        if self.multiplier != 1:
            ddy *= self.multiplier
        return ddy, None

    def effective(self) -> WeightLayer:
        """The layer inside with the weight and the bias that it computes with: m c w and m b."""
        return self.with_weight(
            self._times(self.inner.w.value, self.multiplier * self.scale),
            None if self.inner.b is None else self.inner.b.value * self.multiplier,
        )

    @property
    def own_flops(self) -> int:
        """Operations of the scalings; that of a filter takes place once for a batch, and does not count."""
        inputs = int(np.prod(self.input_shape)) if isinstance(self.inner, Dense) else 0
        return inputs + (int(np.prod(self.output_shape)) if self.multiplier != 1 else 0)

    def describe(self) -> str:
        return f"EqualizedRate {self.inner.describe()}"

    def with_weight(self, w: Array, b: Array | None = None) -> WeightLayer:
        """A copy of the layer inside with another weight: several tapes and threads may each have theirs.

        Args:
            b: another bias; None leaves it.
        """
        layer = copy(self.inner)
        layer.w = Parameter("w", self.inner.w.shape, self.inner.w.initializer)
        layer.w.value = w
        if b is not None:
            layer.b = Parameter("b", b.shape, Constant(0))
            layer.b.value = b
        return layer

    def _scaled(self) -> WeightLayer:
        """The layer that computes: a dense one itself, whose x is scaled; a convolution with c w."""
        dense = isinstance(self.inner, Dense)
        return self.inner if dense else self.with_weight(self._times(self.inner.w.value, self.scale))

    def _through(self, dy: Array) -> Array:
        """The gradient of the layer inside's output."""
        return dy if self.multiplier == 1 else self._times(dy, self.multiplier)

    def _outside(self, dx: Array) -> Array:
        """The gradient of x from that of the layer inside's input, in place."""
        if isinstance(self.inner, Dense):
            dx *= self.scale
        return dx

    def _times(self, t: Array, factor: float) -> Array:
        return self.kernels.xp.multiply(t, t.dtype.type(factor), out=self.kernels.empty(t.shape, t.dtype))

    def _add_weight_gradient(self, dw_bar: Array, *, add_to: Array) -> None:
        """add_to += c dw_bar, which is overwritten."""
        dw_bar *= self.scale
        add_to += dw_bar

    def zeros(self, shape: Shape) -> Array:
        """An array of zeros, for a gradient of the layer inside; a replayed step fills it anew."""
        zeros = self.kernels.empty(shape, self.dtype)
        zeros.fill(0)
        return zeros
