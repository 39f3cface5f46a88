"""A graph's operations as data for JavaScript: what html_engine.js evaluates, and the translations to "html".

A translation to "html" takes the operation or layer, and the `Program` that keeps weights and functions, and returns a
`Call`: the name of a function of html_engine.js, or of your own, and what it is told.
"""

import json
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from minigan.errors import ConfigError
from minigan.export import graph as g
from minigan.export.translations import translates, translation
from minigan.nn.layers.base import Shape
from minigan.support.package_files import packaged

__all__ = ["Call", "Program"]

HTML = "html"
TYPES = {np.dtype(np.float32): "fp32", np.dtype(np.float16): "fp16", np.dtype(np.int8): "int8"}


@dataclass(frozen=True)
class Call:
    """A function in JavaScript that computes a value.

    Attributes:
        function: its name among the operations.
        told: its further arguments, which JSON can say.
        arrays: those that are arrays, by name; None for none.
    """

    function: str
    told: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, int | None] = field(default_factory=dict)


class Program:
    """A graph as data for JavaScript.

    Args:
        graph: without BatchNorm.
    Attributes:
        ops: what html_engine.js reads.
        tensors: descriptions of the arrays.
        functions: sources of further functions, by name.
        flops: operations of all filters.
    """

    def __init__(self, graph: g.Graph) -> None:
        self.ops: list[dict[str, Any]] = []
        self.tensors: list[dict[str, Any]] = []
        self.functions: dict[str, str] = {}
        self.flops = 0
        self._parts: list[bytes] = []
        self.graph = graph
        for op in graph.ops:
            self._add(op)

    @property
    def content(self) -> bytes:
        """All arrays, in order, with the lowest byte of each number first."""
        return b"".join(self._parts)

    @property
    def script(self) -> str:
        """The engine in JavaScript, with the functions of one's own layers."""
        engine = packaged(__package__, "html_engine.js")
        own = (f"operations[{json.dumps(name)}] = {source};\n" for name, source in self.functions.items())
        return "\n".join([engine, *own])

    @property
    def data(self) -> dict[str, Any]:
        """Data that the engine's `Generator` reads, besides the content."""
        return {"ops": self.ops, "tensors": self.tensors, "output": self.graph.output}

    # ------------------------------------------------------------------------------------------ for translations

    def keep(self, array: np.ndarray | None, *, scale: int | None = None) -> int | None:
        """The number of an array that the page holds; None for None. float16 and int8 stay as they are."""
        if array is None:
            return None
        kept = array if array.dtype in TYPES else array.astype(np.float32)
        at = sum(map(len, self._parts))
        self.tensors.append({"at": at, "size": kept.size, "type": TYPES[kept.dtype], "scale": scale})
        self._parts.append(np.ascontiguousarray(kept, kept.dtype.newbyteorder("<")).tobytes())
        return len(self.tensors) - 1

    def weight(self, op: g.Linear) -> int | None:
        """The number of an operation's weight, with the output channels last."""
        stored = op.stored
        return self.keep(np.moveaxis(stored.values, stored.axis, -1), scale=self.keep(stored.scale))

    def function(self, name: str, source: str) -> str:
        """The name of a function of your own, whose source, an expression in JavaScript, goes into the page.

        It takes the operation's description, a list of the inputs and the array to fill, all Float32Array.

        Raises:
            ConfigError: the name is none in JavaScript, or the page has a different function of that name.
        """
        if not (name.isascii() and name.isidentifier()) or self.functions.get(name, source) != source:
            raise ConfigError(f"expected a new name for a function in JavaScript, got {name!r}. Rename it.")
        self.functions[name] = source
        return name

    def shape(self, value: int) -> Shape:
        """The shape of a value."""
        return self.graph.shape(value)

    # ------------------------------------------------------------------------------------------ operations

    def _add(self, op: g.Op) -> None:
        thing = op.layer if isinstance(op, g.Custom) else op
        call: Call = translation(thing, to=HTML).function(thing, self)
        arrays = {name: number for name, number in call.arrays.items() if number is not None}
        self.ops.append(
            {
                "op": call.function,
                "inputs": list(op.inputs),
                "out": op.output,
                "shape": list(op.shape),
                "name": op.path.partition(".")[2] or "to [-1, 1]",
                "arrays": list(arrays),
                **call.told,
                **arrays,
            }
        )


# ---------------------------------------------------------------------------------------------- filters


def _filter(op: g.Linear, program: Program, places: dict[str, Any]) -> Call:
    """A filter: each number that goes out gathers some places of what comes in."""
    groups = getattr(op, "groups", 1)
    name, told = ("filter", places) if groups == 1 else ("filter_in_groups", {**places, "groups": groups})
    return Call(name, told, {"w": program.weight(op), "b": program.keep(op.b)})


@translates(g.Dense, to=HTML)
def _dense(op: g.Dense, program: Program) -> Call:
    """A filter on an image of one pixel."""
    program.flops += 2 * op.w.size
    shapes = {"before": [1, 1, op.w.shape[0]], "after": [1, 1, op.w.shape[1]]}
    return _filter(op, program, {**shapes, "size": [1, 1], "stride": [1, 1], "cut": [0, 0]})


@translates(g.Conv, to=HTML)
def _conv(op: g.Conv, program: Program) -> Call:
    program.flops += 2 * op.w.size * op.shape[0] * op.shape[1]
    (top, _), (left, _) = op.padding
    return _filter(op, program, {**_sizes(op, program), "stride": list(op.stride), "cut": [top, left]})


