"""Graphs: a network in evaluation as a list of operations, which formats write out in their own words.

Each operation makes a new value from earlier ones. Values are numbered: 0 is the network's input, 1 its condition,
where it has one. Shapes are without the batch axis, images are (H, W, C), layouts those of minigan. Everything that all
formats have in common is settled here: Dropout is gone, spectral normalization is in the weights, and
`fold_batch_norms` takes away BatchNorm.
"""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from minigan.backends.geometry import IntPair
from minigan.checkpoints.quantized import Quantized
from minigan.nn.layers.base import Layer, Shape

__all__ = [
    "CONDITION",
    "INPUT",
    "Activation",
    "Add",
    "AddImage",
    "Affine",
    "Attend",
    "AveragePool",
    "BatchNorm",
    "Blend",
    "Concat",
    "ConditionalAffine",
    "Constant",
    "Conv",
    "ConvTranspose",
    "Custom",
    "Dense",
    "DepthToSpace",
    "Depthwise",
    "Graph",
    "GroupNorm",
    "Linear",
    "Maxout",
    "Modulate",
    "Op",
    "PixelNorm",
    "ReflectPad",
    "Reshape",
    "Scale",
    "UpSample",
    "fold_batch_norms",
]

INPUT, CONDITION = 0, 1

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Op:
    """An operation.

    Attributes:
        inputs, output: values, by number; the output's is given by the graph that the operation is added to.
        shape: of the output.
        path: of the layer that it belongs to, for error messages.
    """

    inputs: tuple[int, ...]
    shape: Shape
    output: int = -1
    path: str = "an operation"


@dataclass(frozen=True, kw_only=True)
class Custom(Op):
    """A layer that has a translation of its own to the format. Inputs: x, and the condition of a `Conditional`."""

    layer: Layer


@dataclass(frozen=True, kw_only=True)
class Linear(Op):
    """A layer with a weight, and a bias or none; `fewer` is the weight in fewer bits, which w stands for then."""

    w: Array
    b: Array | None
    fewer: Quantized | None = None

    @property
    def stored(self) -> Quantized:
        """The weight as a file keeps it."""
        return self.fewer or Quantized(self.w.astype(np.float32), axis=self.output_axis)

    @property
    def output_axis(self) -> int:
        """The axis of the output channels in w."""
        return -1


@dataclass(frozen=True, kw_only=True)
class Dense(Linear):
    """w (F, K)."""


@dataclass(frozen=True, kw_only=True)
class Conv(Linear):
    """w (R, S, C / groups, K); padding ((top, bottom), (left, right))."""

    stride: IntPair
    padding: tuple[IntPair, IntPair]
    groups: int = 1


@dataclass(frozen=True, kw_only=True)
class ConvTranspose(Linear):
    """w (R, S, K, c / groups), each output with the channels of its group; else as `Conv`.

    Of the image that the filters are stamped on, `shape` is kept, below and right of `cut`.
    """

    stride: IntPair
    cut: IntPair
    groups: int = 1

    @property
    def output_axis(self) -> int:
        return -2


@dataclass(frozen=True, kw_only=True)
class Depthwise(Op):
    """Each channel convolved with a filter of its own, w (R, S, C), or the transpose of that.

    `stride` and `padding` ((top, bottom), (left, right)) are those of the convolution, whose transpose keeps `shape`,
    below and right of the padding.
    """

    w: Array
    stride: IntPair = (1, 1)
    padding: tuple[IntPair, IntPair] = ((0, 0), (0, 0))
    transposed: bool = False


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Op):
    """gamma * (x - mean) / sqrt(var + eps) + beta, by channel; the numbers are constants."""

    gamma: Array
    beta: Array
    mean: Array
    var: Array
    eps: float


@dataclass(frozen=True, kw_only=True)
class Affine(Op):
    """scale * x + shift, by channel."""

    scale: Array
    shift: Array


@dataclass(frozen=True, kw_only=True)
class Scale(Op):
    """factor * x + offset."""

    factor: float
    offset: float


@dataclass(frozen=True, kw_only=True)
class ConditionalAffine(Op):
    """x * (c gamma) + c beta of x and the condition c, with tables (F, C)."""

    gamma: Array
    beta: Array


@dataclass(frozen=True, kw_only=True)
class GroupNorm(Op):
    """Each group of neighboring channels of each example normalized, then gamma and beta by channel."""

    groups: int
    gamma: Array
    beta: Array
    eps: float


@dataclass(frozen=True, kw_only=True)
class Modulate(Op):
    """x times a vector by channel, of x and a value (C,)."""


@dataclass(frozen=True, kw_only=True)
class Constant(Op):
    """The same numbers for each example; of the input only the number of examples counts."""

    value: Array


@dataclass(frozen=True, kw_only=True)
class AddImage(Op):
    """x and a constant image (H, W, 1), added to each channel."""

    image: Array


