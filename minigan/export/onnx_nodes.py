"""A graph's operations in ONNX's words: nodes and constants, made without the onnx package.

A translation to "onnx" takes the operation or layer, its inputs' names, and the `Nodes` that it adds to, and returns
its output's name. Between nodes images are (N, C, H, W).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigan.backends.geometry import IntPair
from minigan.export import graph as g
from minigan.export.translations import translates, translation
from minigan.nn.layers.base import Shape

__all__ = ["Node", "Nodes", "channels_first"]

ONNX = "onnx"
FLOAT = 1  # float32, as ONNX numbers its types
TO_NCHW, TO_NHWC, SWAPPED = (0, 3, 1, 2), (0, 2, 3, 1), (0, 2, 1)
ACTIVATIONS = {"relu": "Relu", "leaky_relu": "LeakyRelu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def channels_first(shape: Shape) -> Shape:
    """(H, W, C) as (C, H, W)."""
    return (shape[-1], *shape[:-1])


class Node(NamedTuple):
    """One of ONNX's operators with its inputs and outputs, by name."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: Mapping[str, Any]


class Nodes:
    """The nodes of a graph; between them images are NCHW.

    Args:
        inputs, output: names of the graph's ends.
        nhwc: whether the images that go in and come out are NHWC.
    Attributes:
        graph: the operations.
        nodes: in order.
        constants: by name.
    """

    def __init__(self, graph: g.Graph, inputs: Sequence[str], output: str, *, nhwc: bool) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        names: dict[int, str] = {}
        for value, name in enumerate(inputs):  # INPUT, and perhaps CONDITION
            turned = nhwc and len(graph.shape(value)) == 3
            names[value] = self.add("Transpose", [name], {"perm": TO_NCHW}) if turned else name
        for op in graph.ops:
            thing = op.layer if isinstance(op, g.Custom) else op
            translate = translation(thing, to=ONNX).function
            names[op.output] = translate(thing, [names[value] for value in op.inputs], self)
        if nhwc and len(graph.output_shape) == 3:
            self.add("Transpose", [names[graph.output]], {"perm": TO_NHWC})
        self.nodes[-1].outputs[:] = [output]

    def add(self, operator: str, inputs: Sequence[str], attributes: Mapping[str, Any] | None = None) -> str:
        """Adds a node; returns its output's name."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(Node(operator, list(inputs), [name], attributes or {}))
        return name

    def constant(self, array: np.ndarray) -> str:
        """Adds a constant; returns its name."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def number(self, value: float) -> str:
        """Adds a constant of shape (), float32."""
        return self.constant(np.array(value, np.float32))

    def by_channel(self, array: np.ndarray, shape: Shape) -> str:
        """Adds a constant (C,), such that it meets values (N, *shape) channel by channel."""
        return self.constant(array.reshape(-1, *[1] * (len(shape) - 1)))

    def weights(self, op: g.Linear, axes: Sequence[int]) -> list[str]:
        """Adds a weight, with its axes in that order, and a bias if there is one.

        Fewer bits are widened by plain nodes, which readers compute once: ONNX Runtime takes DequantizeLinear as leave
        to compute in 8 bits.
        """
        stored = op.stored
        w = self.constant(stored.values.transpose(axes))
        if op.fewer is not None:
            w = self.add("Cast", [w], {"to": FLOAT})
        if stored.scale is not None:
            shape = [-1 if axis == stored.axis % len(axes) else 1 for axis in axes]
            w = self.add("Mul", [w, self.constant(stored.scale.reshape(shape))])
        return [w] if op.b is None else [w, self.constant(op.b)]

    def affine(self, x: str, scale: str, shift: str) -> str:
        """scale * x + shift."""
        return self.add("Add", [self.add("Mul", [x, scale]), shift])

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """Each example in another shape; ONNX's 0 keeps the batch size."""
        return self.add("Reshape", [x, self.constant(np.array([0, *shape], np.int64))])

    def split(self, x: str, sizes: list[int]) -> list[str]:
        """Parts along the channels."""
        first = self.add("Split", [x, self.constant(np.array(sizes, np.int64))], {"axis": 1})
        outputs = self.nodes[-1].outputs
        outputs += [f"{first}_{k}" for k in range(1, len(sizes))]
        return list(outputs)

    def as_pixel(self, x: str, shape: Shape) -> str:
        """A vector (N, C) as (N, C, 1, 1) where it is to meet images of that shape."""
        return self.reshape(x, (-1, 1, 1)) if len(shape) == 3 else x


