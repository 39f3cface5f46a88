"""From a network to the operations of its evaluation."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.errors import ConfigError
from minigan.export import graph as g
from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    ConcatCondition,
    ConditionalAffine,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    GroupNorm,
    LeakyReLU,
    Maxout,
    PixelShuffle,
    ReLU,
    Reshape,
    SelfAttention,
    Sigmoid,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.nn.layers.augmentation import Augmentation
from minigan.nn.layers.base import Layer, Shape
from minigan.nn.layers.condition import Conditional
from minigan.nn.network import Parallel, Residual, Sequential, SkipConcat
from minigan.nn.network.inpainting import Inpainting
from minigan.nn.parameters import Parameter

__all__ = ["trace"]


def trace(network: Sequential) -> g.Graph:
    """What the network computes in evaluation, in float32.

    Raises:
        ConfigError: a layer is not of those that look at each example alone; names it.
    """
    shapes = {layer.shape for _, layer in network.walk() if isinstance(layer, Conditional)}
    if len(shapes) > 1:
        raise ConfigError(f"{network.path}: expected one condition, found some of shapes {sorted(shapes)}.")
    tracer = _Tracer(network.kernels.to_numpy)
    output = tracer.network(network, g.INPUT)
    condition = shapes.pop() if shapes else None
    return g.Graph(tuple(tracer.ops), output, network.input_shape, condition, network.output_shape)


class _Tracer:
    """Collects operations. Each method takes a layer and the value that it is given, and returns the one it makes."""

    def __init__(self, to_numpy: Callable[[Any], np.ndarray]) -> None:
        self.ops: list[g.Op] = []
        self._to_numpy = to_numpy

    def network(self, network: Sequential, x: int) -> int:
        for layer in network.layers:
            x = self.layer(layer, x)
        return x

    def layer(self, layer: Layer, x: int) -> int:
        shape = layer.output_shape
        match layer:
            case Sequential():
                return self.network(layer, x)
            case Residual():
                beside = self.network(layer.shortcut, x) if layer.shortcut else x
                return self._made(g.Add, (beside, self.network(layer.inner, x)), shape)
            case SkipConcat():
                return self._made(g.Concat, (x, self.network(layer.inner, x)), shape)
            case Parallel():
                return self._made(g.Concat, [self.network(branch, x) for branch in layer.branches], shape)
            case Inpainting():
                return self._made(g.Blend, (self.network(layer.inner, x), x), shape)
            case SelfAttention():
                projections = [self.layer(projection, x) for projection in layer.projections]
                gamma = float(self._array(layer.gamma)[0])
                return self._made(partial(g.Attend, gamma=gamma), (x, *projections), shape)
            case SpectralNorm():
                return self._weighted(layer.inner, x, layer.effective_weight())
            case Conv2D() | Dense():
                return self._weighted(layer, x, layer.w.value)
            case BatchNorm() | GroupNorm():
                return self._norm(layer, x)
            case ConcatCondition() | ConditionalAffine():
                return self._conditional(layer, x)
            case Dropout() | Augmentation():
                return x
        return self._plain(layer, x)

    def _weighted(self, layer: Conv2D | Dense, x: int, w: Array) -> int:
        """Filters with gaps or groups are plain ones with zeros here."""
        if isinstance(layer, Conv2D) and not layer.taps.plain:
            w = layer.taps.spread(w, layer.geometry.weight_shape, layer.kernels)
        weights = {"w": self._to_numpy(w).astype(np.float32), "b": self._array(layer.b)}
        if isinstance(layer, Dense):
            return self._made(partial(g.Dense, **weights), (x,), layer.output_shape)
        stride, padding = layer.geometry.stride, layer.geometry.padding
        if isinstance(layer, ConvTranspose2D):
            cut = (padding[0][0], padding[1][0])
            return self._made(partial(g.ConvTranspose, stride=stride, cut=cut, **weights), (x,), layer.output_shape)
        return self._made(partial(g.Conv, stride=stride, padding=padding, **weights), (x,), layer.output_shape)

    def _norm(self, layer: BatchNorm | GroupNorm, x: int) -> int:
        scale = {"gamma": self._array(layer.gamma), "beta": self._array(layer.beta), "eps": layer.eps}
        if isinstance(layer, GroupNorm):
            return self._made(partial(g.GroupNorm, groups=layer.groups, **scale), (x,), layer.output_shape)
        statistics = {"mean": self._array(layer.running_mean), "var": self._array(layer.running_var)}
        return self._made(partial(g.BatchNorm, **scale, **statistics), (x,), layer.output_shape)

    def _conditional(self, layer: ConcatCondition | ConditionalAffine, x: int) -> int:
        if isinstance(layer, ConditionalAffine):
            tables = {"gamma": self._array(layer.gamma), "beta": self._array(layer.beta)}
            return self._made(partial(g.ConditionalAffine, **tables), (x, g.CONDITION), layer.output_shape)
        c = g.CONDITION
        if layer.E:
            c = self._made(partial(g.Dense, w=self._array(layer.E), b=None), (c,), (layer.embedding,))
        return self._made(g.Concat, (x, c), layer.output_shape)

    def _plain(self, layer: Layer, x: int) -> int:
        """A layer without parameters."""
        shape = layer.output_shape
        match layer:
            case ReLU():
                return self._made(partial(g.Activation, function="relu"), (x,), shape)
            case LeakyReLU():
                return self._made(partial(g.Activation, function="leaky_relu", slope=layer.slope), (x,), shape)
            case Tanh() | Sigmoid():
                return self._made(partial(g.Activation, function=type(layer).__name__.lower()), (x,), shape)
            case Maxout():
                return self._made(partial(g.Maxout, pieces=layer.pieces), (x,), shape)
            case Reshape():
                return self._made(g.Reshape, (x,), shape) if shape != layer.input_shape else x
            case UpSampling2D():
                return self._made(partial(g.UpSample, factor=layer.factor), (x,), shape)
            case PixelShuffle():
                return self._made(partial(g.DepthToSpace, factor=layer.factor), (x,), shape)
            case AveragePooling2D():
                return self._pool(layer, x)
        raise ConfigError(
            f"{layer.path} cannot be exported: it is none of the layers that look at each example alone. "
            "Export a network without it."
        )

    def _pool(self, layer: AveragePooling2D, x: int) -> int:
        (H, W, C), (down, across) = layer.input_shape, layer.factor
        x = self._made(partial(g.AveragePool, factor=layer.factor), (x,), (H // down, W // across, C))
        if layer.share * down * across != 1:  # of sums
            x = self._made(
                partial(g.Scale, factor=layer.share * down * across, offset=0.0), (x,), (H // down, W // across, C)
            )
        return self._made(g.Reshape, (x,), (C,)) if isinstance(layer, GlobalAveragePooling2D) else x

    def _made(self, make: Callable[..., g.Op], inputs: Iterable[int], shape: Shape) -> int:
        value = g.CONDITION + 1 + len(self.ops)
        self.ops.append(make(inputs=tuple(inputs), output=value, shape=shape))
        return value

    def _array(self, parameter: Parameter | None) -> Any:
        return None if parameter is None else self._to_numpy(parameter.value).astype(np.float32)