@translates(g.ConvTranspose, to=HTML)
def _conv_transpose(op: g.ConvTranspose, program: Program) -> Call:
    H, W, _ = program.shape(op.inputs[0])
    program.flops += 2 * op.w.size * H * W
    places = {"stride": list(op.stride), "cut": list(op.cut), "transposed": True}
    return _filter(op, program, {**_sizes(op, program), **places})


def _sizes(op: g.Conv | g.ConvTranspose, program: Program) -> dict[str, Any]:
    """Shapes of the image that comes in, of the one that goes out, and of the filter."""
    return {"before": list(program.shape(op.inputs[0])), "after": list(op.shape), "size": list(op.w.shape[:2])}


@translates(g.Depthwise, to=HTML)
def _depthwise(op: g.Depthwise, program: Program) -> Call:
    before, ((top, _), (left, _)) = program.shape(op.inputs[0]), op.padding
    program.flops += 2 * op.w.size * prod((before if op.transposed else op.shape)[:2])
    told = {"before": list(before), "size": list(op.w.shape[:2]), "stride": list(op.stride), "cut": [top, left]}
    return Call("depthwise", {**told, "transposed": op.transposed}, {"w": program.keep(op.w)})


# ---------------------------------------------------------------------------------------------- by channel


@translates(g.Affine, to=HTML)
def _affine(op: g.Affine, program: Program) -> Call:
    return Call("affine", arrays={"scale": program.keep(op.scale), "shift": program.keep(op.shift)})


@translates(g.ConditionalAffine, to=HTML)
def _conditional_affine(op: g.ConditionalAffine, program: Program) -> Call:
    return Call("conditional_affine", arrays={"gamma": program.keep(op.gamma), "beta": program.keep(op.beta)})


@translates(g.GroupNorm, to=HTML)
def _group_norm(op: g.GroupNorm, program: Program) -> Call:
    told = {"groups": op.groups, "eps": float(op.eps)}
    return Call("group_norm", told, {"gamma": program.keep(op.gamma), "beta": program.keep(op.beta)})


@translates(g.Modulate, to=HTML)
def _modulate(op: g.Modulate, program: Program) -> Call:  # noqa: ARG001
    return Call("modulate")


@translates(g.Constant, to=HTML)
def _constant(op: g.Constant, program: Program) -> Call:
    return Call("constant", arrays={"value": program.keep(op.value)})


@translates(g.AddImage, to=HTML)
def _add_image(op: g.AddImage, program: Program) -> Call:
    return Call("add_image", arrays={"image": program.keep(op.image)})


@translates(g.PixelNorm, to=HTML)
def _pixel_norm(op: g.PixelNorm, program: Program) -> Call:  # noqa: ARG001
    return Call("pixel_norm", {"eps": float(op.eps)})


# ---------------------------------------------------------------------------------------------- number by number


@translates(g.Scale, to=HTML)
def _scale(op: g.Scale, program: Program) -> Call:  # noqa: ARG001
    return Call("scale", {"factor": float(op.factor), "offset": float(op.offset)})


@translates(g.Activation, to=HTML)
def _activation(op: g.Activation, program: Program) -> Call:  # noqa: ARG001
    return Call(op.function, {"slope": float(op.slope)})


@translates(g.Add, to=HTML)
def _add(op: g.Add, program: Program) -> Call:  # noqa: ARG001
    return Call("add")


@translates(g.Maxout, to=HTML)
def _maxout(op: g.Maxout, program: Program) -> Call:  # noqa: ARG001
    return Call("maxout", {"pieces": op.pieces})


@translates(g.Blend, to=HTML)
def _blend(op: g.Blend, program: Program) -> Call:  # noqa: ARG001
    return Call("fill")


# ---------------------------------------------------------------------------------------------- pixels


@translates(g.Reshape, to=HTML)
def _reshape(op: g.Reshape, program: Program) -> Call:  # noqa: ARG001
    return Call("reshape")


@translates(g.UpSample, to=HTML)
def _up_sample(op: g.UpSample, program: Program) -> Call:
    return Call("move", {"how": "repeat", "factor": list(op.factor), "before": list(program.shape(op.inputs[0]))})


@translates(g.DepthToSpace, to=HTML)
def _depth_to_space(op: g.DepthToSpace, program: Program) -> Call:
    return Call("move", {"how": "shuffle", "factor": list(op.factor), "before": list(program.shape(op.inputs[0]))})


@translates(g.ReflectPad, to=HTML)
def _reflect_pad(op: g.ReflectPad, program: Program) -> Call:
    (top, _), (left, _) = op.padding
    return Call("move", {"how": "reflect", "cut": [top, left], "before": list(program.shape(op.inputs[0]))})


@translates(g.AveragePool, to=HTML)
def _average_pool(op: g.AveragePool, program: Program) -> Call:  # noqa: ARG001
    return Call("average_pool", {"factor": list(op.factor)})


@translates(g.Concat, to=HTML)
def _concat(op: g.Concat, program: Program) -> Call:
    """A vector stands at every pixel of an image."""
    shapes = [program.shape(value) for value in op.inputs]
    return Call(
        "concat",
        {"widths": [shape[-1] for shape in shapes], "spread": [len(shape) < len(op.shape) for shape in shapes]},
    )


@translates(g.Attend, to=HTML)
def _attend(op: g.Attend, program: Program) -> Call:  # noqa: ARG001
    return Call("attend", {"gamma": float(op.gamma)})