# ---------------------------------------------------------------------------------------------- with weights


@translates(g.Dense, to=ONNX)
def _dense(op: g.Dense, inputs: list[str], nodes: Nodes) -> str:
    return nodes.add("Gemm", [*inputs, *nodes.weights(op, (0, 1))])


@translates(g.Conv, to=ONNX)
def _conv(op: g.Conv, inputs: list[str], nodes: Nodes) -> str:
    (top, bottom), (left, right) = op.padding
    attributes: dict[str, Any] = {"strides": op.stride, "pads": (top, left, bottom, right)}
    attributes |= {"kernel_shape": op.w.shape[:2], "group": op.groups}
    return nodes.add("Conv", [*inputs, *nodes.weights(op, (3, 2, 0, 1))], attributes)


@translates(g.ConvTranspose, to=ONNX)
def _conv_transpose(op: g.ConvTranspose, inputs: list[str], nodes: Nodes) -> str:
    kept = _kept(op, op.cut, nodes.graph.shape(op.inputs[0]))
    attributes = {"strides": op.stride, **kept, "kernel_shape": op.w.shape[:2], "group": op.groups}
    w, *b = nodes.weights(op, (3, 2, 0, 1))
    if op.groups > 1:
        w = _by_input(w, op, nodes)
    return nodes.add("ConvTranspose", [*inputs, w, *b], attributes)


