"""Evaluation of graphs in NumPy: images of a network whose weights were changed on the way to a file."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigan.export import graph as g
from minigan.export import numpy_functions as f
from minigan.export.base import Subject

__all__ = ["engine_images", "evaluate"]

Array = np.ndarray


def engine_images(subject: Subject, x: Array, condition: Array | None) -> Array:
    """Images in [-1, 1], or points, of the network itself, float32.

    Args:
        x: (N, *input_shape), float32.
        condition: a row for each x, or None.
    """
    y, _ = subject.network.given(condition).forward(x, train=False)
    images: Array = subject.network.kernels.to_numpy(y)
    if subject.numbers == "signed":
        return images
    return 2 * images - 1 if subject.numbers == "unit" else np.tanh(images / 2)


def evaluate(graph: g.Graph, x: Array, condition: Array | None) -> Array:
    """The graph's output (N, *output_shape) for inputs (N, *input_shape), float32.

    Args:
        condition: a row for each x, or None.
    """
    values: dict[int, Any] = {g.INPUT: x, g.CONDITION: condition}
    for op in graph.ops:
        if isinstance(op, g.Custom):
            layer = op.layer if len(op.inputs) == 1 else op.layer.given(condition)
            values[op.output] = layer.forward(x=values[op.inputs[0]], train=False)[0]
        else:
            values[op.output] = OPERATIONS[type(op)](op, *(values[value] for value in op.inputs))
    result: Array = values[graph.output]
    return result


def _linear(function: Callable[..., Array]) -> Callable[..., Array]:
    """The function, with the bias of an operation added."""
    return lambda op, x: function(op, x) + (0 if op.b is None else op.b)


def _depthwise(op: g.Depthwise, x: Array) -> Array:
    """A convolution of each channel, or its transpose."""
    y: Array
    if op.transposed:
        y = f.depthwise_transpose(x, op.w, op.stride, (op.padding[0][0], op.padding[1][0]), op.shape[:2])
    else:
        y = f.depthwise(x, op.w, op.stride, (*op.padding[0], *op.padding[1]))
    return y


def _at_every_pixel(x: Array, shape: tuple[int, ...]) -> Array:
    """Images as they are; vectors that meet images of that shape, at every pixel."""
    return x if x.ndim == len(shape) + 1 else np.broadcast_to(x[:, None, None], (len(x), *shape[:-1], x.shape[-1]))


def _conditional(op: g.ConditionalAffine, x: Array, c: Array) -> Array:
    """x scaled and shifted by what the condition says."""
    y: Array = x * _at_every_pixel(c @ op.gamma, op.shape) + _at_every_pixel(c @ op.beta, op.shape)
    return y


ACTIVATIONS: dict[str, Callable[[g.Activation, Array], Array]] = {
    "relu": lambda op, x: f.relu(x),  # noqa: ARG005
    "leaky_relu": lambda op, x: f.leaky_relu(x, op.slope),
    "tanh": lambda op, x: np.tanh(x),  # noqa: ARG005
    "sigmoid": lambda op, x: f.sigmoid(x),  # noqa: ARG005
    "rsqrt": lambda op, x: f.rsqrt(x),  # noqa: ARG005
}

OPERATIONS: dict[type, Callable[..., Array]] = {
    g.Dense: _linear(lambda op, x: x @ op.w),
    g.Conv: _linear(lambda op, x: f.conv(x, op.w, 0, op.stride, (*op.padding[0], *op.padding[1]), op.groups)),
    g.ConvTranspose: _linear(lambda op, x: f.conv_transpose(x, op.w, 0, op.stride, op.cut, op.shape[:2], op.groups)),
    g.Depthwise: _depthwise,
    g.BatchNorm: lambda op, x: op.gamma * (x - op.mean) / np.sqrt(op.var + op.eps) + op.beta,
    g.Affine: lambda op, x: x * op.scale + op.shift,
    g.Scale: lambda op, x: op.factor * x + op.offset,
    g.ConditionalAffine: _conditional,
    g.GroupNorm: lambda op, x: f.group_norm(x, op.gamma, op.beta, op.groups, op.eps),
    g.Modulate: lambda op, x, s: x * _at_every_pixel(s, op.shape),
    g.Constant: lambda op, x: np.repeat(op.value[None], len(x), axis=0),
    g.AddImage: lambda op, x: x + op.image,
    g.PixelNorm: lambda op, x: f.pixel_norm(x, op.eps),
    g.Activation: lambda op, x: ACTIVATIONS[op.function](op, x),
    g.Maxout: lambda op, x: f.maxout(x, op.pieces),
    g.Reshape: lambda op, x: x.reshape(-1, *op.shape),
    g.UpSample: lambda op, x: x.repeat(op.factor[0], axis=1).repeat(op.factor[1], axis=2),
    g.ReflectPad: lambda op, x: np.pad(x, ((0, 0), *op.padding, (0, 0)), mode="reflect"),
    g.DepthToSpace: lambda op, x: f.depth_to_space(x, *op.factor),
    g.AveragePool: lambda op, x: f.average_pool(x, *op.factor),
    g.Concat: lambda op, *parts: np.concatenate([_at_every_pixel(x, op.shape) for x in parts], axis=-1),
    g.Add: lambda op, x, other: x + other,  # noqa: ARG005
    g.Blend: lambda op, drawn, x: f.fill(drawn, x),  # noqa: ARG005
    g.Attend: lambda op, x, f_, g_, h: f.attend(x, f_, g_, h, op.gamma),
}
