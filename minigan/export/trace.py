"""From a network to the operations of its evaluation, and the translations to "graph" of minigan's own layers.

A translation to "graph" takes the layer, the number of the value that it is given, and the `Tracer`, and returns the
number of the value that it makes.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from minigan.errors import ConfigError
from minigan.export import graph as g
from minigan.export.translations import GRAPH, refusal, translates, translation
from minigan.nn.layers import (
    AveragePooling2D,
    BatchNorm,
    Bias,
    ConcatCondition,
    ConditionalAffine,
    Conv2D,
    ConvTranspose2D,
    Dense,
    DiscriminativeBasis,
    Dropout,
    EqualizedRate,
    FIRDownSampling2D,
    FIRUpSampling2D,
    GenerativeBasis,
    GlobalAveragePooling2D,
    GroupNorm,
    InstanceNorm,
    LeakyReLU,
    LearnedConstant,
    Maxout,
    MinibatchStdDev,
    Modulated,
    NoiseInjection,
    PixelNorm,
    PixelShuffle,
    ReflectionPadding2D,
    ReLU,
    Reshape,
    SelfAttention,
    Sigmoid,
    SpectralNorm,
    Tanh,
    UpSampling2D,
)
from minigan.nn.layers.augmentation import Augmentation
from minigan.nn.layers.base import Layer
from minigan.nn.layers.condition import Conditional
from minigan.nn.layers.packing import Pack
from minigan.nn.network import Parallel, Residual, Sequential, SkipConcat
from minigan.nn.network.inpainting import Inpainting
from minigan.nn.network.mapping import MappedCondition, MappingNetwork
from minigan.nn.network.styled import Styled, conditional_layers
from minigan.nn.network.synthesis import OutputSkips
from minigan.nn.parameters import Parameter

__all__ = ["Tracer", "trace"]


def trace(network: Sequential, *, to: str) -> g.Graph:
    """The network's evaluation, in float32, for a format that writes graphs.

    Raises:
        ConfigError: a layer has a translation neither to the format nor to "graph"; names it.
    """
    shapes = {layer.shape for layer in conditional_layers(network)}
    if len(shapes) > 1:
        raise ConfigError(f"{network.path}: expected one condition, found some of shapes {sorted(shapes)}.")
    tracer = Tracer(network.kernels.to_numpy, to=to)
    output = tracer.layer(network, g.INPUT)
    condition = shapes.pop() if shapes else None
    return g.Graph(tuple(tracer.ops), output, network.input_shape, condition, network.output_shape)


class Tracer:
    """Collects the operations of a graph.

    Attributes:
        ops: so far.
        to: the format that the graph is for.
        condition: the number of the value that conditional layers are given.
    """

    def __init__(self, to_numpy: Callable[[Any], np.ndarray], *, to: str) -> None:
        self.ops: list[g.Op] = []
        self.to = to
        self.condition = g.CONDITION
        self._to_numpy = to_numpy
        self._path = ""

    def layer(self, layer: Layer, x: int) -> int:
        """Adds a layer that is given the value x; returns the number of its output."""
        found = translation(layer, to=self.to, by_way_of=GRAPH)
        around, self._path = self._path, layer.path
        if found.to == GRAPH:
            y: int = found.function(layer, x, self)
        else:
            inputs = (x, self.condition) if isinstance(layer, Conditional) else (x,)
            y = self.add(g.Custom(inputs=inputs, shape=layer.output_shape, layer=layer))
        self._path = around
        return y

    def given(self, condition: int, layer: Layer, x: int) -> int:
        """Adds a layer under another condition, the value of that number; returns the number of its output."""
        around, self.condition = self.condition, condition
        y = self.layer(layer, x)
        self.condition = around
        return y

    def add(self, op: g.Op) -> int:
        """Adds an operation; returns the number of its output."""
        value = g.CONDITION + 1 + len(self.ops)
        self.ops.append(replace(op, output=value, path=self._path))
        return value

    def array(self, parameter: Parameter | Any | None) -> Any:
        """A parameter's or an array's numbers in host memory, float32; None for None."""
        if parameter is None:
            return None
        value = parameter.value if isinstance(parameter, Parameter) else parameter
        return self._to_numpy(value).astype(np.float32)


# ---------------------------------------------------------------------------------------------- networks


@translates(Sequential, to=GRAPH)
def _sequential(network: Sequential, x: int, tracer: Tracer) -> int:
    for layer in network.layers:
        x = tracer.layer(layer, x)
    return x


@translates(Residual, to=GRAPH)
def _residual(layer: Residual, x: int, tracer: Tracer) -> int:
    shortcut = tracer.layer(layer.shortcut, x) if layer.shortcut else x
    return tracer.add(g.Add(inputs=(shortcut, tracer.layer(layer.inner, x)), shape=layer.output_shape))


@translates(SkipConcat, to=GRAPH)
def _skip_concat(layer: SkipConcat, x: int, tracer: Tracer) -> int:
    return tracer.add(g.Concat(inputs=(x, tracer.layer(layer.inner, x)), shape=layer.output_shape))


@translates(Parallel, to=GRAPH)
def _parallel(layer: Parallel, x: int, tracer: Tracer) -> int:
    branches = tuple(tracer.layer(branch, x) for branch in layer.branches)
    return tracer.add(g.Concat(inputs=branches, shape=layer.output_shape))


@translates(Inpainting, to=GRAPH)
def _inpainting(layer: Inpainting, x: int, tracer: Tracer) -> int:
    return tracer.add(g.Blend(inputs=(tracer.layer(layer.inner, x), x), shape=layer.output_shape))


@translates(MappedCondition, to=GRAPH)
def _mapped_condition(layer: MappedCondition, x: int, tracer: Tracer) -> int:
    return tracer.given(tracer.layer(layer.mapping, tracer.condition), layer.inner, x)


@translates(MappingNetwork, to=GRAPH)
def _mapping_network(layer: MappingNetwork, x: int, tracer: Tracer) -> int:
    """One style, (F,): in evaluation all rows are the same, and the layers of the synthesis are given it as it is."""
    w = tracer.layer(layer.inner, x)
    if layer.truncation == 1:
        return w
    mean, share = tracer.array(layer.w_avg), np.float32(layer.truncation)
    scale = np.full_like(mean, share)
    return tracer.add(g.Affine(inputs=(w,), shape=mean.shape, scale=scale, shift=(1 - share) * mean))


@translates(Styled, to=GRAPH)
def _styled(layer: Styled, x: int, tracer: Tracer) -> int:
    return tracer.given(x, layer.inner, x)


@translates(OutputSkips, to=GRAPH)
def _output_skips(layer: OutputSkips, x: int, tracer: Tracer) -> int:
    image = -1
    for k, (block, output) in enumerate(zip(layer.blocks, layer.outputs, strict=True)):
        x = tracer.layer(block, x)
        drawn = tracer.layer(output, x)
        if k:
            enlarged = tracer.layer(layer.ups[k - 1], image)
            drawn = tracer.add(g.Add(inputs=(enlarged, drawn), shape=output.output_shape))
        image = drawn
    return image


# ---------------------------------------------------------------------------------------------- layers with weights


@translates(Dense, to=GRAPH)
def _dense(layer: Dense, x: int, tracer: Tracer) -> int:
    w, b = tracer.array(layer.w), tracer.array(layer.b)
    return tracer.add(g.Dense(inputs=(x,), shape=layer.output_shape, w=w, b=b))


@translates(Conv2D, to=GRAPH)
def _conv(layer: Conv2D, x: int, tracer: Tracer) -> int:
    """With gaps as zeros in a plain filter."""
    w, b, geometry = tracer.array(layer.plain_filter()), tracer.array(layer.b), layer.geometry
    stride, padding, groups = geometry.stride, geometry.padding, geometry.groups
    op = g.Conv(inputs=(x,), shape=layer.output_shape, w=w, b=b, stride=stride, padding=padding, groups=groups)
    return tracer.add(op)


@translates(ConvTranspose2D, to=GRAPH)
def _conv_transpose(layer: ConvTranspose2D, x: int, tracer: Tracer) -> int:
    w, b, geometry = tracer.array(layer.plain_filter()), tracer.array(layer.b), layer.geometry
    stride, cut, groups = geometry.stride, (geometry.padding[0][0], geometry.padding[1][0]), geometry.groups
    w, shape = _by_output(w, groups), layer.output_shape
    return tracer.add(g.ConvTranspose(inputs=(x,), shape=shape, w=w, b=b, stride=stride, cut=cut, groups=groups))


def _by_output(w: np.ndarray, groups: int) -> np.ndarray:
    """A transposed convolution's weights (R, S, K / groups, c) as (R, S, K, c / groups)."""
    R, S, outputs, c = w.shape
    stacked = w.reshape(R, S, outputs, groups, c // groups).transpose(0, 1, 3, 2, 4)
    return stacked.reshape(R, S, groups * outputs, c // groups)


@translates(Bias, to=GRAPH)
def _bias(layer: Bias, x: int, tracer: Tracer) -> int:
    b = tracer.array(layer.b)
    return tracer.add(g.Affine(inputs=(x,), shape=layer.output_shape, scale=np.ones_like(b), shift=b))


@translates(GenerativeBasis, to=GRAPH)
def _generative_basis(layer: GenerativeBasis, x: int, tracer: Tracer) -> int:
    w, pixel = tracer.array(layer.basis)[:, :, 0], (1, 1, *layer.input_shape)
    x = tracer.add(g.Reshape(inputs=(x,), shape=pixel))
    return tracer.add(g.Depthwise(inputs=(x,), shape=layer.output_shape, w=w, transposed=True))


@translates(DiscriminativeBasis, to=GRAPH)
def _discriminative_basis(layer: DiscriminativeBasis, x: int, tracer: Tracer) -> int:
    w, pixel = tracer.array(layer.basis)[:, :, 0], (1, 1, *layer.output_shape)
    x = tracer.add(g.Depthwise(inputs=(x,), shape=pixel, w=w))
    return tracer.add(g.Reshape(inputs=(x,), shape=layer.output_shape))


@translates(SpectralNorm, to=GRAPH)
def _spectral_norm(layer: SpectralNorm, x: int, tracer: Tracer) -> int:
    """The inner layer, by its own translation, with another weight."""
    inner = copy(layer.inner)
    inner.w = Parameter("w", layer.inner.w.shape, layer.inner.w.initializer)
    inner.w.value = layer.effective_weight()
    return tracer.layer(inner, x)


@translates(EqualizedRate, to=GRAPH)
def _equalized(layer: EqualizedRate, x: int, tracer: Tracer) -> int:
    """The inner layer, by its own translation, with the weight that it computes with."""
    return tracer.layer(layer.effective(), x)


@translates(PixelNorm, to=GRAPH)
def _pixel_norm(layer: PixelNorm, x: int, tracer: Tracer) -> int:
    return tracer.add(g.PixelNorm(inputs=(x,), shape=layer.output_shape, eps=layer.eps))


@translates(Modulated, to=GRAPH)
def _modulated(layer: Modulated, x: int, tracer: Tracer) -> int:
    """One convolution for all styles, its input scaled by the style and its output by one over the filter's norm."""
    inner, channels = layer.inner, layer.input_shape[-1]
    style = tracer.layer(layer.affine, tracer.condition)
    style = tracer.add(g.Scale(inputs=(style,), shape=(channels,), factor=layer.gain, offset=layer.gain))
    x = tracer.add(g.Modulate(inputs=(x, style), shape=layer.input_shape))
    y = tracer.layer(inner, x)
    if not layer.demodulate:
        return y
    w = tracer.array(inner.w)
    q = (w * w).sum(axis=(0, 1))
    q = q.T if isinstance(inner, ConvTranspose2D) else q
    squares = tracer.add(g.Modulate(inputs=(style, style), shape=(channels,)))
    b = np.full(q.shape[1], layer.eps, np.float32)
    norms = tracer.add(g.Dense(inputs=(squares,), shape=(q.shape[1],), w=np.ascontiguousarray(q), b=b))
    norms = tracer.add(g.Activation(inputs=(norms,), shape=(q.shape[1],), function="rsqrt"))
    return tracer.add(g.Modulate(inputs=(y, norms), shape=layer.output_shape))


@translates(LearnedConstant, to=GRAPH)
def _constant(layer: LearnedConstant, x: int, tracer: Tracer) -> int:
    return tracer.add(g.Constant(inputs=(x,), shape=layer.output_shape, value=tracer.array(layer.c)))


@translates(NoiseInjection, to=GRAPH)
def _noise(layer: NoiseInjection, x: int, tracer: Tracer) -> int:
    """The noise of evaluation, the same in each image."""
    image = tracer.array(layer.strength) * tracer.array(layer.noise)
    return tracer.add(g.AddImage(inputs=(x,), shape=layer.output_shape, image=image))


@translates(BatchNorm, to=GRAPH)
def _batch_norm(layer: BatchNorm, x: int, tracer: Tracer) -> int:
    return tracer.add(
        g.BatchNorm(
            inputs=(x,),
            shape=layer.output_shape,
            gamma=tracer.array(layer.gamma),
            beta=tracer.array(layer.beta),
            mean=tracer.array(layer.running_mean),
            var=tracer.array(layer.running_var),
            eps=layer.eps,
        )
    )


@translates(GroupNorm, InstanceNorm, to=GRAPH)
def _group_norm(layer: GroupNorm, x: int, tracer: Tracer) -> int:
    gamma, beta = tracer.array(layer.gamma), tracer.array(layer.beta)
    shape, groups = layer.output_shape, layer.groups
    return tracer.add(g.GroupNorm(inputs=(x,), shape=shape, groups=groups, gamma=gamma, beta=beta, eps=layer.eps))


@translates(SelfAttention, to=GRAPH)
def _self_attention(layer: SelfAttention, x: int, tracer: Tracer) -> int:
    projections = (tracer.layer(projection, x) for projection in layer.projections)
    gamma = float(tracer.array(layer.gamma)[0])
    return tracer.add(g.Attend(inputs=(x, *projections), shape=layer.output_shape, gamma=gamma))


@translates(ConcatCondition, to=GRAPH)
def _concat_condition(layer: ConcatCondition, x: int, tracer: Tracer) -> int:
    c = tracer.condition
    if layer.E:
        c = tracer.add(g.Dense(inputs=(c,), shape=(layer.embedding,), w=tracer.array(layer.E), b=None))
    return tracer.add(g.Concat(inputs=(x, c), shape=layer.output_shape))


@translates(ConditionalAffine, to=GRAPH)
def _conditional_affine(layer: ConditionalAffine, x: int, tracer: Tracer) -> int:
    gamma, beta = tracer.array(layer.gamma), tracer.array(layer.beta)
    return tracer.add(
        g.ConditionalAffine(inputs=(x, tracer.condition), shape=layer.output_shape, gamma=gamma, beta=beta)
    )


# ---------------------------------------------------------------------------------------------- layers without


@translates(ReLU, LeakyReLU, Tanh, Sigmoid, to=GRAPH)
def _activation(layer: ReLU | LeakyReLU | Tanh | Sigmoid, x: int, tracer: Tracer) -> int:
    slope = 0.0
    match layer:
        case ReLU() | LeakyReLU(slope=0):  # 0 times -infinity would be NaN
            function = "relu"
        case LeakyReLU():
            function, slope = "leaky_relu", layer.slope
        case _:
            function = "tanh" if isinstance(layer, Tanh) else "sigmoid"
    y = tracer.add(g.Activation(inputs=(x,), shape=layer.output_shape, function=function, slope=slope))
    if isinstance(layer, LeakyReLU) and layer.gain != 1:
        y = tracer.add(g.Scale(inputs=(y,), shape=layer.output_shape, factor=layer.gain, offset=0.0))
    return y


@translates(Dropout, to=GRAPH)
@translates(Augmentation, to=GRAPH, rests_on=("forward",))
def _identity(layer: Layer, x: int, tracer: Tracer) -> int:  # noqa: ARG001
    """Nothing in evaluation."""
    return x


@translates(Maxout, to=GRAPH)
def _maxout(layer: Maxout, x: int, tracer: Tracer) -> int:
    return tracer.add(g.Maxout(inputs=(x,), shape=layer.output_shape, pieces=layer.pieces))


@translates(Reshape, to=GRAPH)
def _reshape(layer: Reshape, x: int, tracer: Tracer) -> int:
    if layer.output_shape == layer.input_shape:
        return x
    return tracer.add(g.Reshape(inputs=(x,), shape=layer.output_shape))


@translates(UpSampling2D, to=GRAPH)
def _up_sampling(layer: UpSampling2D, x: int, tracer: Tracer) -> int:
    return tracer.add(g.UpSample(inputs=(x,), shape=layer.output_shape, factor=layer.factor))


@translates(FIRDownSampling2D, FIRUpSampling2D, to=GRAPH)
def _fir(layer: FIRDownSampling2D, x: int, tracer: Tracer) -> int:
    w, stride, padding = tracer.array(layer.filter)[:, :, 0], layer.geometry.stride, layer.geometry.padding
    transposed = isinstance(layer, FIRUpSampling2D)
    return tracer.add(
        g.Depthwise(inputs=(x,), shape=layer.output_shape, w=w, stride=stride, padding=padding, transposed=transposed)
    )


@translates(ReflectionPadding2D, to=GRAPH)
def _reflection_padding(layer: ReflectionPadding2D, x: int, tracer: Tracer) -> int:
    return tracer.add(g.ReflectPad(inputs=(x,), shape=layer.output_shape, padding=layer.sides))


@translates(PixelShuffle, to=GRAPH)
def _pixel_shuffle(layer: PixelShuffle, x: int, tracer: Tracer) -> int:
    return tracer.add(g.DepthToSpace(inputs=(x,), shape=layer.output_shape, factor=layer.factor))


@translates(AveragePooling2D, to=GRAPH)
def _pool(layer: AveragePooling2D, x: int, tracer: Tracer) -> int:
    (H, W, C), (down, across) = layer.input_shape, layer.factor
    shape = (H // down, W // across, C)
    x = tracer.add(g.AveragePool(inputs=(x,), shape=shape, factor=layer.factor))
    if layer.share * down * across != 1:  # sums
        x = tracer.add(g.Scale(inputs=(x,), shape=shape, factor=layer.share * down * across, offset=0.0))
    return tracer.add(g.Reshape(inputs=(x,), shape=(C,))) if isinstance(layer, GlobalAveragePooling2D) else x


@translates(MinibatchStdDev, Pack, to=GRAPH)
def _mixing(layer: Layer, x: int, tracer: Tracer) -> int:  # noqa: ARG001
    why = "it mixes the examples of a batch, and an exported network looks at each example alone"
    raise refusal(layer, to=tracer.to, why=why, remedy="Export a network without it.")