def _by_input(w: str, op: g.ConvTranspose, nodes: Nodes) -> str:
    """A grouped transposed convolution's weights (c / groups, K, R, S) as ONNX has them, (c, K / groups, R, S).

    By nodes, which readers compute once: a weight in fewer bits has a scale for each of all K.
    """
    R, S, K, deep = op.w.shape
    stacked = nodes.add("Reshape", [w, nodes.constant(np.array([deep, op.groups, -1, R, S], np.int64))])
    turned = nodes.add("Transpose", [stacked], {"perm": (1, 0, 2, 3, 4)})
    return nodes.add("Reshape", [turned, nodes.constant(np.array([-1, K // op.groups, R, S], np.int64))])


def _kept(op: g.ConvTranspose | g.Depthwise, cut: IntPair, before: Shape) -> dict[str, Any]:
    """ONNX cuts off `pads`, and grows by `output_padding` where nothing is left to cut."""
    sides = zip(before, op.stride, op.w.shape, cut, op.shape, strict=False)  # H, then W
    rest = [(n - 1) * stride + taps - lost - kept for n, stride, taps, lost, kept in sides][:2]
    return {"pads": (*cut, *(max(n, 0) for n in rest)), "output_padding": tuple(max(-n, 0) for n in rest)}


@translates(g.Depthwise, to=ONNX)
def _depthwise(op: g.Depthwise, inputs: list[str], nodes: Nodes) -> str:
    R, S, C = op.w.shape
    w = nodes.constant(op.w.transpose(2, 0, 1)[:, None])
    (top, bottom), (left, right) = op.padding
    shared = {"kernel_shape": (R, S), "strides": op.stride, "group": C}
    if not op.transposed:
        return nodes.add("Conv", [*inputs, w], {**shared, "pads": (top, left, bottom, right)})
    cut = (top, left)
    return nodes.add("ConvTranspose", [*inputs, w], {**shared, **_kept(op, cut, nodes.graph.shape(op.inputs[0]))})


@translates(g.BatchNorm, to=ONNX)
def _batch_norm(op: g.BatchNorm, inputs: list[str], nodes: Nodes) -> str:
    statistics = [nodes.constant(array) for array in (op.gamma, op.beta, op.mean, op.var)]
    return nodes.add("BatchNormalization", [*inputs, *statistics], {"epsilon": op.eps})


@translates(g.GroupNorm, to=ONNX)
def _group_norm(op: g.GroupNorm, inputs: list[str], nodes: Nodes) -> str:
    """Each group as a channel of an InstanceNormalization: GroupNormalization is not the same in all opsets."""
    grouped = nodes.reshape(inputs[0], (op.groups, -1))
    ones, zeros = np.ones(op.groups, np.float32), np.zeros(op.groups, np.float32)
    normal = nodes.add(
        "InstanceNormalization", [grouped, nodes.constant(ones), nodes.constant(zeros)], {"epsilon": op.eps}
    )
    y = nodes.reshape(normal, channels_first(op.shape))
    return nodes.affine(y, nodes.by_channel(op.gamma, op.shape), nodes.by_channel(op.beta, op.shape))


@translates(g.Modulate, to=ONNX)
def _modulate(op: g.Modulate, inputs: list[str], nodes: Nodes) -> str:
    return nodes.add("Mul", [inputs[0], nodes.as_pixel(inputs[1], op.shape)])


@translates(g.Constant, to=ONNX)
def _constant(op: g.Constant, inputs: list[str], nodes: Nodes) -> str:
    """Expanded by the input's number of examples."""
    first, end = (nodes.constant(np.array([k], np.int64)) for k in (0, 1))
    count = nodes.add("Slice", [nodes.add("Shape", inputs), first, end])
    sizes = nodes.add("Concat", [count, nodes.constant(np.ones(len(op.shape), np.int64))], {"axis": 0})
    value = op.value.transpose(2, 0, 1) if op.value.ndim == 3 else op.value
    return nodes.add("Expand", [nodes.constant(value[None]), sizes])


@translates(g.AddImage, to=ONNX)
def _add_image(op: g.AddImage, inputs: list[str], nodes: Nodes) -> str:
    return nodes.add("Add", [inputs[0], nodes.constant(op.image.transpose(2, 0, 1))])


@translates(g.PixelNorm, to=ONNX)
def _pixel_norm(op: g.PixelNorm, inputs: list[str], nodes: Nodes) -> str:
    channels = nodes.constant(np.array([1], np.int64))
    sums = nodes.add("ReduceSum", [nodes.add("Mul", [inputs[0], inputs[0]]), channels], {"keepdims": 1})
    squares = nodes.add("Mul", [sums, nodes.number(1 / op.shape[-1])])
    return nodes.add("Div", [inputs[0], nodes.add("Sqrt", [nodes.add("Add", [squares, nodes.number(op.eps)])])])


@translates(g.Affine, to=ONNX)
def _affine(op: g.Affine, inputs: list[str], nodes: Nodes) -> str:
    return nodes.affine(inputs[0], nodes.by_channel(op.scale, op.shape), nodes.by_channel(op.shift, op.shape))


@translates(g.ConditionalAffine, to=ONNX)
def _conditional_affine(op: g.ConditionalAffine, inputs: list[str], nodes: Nodes) -> str:
    x, c = inputs
    gamma, beta = (nodes.add("MatMul", [c, nodes.constant(table)]) for table in (op.gamma, op.beta))
    return nodes.affine(x, nodes.as_pixel(gamma, op.shape), nodes.as_pixel(beta, op.shape))


# ---------------------------------------------------------------------------------------------- number by number


@translates(g.Scale, to=ONNX)
def _scale(op: g.Scale, inputs: list[str], nodes: Nodes) -> str:
    return nodes.affine(inputs[0], nodes.number(op.factor), nodes.number(op.offset))


@translates(g.Activation, to=ONNX)
def _activation(op: g.Activation, inputs: list[str], nodes: Nodes) -> str:
    if op.function == "rsqrt":
        return nodes.add("Reciprocal", [nodes.add("Sqrt", inputs)])
    attributes = {"alpha": op.slope} if op.function == "leaky_relu" else {}
    return nodes.add(ACTIVATIONS[op.function], inputs, attributes)


@translates(g.Add, to=ONNX)
def _add(op: g.Add, inputs: list[str], nodes: Nodes) -> str:  # noqa: ARG001
    return nodes.add("Add", inputs)


@translates(g.Maxout, to=ONNX)
def _maxout(op: g.Maxout, inputs: list[str], nodes: Nodes) -> str:
    return nodes.add("Max", nodes.split(inputs[0], [op.shape[-1]] * op.pieces))


@translates(g.Blend, to=ONNX)
def _blend(op: g.Blend, inputs: list[str], nodes: Nodes) -> str:
    drawn, x = inputs
    image, mask = nodes.split(x, [op.shape[-1], 1])
    change = nodes.add("Mul", [mask, nodes.add("Sub", [drawn, image])])
    return nodes.add("Add", [image, change])


# ---------------------------------------------------------------------------------------------- pixels


@translates(g.Attend, to=ONNX)
def _attend(op: g.Attend, inputs: list[str], nodes: Nodes) -> str:
    x, *projections = inputs
    channels = (nodes.graph.shape(value)[-1] for value in op.inputs[1:])
    f, g_, h = (nodes.reshape(t, (c, -1)) for t, c in zip(projections, channels, strict=True))  # (N, C, pixels)
    g_, h = (nodes.add("Transpose", [t], {"perm": SWAPPED}) for t in (g_, h))
    looks = nodes.add("Softmax", [nodes.add("MatMul", [g_, f])], {"axis": -1})
    gathered = nodes.add("Transpose", [nodes.add("MatMul", [looks, h])], {"perm": SWAPPED})
    image = nodes.reshape(gathered, channels_first(op.shape))
    return nodes.add("Add", [x, nodes.add("Mul", [image, nodes.number(op.gamma)])])


@translates(g.Reshape, to=ONNX)
def _reshape(op: g.Reshape, inputs: list[str], nodes: Nodes) -> str:
    """In the order H W C, which is that of C H W where there is one pixel or one channel."""
    x, before, after = inputs[0], nodes.graph.shape(op.inputs[0]), op.shape
    if _has_two_orders(before):
        x = nodes.add("Transpose", [x], {"perm": TO_NHWC})
    if not _has_two_orders(after):
        return nodes.reshape(x, channels_first(after))
    return nodes.add("Transpose", [nodes.reshape(x, after)], {"perm": TO_NCHW})


def _has_two_orders(shape: Shape) -> bool:
    """Whether H W C and C H W order differ."""
    return len(shape) == 3 and shape[-1] > 1 and shape[0] * shape[1] > 1


@translates(g.UpSample, to=ONNX)
def _up_sample(op: g.UpSample, inputs: list[str], nodes: Nodes) -> str:
    scales = nodes.constant(np.array([1, 1, *op.factor], np.float32))
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return nodes.add("Resize", [inputs[0], "", scales], nearest)


@translates(g.ReflectPad, to=ONNX)
def _reflect_pad(op: g.ReflectPad, inputs: list[str], nodes: Nodes) -> str:
    (top, bottom), (left, right) = op.padding
    pads = nodes.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    return nodes.add("Pad", [inputs[0], pads], {"mode": "reflect"})


@translates(g.DepthToSpace, to=ONNX)
def _depth_to_space(op: g.DepthToSpace, inputs: list[str], nodes: Nodes) -> str:
    (down, across), (H, W, C) = op.factor, op.shape
    if down == across:
        return nodes.add("DepthToSpace", inputs, {"blocksize": down, "mode": "DCR"})
    blocks = nodes.reshape(inputs[0], (down, across, C, H // down, W // across))
    turned = nodes.add("Transpose", [blocks], {"perm": (0, 3, 4, 1, 5, 2)})
    return nodes.reshape(turned, (C, H, W))


@translates(g.AveragePool, to=ONNX)
def _average_pool(op: g.AveragePool, inputs: list[str], nodes: Nodes) -> str:
    return nodes.add("AveragePool", inputs, {"kernel_shape": op.factor, "strides": op.factor})


@translates(g.Concat, to=ONNX)
def _concat(op: g.Concat, inputs: list[str], nodes: Nodes) -> str:
    parts = [_at_every_pixel(x, value, op, nodes) for x, value in zip(inputs, op.inputs, strict=True)]
    return nodes.add("Concat", parts, {"axis": 1})


def _at_every_pixel(x: str, value: int, op: g.Concat, nodes: Nodes) -> str:
    """An image as it is; a vector that is joined to images, at every pixel."""
    if len(nodes.graph.shape(value)) == len(op.shape):
        return x
    size = nodes.constant(np.array([1, 1, *op.shape[:2]], np.int64))
    return nodes.add("Expand", [nodes.as_pixel(x, op.shape), size])
