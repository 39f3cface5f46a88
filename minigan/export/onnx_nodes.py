"""A graph's operations in ONNX's words: nodes and constants, made without the onnx package."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigan.export import graph as g
from minigan.nn.layers.base import Shape

__all__ = ["Node", "Nodes", "channels_first"]

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
        inputs, output: what the graph's ends are called.
        nhwc: whether the images that go in and come out are NHWC.
    Attributes:
        nodes: in order.
        constants: by name.
    """

    def __init__(self, graph: g.Graph, inputs: Sequence[str], output: str, *, nhwc: bool) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self._graph = graph
        names: dict[int, str] = {}
        for value, name in enumerate(inputs):  # INPUT, and perhaps CONDITION
            turned = nhwc and len(graph.shape(value)) == 3
            names[value] = self._node("Transpose", [name], {"perm": TO_NCHW}) if turned else name
        for op in graph.ops:
            names[op.output] = self._op(op, [names[value] for value in op.inputs])
        if nhwc and len(graph.output_shape) == 3:
            self._node("Transpose", [names[graph.output]], {"perm": TO_NHWC})
        self.nodes[-1].outputs[:] = [output]

    # ------------------------------------------------------------------------------------------ operations

    def _op(self, op: g.Op, inputs: list[str]) -> str:
        """Adds an operation; returns its output's name."""
        x = inputs[0]
        match op:
            case g.Linear():
                return self._linear(op, x)
            case g.BatchNorm():
                statistics = [self._constant(array) for array in (op.gamma, op.beta, op.mean, op.var)]
                return self._node("BatchNormalization", [x, *statistics], {"epsilon": op.eps})
            case g.GroupNorm():
                return self._group_norm(op, x)
            case g.Affine():
                return self._affine(x, self._by_channel(op.scale, op), self._by_channel(op.shift, op))
            case g.Scale():
                return self._affine(x, self._constant(_number(op.factor)), self._constant(_number(op.offset)))
            case g.ConditionalAffine():
                tables = (self._node("MatMul", [inputs[1], self._constant(t)]) for t in (op.gamma, op.beta))
                return self._affine(x, *(self._beside(table, op.shape) for table in tables))
            case g.Activation():
                attributes = {"alpha": op.slope} if op.function == "leaky_relu" else {}
                return self._node(ACTIVATIONS[op.function], [x], attributes)
            case g.Add():
                return self._node("Add", inputs)
            case g.Attend():
                return self._attend(op, inputs)
            case g.Blend():
                return self._blend(op, *inputs)
        return self._move(op, inputs)

    def _linear(self, op: g.Linear, x: str) -> str:
        if isinstance(op, g.Dense):
            return self._node("Gemm", [x, *self._weights(op.w, op.b)])
        weights = self._weights(op.w.transpose(3, 2, 0, 1), op.b)
        if isinstance(op, g.Conv):
            (top, bottom), (left, right) = op.padding
            attributes = {"strides": op.stride, "pads": (top, left, bottom, right), "kernel_shape": op.w.shape[:2]}
            return self._node("Conv", [x, *weights], attributes)
        if isinstance(op, g.ConvTranspose):
            return self._node("ConvTranspose", [x, *weights], self._cut(op))
        raise TypeError(f"no operator for {type(op).__name__}")

    def _cut(self, op: g.ConvTranspose) -> dict[str, Any]:
        """ONNX cuts off `pads`, and grows by `output_padding` where nothing is left to cut."""
        before = self._graph.shape(op.inputs[0])
        sides = zip(before, op.stride, op.w.shape, op.cut, op.shape, strict=False)  # H, then W
        rest = [(n - 1) * stride + taps - cut - kept for n, stride, taps, cut, kept in sides][:2]
        return {
            "strides": op.stride,
            "pads": (*op.cut, *(max(n, 0) for n in rest)),
            "output_padding": tuple(max(-n, 0) for n in rest),
            "kernel_shape": op.w.shape[:2],
        }

    def _group_norm(self, op: g.GroupNorm, x: str) -> str:
        """Each group as a channel of an InstanceNormalization: GroupNormalization is not the same in all opsets."""
        grouped = self._reshape(x, (op.groups, -1))
        ones, zeros = np.ones(op.groups, np.float32), np.zeros(op.groups, np.float32)
        inputs = [grouped, self._constant(ones), self._constant(zeros)]
        normal = self._node("InstanceNormalization", inputs, {"epsilon": op.eps})
        y = self._reshape(normal, channels_first(op.shape))
        return self._affine(y, self._by_channel(op.gamma, op), self._by_channel(op.beta, op))

    def _attend(self, op: g.Attend, inputs: list[str]) -> str:
        x, *projections = inputs
        channels = (self._graph.shape(value)[-1] for value in op.inputs[1:])
        f, g_, h = (self._reshape(t, (c, -1)) for t, c in zip(projections, channels, strict=True))  # (N, C, pixels)
        g_, h = (self._node("Transpose", [t], {"perm": SWAPPED}) for t in (g_, h))
        looks = self._node("Softmax", [self._node("MatMul", [g_, f])], {"axis": -1})
        gathered = self._node("Transpose", [self._node("MatMul", [looks, h])], {"perm": SWAPPED})
        image = self._reshape(gathered, channels_first(op.shape))
        return self._node("Add", [x, self._node("Mul", [image, self._constant(_number(op.gamma))])])

    def _blend(self, op: g.Blend, drawn: str, x: str) -> str:
        image, mask = self._split(x, [op.shape[-1], 1])
        change = self._node("Mul", [mask, self._node("Sub", [drawn, image])])
        return self._node("Add", [image, change])

    def _move(self, op: g.Op, inputs: list[str]) -> str:
        """Operations without weights."""
        x = inputs[0]
        match op:
            case g.Reshape():
                return self._reshape_pixels(x, self._graph.shape(op.inputs[0]), op.shape)
            case g.UpSample():
                scales = self._constant(np.array([1, 1, *op.factor], np.float32))
                nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
                return self._node("Resize", [x, "", scales], nearest)
            case g.DepthToSpace():
                return self._depth_to_space(op, x)
            case g.AveragePool():
                return self._node("AveragePool", [x], {"kernel_shape": op.factor, "strides": op.factor})
            case g.Maxout():
                return self._node("Max", self._split(x, [op.shape[-1]] * op.pieces))
            case g.Concat():
                parts = zip(inputs, op.inputs, strict=True)
                return self._node("Concat", [self._spread(p, value, op.shape) for p, value in parts], {"axis": 1})
        raise TypeError(f"no operator for {type(op).__name__}")

    def _reshape_pixels(self, x: str, before: Shape, after: Shape) -> str:
        """In the order H W C, which is that of C H W where there is one pixel or one channel."""
        if _has_two_orders(before):
            x = self._node("Transpose", [x], {"perm": TO_NHWC})
        if not _has_two_orders(after):
            return self._reshape(x, channels_first(after))
        return self._node("Transpose", [self._reshape(x, after)], {"perm": TO_NCHW})

    def _depth_to_space(self, op: g.DepthToSpace, x: str) -> str:
        (down, across), (H, W, C) = op.factor, op.shape
        if down == across:
            return self._node("DepthToSpace", [x], {"blocksize": down, "mode": "DCR"})
        blocks = self._reshape(x, (down, across, C, H // down, W // across))
        turned = self._node("Transpose", [blocks], {"perm": (0, 3, 4, 1, 5, 2)})
        return self._reshape(turned, (C, H, W))

    def _spread(self, x: str, value: int, shape: Shape) -> str:
        """What is joined to others: a vector at every pixel of an image."""
        if len(self._graph.shape(value)) == len(shape):
            return x
        return self._node("Expand", [self._beside(x, shape), self._constant(np.array([1, 1, *shape[:2]], np.int64))])

    # ------------------------------------------------------------------------------------------ nodes

    def _node(self, operator: str, inputs: Sequence[str], attributes: Mapping[str, Any] | None = None) -> str:
        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(Node(operator, list(inputs), [name], attributes or {}))
        return name

    def _split(self, x: str, sizes: list[int]) -> list[str]:
        """Along the channels."""
        first = self._node("Split", [x, self._constant(np.array(sizes, np.int64))], {"axis": 1})
        outputs = self.nodes[-1].outputs
        outputs += [f"{first}_{k}" for k in range(1, len(sizes))]
        return list(outputs)

    def _reshape(self, x: str, shape: Sequence[int]) -> str:
        """Each example in another shape; 0 keeps the batch size."""
        return self._node("Reshape", [x, self._constant(np.array([0, *shape], np.int64))])

    def _affine(self, x: str, scale: str, shift: str) -> str:
        return self._node("Add", [self._node("Mul", [x, scale]), shift])

    def _beside(self, x: str, shape: Shape) -> str:
        """(N, C) as (N, C, 1, 1), for images."""
        return self._reshape(x, (-1, 1, 1)) if len(shape) == 3 else x

    def _by_channel(self, array: np.ndarray, op: g.Op) -> str:
        """(C,) as it is beside values of the operation's shape."""
        return self._constant(array.reshape(-1, *[1] * (len(op.shape) - 1)))

    def _weights(self, w: np.ndarray, b: np.ndarray | None) -> list[str]:
        return [self._constant(array) for array in (w, b) if array is not None]

    def _constant(self, array: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(array)
        return name


def _has_two_orders(shape: Shape) -> bool:
    """Whether H W C and C H W order differ."""
    return len(shape) == 3 and shape[-1] > 1 and shape[0] * shape[1] > 1


def _number(value: float) -> np.ndarray:
    return np.array(value, np.float32)
