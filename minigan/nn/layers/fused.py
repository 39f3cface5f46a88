"""Steps: how a network walks through its layers, neighbors together where one pass over memory serves both.

A step leaves in the tape the caches that its layers would have left. So passes through single layers (double backward,
running statistics) need not know about steps. An observer sees steps, see `minigan.nn.network.observer`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigan.backends import Array
from minigan.nn.layers.activation import ActivationCache, LeakyReLU, ReLU
from minigan.nn.layers.base import Cache, Layer
from minigan.nn.layers.bias import Bias
from minigan.nn.layers.conv import Conv2D, ConvCache
from minigan.nn.layers.dense import Dense, DenseCache
from minigan.nn.layers.equalized import EqualizedCache, EqualizedRate
from minigan.nn.layers.noise import NoiseCache, NoiseInjection
from minigan.nn.layers.norm import BatchNorm, BatchNormCache
from minigan.nn.layers.plain_filter import has_nan
from minigan.nn.parameters import Gradients


class Single(NamedTuple):
    """One layer."""

    layer: Layer

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None) -> tuple[Array, tuple[Cache, ...]]:
        y, cache = self.layer.forward(x, train=train, rng=rng)
        return y, (cache,)

    def backward(self, dy: Array, caches: Sequence[Any], *, grads: Gradients | None, need_dx: bool) -> Array | None:
        return self.layer.backward(dy, caches[0], grads=grads, need_dx=need_dx)


class NormActivation(NamedTuple):
    """BatchNorm and the (Leaky)ReLU after it: one kernel each way; backward in evaluation goes layer by layer."""

    norm: BatchNorm
    activation: LeakyReLU

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None) -> tuple[Array, tuple[Cache, ...]]:
        norm, activation = self
        gamma, beta, settings = norm.gamma.value, norm.beta.value, {"eps": norm.eps, "slope": activation.slope}
        if train:
            norm.expect_variance(x)
            y, mean, var = norm.kernels.batchnorm_leaky_relu(x, gamma, beta, **settings)
        else:
            mean, var = norm.running_statistics()
            y = norm.kernels.batchnorm_frozen_leaky_relu(x, gamma, beta, mean, var, **settings)
        return y, (BatchNormCache(x, mean, var, train), ActivationCache(y))

    def backward(self, dy: Array, caches: Sequence[Any], *, grads: Gradients | None, need_dx: bool) -> Array | None:
        norm, activation = self
        x, mean, var, train = caches[0]
        if not train:
            dy = activation.backward(dy, caches[1], grads=grads)
            return norm.backward(dy, caches[0], grads=grads, need_dx=need_dx)
        if grads is None and not need_dx:
            return None
        return norm.kernels.batchnorm_leaky_relu_grad(
            dy,
            x,
            norm.gamma.value,
            norm.beta.value,
            mean,
            var,
            eps=norm.eps,
            slope=activation.slope,
            add_to=(grads[norm.gamma], grads[norm.beta]) if grads is not None else None,
            need_dx=need_dx,
        )


class ConvActivation(NamedTuple):
    """A convolution and the (Leaky)ReLU after it: one kernel forward; backward goes layer by layer."""

    conv: Conv2D
    activation: LeakyReLU

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None) -> tuple[Array, tuple[Cache, ...]]:
        conv, activation = self
        b = conv.b.value if conv.b else None
        y = conv.kernels.conv2d_leaky_relu(x, conv.plain_filter(), b, conv.geometry, slope=activation.slope)
        if not conv.taps.plain and has_nan(y, conv.groups):
            y = activation.apply(conv.taps.conv2d_by_taps(x, conv.w.value, b, conv.geometry))
        return y, (ConvCache(x), ActivationCache(y))

    def backward(self, dy: Array, caches: Sequence[Any], *, grads: Gradients | None, need_dx: bool) -> Array | None:
        dy = self.activation.backward(dy, caches[1], grads=grads)
        return self.conv.backward(dy, caches[0], grads=grads, need_dx=need_dx)


class DenseActivation(NamedTuple):
    """A fully connected layer and the (Leaky)ReLU after it: one kernel each way."""

    dense: Dense
    activation: LeakyReLU

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None) -> tuple[Array, tuple[Cache, ...]]:
        dense, activation = self
        b = dense.b.value if dense.b else None
        y = dense.kernels.dense_leaky_relu(x, dense.w.value, b, slope=activation.slope)
        return y, (DenseCache(x), ActivationCache(y))

    def backward(self, dy: Array, caches: Sequence[Any], *, grads: Gradients | None, need_dx: bool) -> Array | None:
        dense, activation = self
        return dense.kernels.dense_leaky_relu_grad(
            dy,
            caches[0].x,
            dense.w.value,
            caches[1].y,
            slope=activation.slope,
            add_to=dense.sums(grads),
            need_dx=need_dx,
        )


class EqualizedActivation(NamedTuple):
    """A convolution with equalized rate and the LeakyReLU after it: one kernel forward, and no pass for the gain.

    As the activation is homogeneous, gain * f(c w x + b) = f(gain c w x + gain b): only the filter is scaled.
    """

    equalized: EqualizedRate
    activation: LeakyReLU

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None) -> tuple[Array, tuple[Cache, ...]]:
        layer, kernels = self._scaled(), self.equalized.kernels
        b = layer.b.value if layer.b else None
        y = kernels.conv2d_leaky_relu(x, layer.w.value, b, layer.geometry, slope=self.activation.slope)
        return y, (EqualizedCache(ConvCache(x)), ActivationCache(y))

    def backward(self, dy: Array, caches: Sequence[Any], *, grads: Gradients | None, need_dx: bool) -> Array | None:
        equalized, activation = self
        layer, inner = self._scaled(), equalized.inner
        dy = equalized.kernels.leaky_relu_grad(dy, caches[1].y, slope=activation.slope)
        if grads is None:
            return layer.backward(dy, caches[0].inner, grads=None, need_dx=need_dx)
        dw, there = equalized.zeros(inner.w.shape), grads
        there = there.with_destination(layer.w, dw)
        if layer.b and inner.b:
            db = equalized.zeros(inner.b.shape)
            there = there.with_destination(layer.b, db)
        dx = layer.backward(dy, caches[0].inner, grads=there, need_dx=need_dx)
        dw *= equalized.scale * activation.gain
        to = grads[inner.w]
        to += dw
        if layer.b and inner.b:
            db *= activation.gain
            to = grads[inner.b]
            to += db
        return dx

    def _scaled(self) -> Conv2D:
        """The convolution with the filter and the bias of both layers together."""
        equalized, gain = self.equalized, self.activation.gain
        w, b = equalized.inner.w.value, equalized.inner.b
        scaled: Any = equalized.with_weight(
            w * w.dtype.type(equalized.scale * gain), None if b is None else b.value * w.dtype.type(gain)
        )
        return scaled  # type: ignore[no-any-return]


class NoiseActivation(NamedTuple):
    """Noise, a bias and the LeakyReLU after them: one kernel each way."""

    noise: NoiseInjection
    bias: Bias
    activation: LeakyReLU

    def forward(self, x: Array, *, train: bool, rng: np.random.Generator | None) -> tuple[Array, tuple[Cache, ...]]:
        noise, bias, _ = self
        n, settings = noise.noise_of(x, train=train, rng=rng), self._settings()
        y = noise.kernels.noise_leaky_relu(x, n, noise.strength.value, bias.b.value, **settings)
        return y, (NoiseCache(n), None, ActivationCache(y))

    def backward(self, dy: Array, caches: Sequence[Any], *, grads: Gradients | None, need_dx: bool) -> Array | None:
        noise, bias, _ = self
        sums = None if grads is None else (grads[noise.strength], grads[bias.b])
        if sums is None and not need_dx:
            return None
        return noise.kernels.noise_leaky_relu_grad(dy, caches[2].y, caches[0].noise, add_to=sums, **self._settings())

    def _settings(self) -> dict[str, float]:
        return {"slope": self.activation.slope, "gain": self.activation.gain}


Step = Single | NormActivation | ConvActivation | DenseActivation | EqualizedActivation | NoiseActivation


def steps(layers: Sequence[Layer], *, fuse: bool) -> list[Step]:
    """The layers in order, one to three a step.

    A subclass may have passes of its own, so only exact types are joined.
    """
    found: list[Step] = []
    for layer in layers:
        before = found[-1][-1] if found else None  # the layer
        earlier = found[-2][-1] if len(found) > 1 else None
        if not (fuse and isinstance(layer, LeakyReLU) and type(layer) in (LeakyReLU, ReLU)):
            found.append(Single(layer))
        elif type(before) is EqualizedRate and _is_plain(before):
            found[-1] = EqualizedActivation(before, layer)
        elif type(before) is Bias and type(earlier) is NoiseInjection:
            found[-2:] = [NoiseActivation(earlier, before, layer)]
        elif layer.gain != 1:
            found.append(Single(layer))
        elif type(before) is BatchNorm:
            found[-1] = NormActivation(before, layer)
        elif type(before) is Conv2D:
            found[-1] = ConvActivation(before, layer)
        elif type(before) is Dense:
            found[-1] = DenseActivation(before, layer)
        else:
            found.append(Single(layer))
    return found


def _is_plain(layer: EqualizedRate) -> bool:
    """Whether it is a convolution without gaps, and without a multiplier for its rate."""
    return type(layer.inner) is Conv2D and layer.inner.taps.plain and layer.multiplier == 1