@dataclass(frozen=True, kw_only=True)
class PixelNorm(Op):
    """x / sqrt(mean(x²) + eps), the mean over the channels of each pixel, or of a vector."""

    eps: float


@dataclass(frozen=True, kw_only=True)
class Activation(Op):
    """relu, leaky_relu (with its slope), tanh, sigmoid or rsqrt."""

    function: str
    slope: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Maxout(Op):
    """The largest of each output's pieces, which lie K channels apart."""

    pieces: int


@dataclass(frozen=True, kw_only=True)
class Reshape(Op):
    """Each example in another shape, in the order H W C."""


@dataclass(frozen=True, kw_only=True)
class UpSample(Op):
    """Each pixel repeated."""

    factor: IntPair


@dataclass(frozen=True, kw_only=True)
class ReflectPad(Op):
    """Images that go on beyond their borders as their mirror images."""

    padding: tuple[IntPair, IntPair]  # ((top, bottom), (left, right))


@dataclass(frozen=True, kw_only=True)
class DepthToSpace(Op):
    """Channels become the pixels of a block; the block is the outer part of the channels."""

    factor: IntPair


@dataclass(frozen=True, kw_only=True)
class AveragePool(Op):
    """Each block of pixels averaged, blocks that touch."""

    factor: IntPair


@dataclass(frozen=True, kw_only=True)
class Concat(Op):
    """Joined along the channels. An input with fewer axes is a vector that stands at every pixel."""


@dataclass(frozen=True, kw_only=True)
class Add(Op):
    """The sum of two values."""


@dataclass(frozen=True, kw_only=True)
class Blend(Op):
    """m * drawn + (1 - m) * image, of drawn and [image, m]."""


@dataclass(frozen=True, kw_only=True)
class Attend(Op):
    """x + gamma * softmax(g f') h over all pixels, of x, f, g and h."""

    gamma: float


@dataclass(frozen=True)
class Graph:
    """A network in evaluation.

    Attributes:
        ops: in the order of evaluation.
        output: the value that is the result.
        input_shape, condition_shape, output_shape: of one example; condition_shape is None where there is none.
    """

    ops: tuple[Op, ...]
    output: int
    input_shape: Shape
    condition_shape: Shape | None
    output_shape: Shape

    def shape(self, value: int) -> Shape:
        """Shape of any value."""
        if value == INPUT:
            return self.input_shape
        if value == CONDITION and self.condition_shape is not None:
            return self.condition_shape
        return next(op.shape for op in self.ops if op.output == value)

    def uses(self) -> Counter[int]:
        """Number of times that each value is used."""
        return Counter([*(value for op in self.ops for value in op.inputs), self.output])

    def then(self, op: Op) -> "Graph":
        """The graph with one more operation, whose output becomes the graph's."""
        value = max(CONDITION, *(earlier.output for earlier in self.ops)) + 1
        return replace(self, ops=(*self.ops, replace(op, output=value)), output=value, output_shape=op.shape)


def fold_batch_norms(graph: Graph) -> Graph:
    """The same function without BatchNorm.

    In evaluation BatchNorm is scale * x + shift with scale = gamma / sqrt(var + eps) and shift = beta - mean * scale.
    After a convolution or a dense layer whose output is used nowhere else it goes into w and b:
    scale * (w x + b) + shift = (scale w) x + (scale b + shift). Elsewhere it becomes an `Affine`.
    """
    uses = graph.uses()
    made: dict[int, Op] = {}
    replaced: dict[int, int] = {}  # values that are gone, and those in their place
    for op in graph.ops:
        op = replace(op, inputs=tuple(replaced.get(value, value) for value in op.inputs))
        if not isinstance(op, BatchNorm):
            made[op.output] = op
            continue
        affine = _affine(op)
        before = made.get(op.inputs[0])
        if isinstance(before, Linear) and uses[before.output] == 1:
            made[before.output] = _folded(before, affine)
            replaced[op.output] = before.output
        else:
            made[op.output] = affine
    return replace(graph, ops=tuple(made.values()), output=replaced.get(graph.output, graph.output))


def _affine(op: BatchNorm) -> Affine:
    scale = op.gamma / np.sqrt(op.var.astype(np.float64) + op.eps)
    return Affine(
        inputs=op.inputs,
        output=op.output,
        shape=op.shape,
        path=op.path,
        scale=scale.astype(op.gamma.dtype),
        shift=(op.beta - op.mean * scale).astype(op.gamma.dtype),
    )


def _folded(layer: Linear, affine: Affine) -> Linear:
    per_output = [1] * layer.w.ndim
    per_output[layer.output_axis] = -1
    w = layer.w * affine.scale.reshape(per_output)
    return replace(layer, w=w, b=affine.shift if layer.b is None else layer.b * affine.scale + affine.shift)
