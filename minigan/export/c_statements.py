"""A graph's operations as C: the statements of a function, and the translations to "c".

A translation to "c" takes the operation or layer, its inputs and its output as C (pointers to float), and the `Program`
that keeps weights and functions, and returns a statement. Operations that work in place find their first input in the
output's place already.
"""

import re
from math import prod

import numpy as np

from minigan.errors import ConfigError
from minigan.export import graph as g
from minigan.export.c_memory import Plan, plan
from minigan.export.translations import translates, translation
from minigan.nn.layers.base import Shape
from minigan.support.package_files import packaged

__all__ = ["Program", "library"]

C = "c"
NARROW = 8  # filters with fewer output channels have another order of weights; as in c_functions.c


class Program:
    """The statements that evaluate a graph from `z`, or an image, and perhaps `condition`, in the memory `scratch`.

    Args:
        graph: without BatchNorm.
        weights: fp32, fp16 or int8, as its filters are stored.
        held: which of the network's input and condition lie in the scratch memory.
        source: the network's input in C.
    Attributes:
        statements: of C, each with a comment on its shapes or "".
        filters: initializers of the table of filters.
        weights: arrays of the weights that are quantized, in order.
        numbers: float32 arrays of all other numbers, in order.
        functions: sources of further functions, by name.
        flops: operations of all filters.
    """

    def __init__(self, graph: g.Graph, *, weights: str, held: tuple[int, ...], source: str = "z") -> None:
        self.graph = graph
        self.source = source
        self.kind = weights
        self.plan: Plan = plan(graph, held=held)
        self.statements: list[tuple[str, str]] = []
        self.filters: list[str] = []
        self.weights: list[np.ndarray] = []
        self.numbers: list[np.ndarray] = []
        self.functions: dict[str, str] = {}
        self.flops = 0
        for op in graph.ops:
            self._add(op)

    # ------------------------------------------------------------------------------------------ for translations

    def keep(self, array: np.ndarray | None) -> str:
        """A pointer to numbers that are kept as float32; 0 for None."""
        if array is None:
            return "0"
        at = sum(kept.size for kept in self.numbers)
        self.numbers.append(np.ascontiguousarray(array, np.float32))
        return f"net_numbers.values + {at}"

    def function(self, name: str, source: str) -> str:
        """The name of a function of your own, whose source, in C, goes into the file.

        It begins with net_, in whose place each file has a prefix of its own.

        Raises:
            ConfigError: the name is another, or the file has a different function of that name.
        """
        if not name.startswith("net_") or name in library() or self.functions.get(name, source) != source:
            raise ConfigError(f"expected a new name that begins with net_ for a function in C, got {name}. Rename it.")
        self.functions[name] = source
        return name

    def filter(self, op: g.Linear, *, sizes: tuple[int, ...]) -> str:
        """A pointer to a filter in the table.

        Args:
            sizes: as `net_filter` in c_functions.c has them.
        """
        stored = op.stored
        w = np.moveaxis(stored.values, stored.axis, -1)
        at = sum(array.size for array in self.weights)
        by_group = np.split(w.reshape(*sizes[6:8], *w.shape[-2:]), sizes[8], axis=-1)
        self.weights.append(np.concatenate([_in_order(part).ravel() for part in by_group]))
        scale, bias = self.keep(stored.scale), self.keep(op.b)
        numbers = ", ".join(f"{size:>3}" for size in sizes)
        self.filters.append(f"{{{numbers}, net_weights.values + {at}, {scale}, {bias}}}")
        return f"&net_filters[{len(self.filters) - 1}]"

    def shape(self, value: int) -> Shape:
        """The shape of a value."""
        return self.graph.shape(value)

    # ------------------------------------------------------------------------------------------ statements

    def _add(self, op: g.Op) -> None:
        if isinstance(op, g.Reshape):
            return
        thing = op.layer if isinstance(op, g.Custom) else op
        inputs, output = [self.place(value) for value in op.inputs], self.place(op.output)
        if op.output in self.plan.copies:
            self.statements.append((f"net_place({inputs[0]}, 0, {prod(op.shape)}, {output}, 0, 1);", ""))
        before = self.shape(op.inputs[0])
        shapes = "" if before == op.shape else f"{_text(before)} -> {_text(op.shape)}"
        statement = translation(thing, to=C).function(thing if isinstance(op, g.Custom) else op, inputs, output, self)
        self.statements.append((statement, shapes))

    def place(self, value: int) -> str:
        """A pointer to a value, as C."""
        root = self.plan.roots[value]
        if root in (g.INPUT, g.CONDITION):
            return self.source if root == g.INPUT else "condition"
        return f"scratch + {self.plan.offsets[root]}"

    def work(self, op: g.Op) -> str:
        """A pointer to an operation's further memory."""
        return f"scratch + {self.plan.work[op.output]}"


def _in_order(w: np.ndarray) -> np.ndarray:
    """A group's weights (R, S, C, K) as `net_filter` has them."""
    if w.shape[-1] < NARROW:
        return np.ascontiguousarray(w.transpose(0, 1, 3, 2))
    return np.ascontiguousarray(np.pad(w, [(0, 0), (0, 0), (0, -w.shape[2] % 4), (0, 0)]))


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))


def library() -> dict[str, str]:
    """The functions of c_functions.c by name, each with the comment above it."""
    blocks = packaged(__package__, "c_functions.c").split("\n\n")[1:]
    heads = (re.search(r"^static [^;(]*?(net_\w+)\(", block, re.MULTILINE) for block in blocks)
    return {head[1] if head else "net_filter": block.strip() for head, block in zip(heads, blocks, strict=True)}


# ---------------------------------------------------------------------------------------------- filters


@translates(g.Dense, to=C)
def _dense(op: g.Dense, inputs: list[str], output: str, program: Program) -> str:
    before, after = op.w.shape
    program.flops += 2 * op.w.size
    sizes = (1, 1, before, 1, 1, after, 1, 1, 1, 1, 1, 0, 0)
    return f"net_convolve({inputs[0]}, {output}, {program.filter(op, sizes=sizes)}, 0);"


@translates(g.Conv, to=C)
def _conv(op: g.Conv, inputs: list[str], output: str, program: Program) -> str:
    program.flops += 2 * op.w.size * op.shape[0] * op.shape[1]
    (top, _), (left, _) = op.padding
    sizes = (*program.shape(op.inputs[0]), *op.shape, *op.w.shape[:2], op.groups, *op.stride, top, left)
    return f"net_convolve({inputs[0]}, {output}, {program.filter(op, sizes=sizes)}, 0);"


@translates(g.ConvTranspose, to=C)
def _conv_transpose(op: g.ConvTranspose, inputs: list[str], output: str, program: Program) -> str:
    before = program.shape(op.inputs[0])
    program.flops += 2 * op.w.size * before[0] * before[1]
    sizes = (*before, *op.shape, *op.w.shape[:2], op.groups, *op.stride, *op.cut)
    return f"net_convolve({inputs[0]}, {output}, {program.filter(op, sizes=sizes)}, 1);"


@translates(g.Depthwise, to=C)
def _depthwise(op: g.Depthwise, inputs: list[str], output: str, program: Program) -> str:
    before, ((top, _), (left, _)) = program.shape(op.inputs[0]), op.padding
    program.flops += 2 * op.w.size * prod((before if op.transposed else op.shape)[:2])
    sizes = (*before, *op.shape[:2], *op.w.shape[:2], *op.stride, top, left)
    name = "net_depthwise_transpose" if op.transposed else "net_depthwise"
    return f"{name}({inputs[0]}, {output}, {program.keep(op.w)}, {', '.join(map(str, sizes))});"


# ---------------------------------------------------------------------------------------------- by channel


@translates(g.Affine, to=C)
def _affine(op: g.Affine, inputs: list[str], output: str, program: Program) -> str:  # noqa: ARG001
    scale, shift = program.keep(op.scale), program.keep(op.shift)
    return f"net_affine({output}, {prod(op.shape[:-1])}, {op.shape[-1]}, {scale}, {shift});"


@translates(g.ConditionalAffine, to=C)
def _conditional_affine(op: g.ConditionalAffine, inputs: list[str], output: str, program: Program) -> str:
    gamma, beta = program.keep(op.gamma), program.keep(op.beta)
    pixels, channels, classes = prod(op.shape[:-1]), op.shape[-1], len(op.gamma)
    return f"net_conditional_affine({output}, {pixels}, {channels}, {inputs[1]}, {classes}, {gamma}, {beta});"


@translates(g.GroupNorm, to=C)
def _group_norm(op: g.GroupNorm, inputs: list[str], output: str, program: Program) -> str:  # noqa: ARG001
    gamma, beta = program.keep(op.gamma), program.keep(op.beta)
    sizes = ", ".join(map(str, (1, 1, *op.shape)[-3:]))
    return f"net_group_norm({output}, {sizes}, {op.groups}, {gamma}, {beta}, {_float(op.eps)});"


@translates(g.Modulate, to=C)
def _modulate(op: g.Modulate, inputs: list[str], output: str, program: Program) -> str:  # noqa: ARG001
    return f"net_modulate({output}, {prod(op.shape[:-1])}, {op.shape[-1]}, {inputs[1]});"


@translates(g.Constant, to=C)
def _constant(op: g.Constant, inputs: list[str], output: str, program: Program) -> str:  # noqa: ARG001
    return f"net_place({program.keep(op.value)}, 0, {prod(op.shape)}, {output}, 0, 1);"


@translates(g.AddImage, to=C)
def _add_image(op: g.AddImage, inputs: list[str], output: str, program: Program) -> str:  # noqa: ARG001
    return f"net_add_image({output}, {prod(op.shape[:-1])}, {op.shape[-1]}, {program.keep(op.image)});"


@translates(g.PixelNorm, to=C)
def _pixel_norm(op: g.PixelNorm, inputs: list[str], output: str, program: Program) -> str:  # noqa: ARG001
    return f"net_pixel_norm({output}, {prod(op.shape[:-1])}, {op.shape[-1]}, {_float(op.eps)});"


# ---------------------------------------------------------------------------------------------- number by number


def _float(value: float) -> str:
    """A number as a constant of type float."""
    return f"{np.float32(value)!s}f"


@translates(g.Scale, to=C)
def _scale(op: g.Scale, inputs: list[str], output: str, program: Program) -> str:  # noqa: ARG001
    return f"net_scale({output}, {prod(op.shape)}, {_float(op.factor)}, {_float(op.offset)});"


@translates(g.Activation, to=C)
def _activation(op: g.Activation, inputs: list[str], output: str, program: Program) -> str:  # noqa: ARG001
    slope = f", {_float(op.slope)}" if op.function == "leaky_relu" else ""
    return f"net_{op.function}({output}, {prod(op.shape)}{slope});"


@translates(g.Add, to=C)
def _add(op: g.Add, inputs: list[str], output: str, program: Program) -> str:  # noqa: ARG001
    return f"net_add({output}, {inputs[1]}, {prod(op.shape)});"


@translates(g.Maxout, to=C)
def _maxout(op: g.Maxout, inputs: list[str], output: str, program: Program) -> str:  # noqa: ARG001
    return f"net_maxout({inputs[0]}, {output}, {prod(op.shape[:-1])}, {op.shape[-1]}, {op.pieces});"


@translates(g.Blend, to=C)
def _blend(op: g.Blend, inputs: list[str], output: str, program: Program) -> str:  # noqa: ARG001
    return f"net_fill({output}, {inputs[1]}, {prod(op.shape[:-1])}, {op.shape[-1]});"


# ---------------------------------------------------------------------------------------------- pixels


@translates(g.UpSample, to=C)
def _up_sample(op: g.UpSample, inputs: list[str], output: str, program: Program) -> str:
    sizes = ", ".join(map(str, (*program.shape(op.inputs[0]), *op.factor)))
    return f"net_upsample({inputs[0]}, {output}, {sizes});"


@translates(g.ReflectPad, to=C)
def _reflect_pad(op: g.ReflectPad, inputs: list[str], output: str, program: Program) -> str:
    (top, _), (left, _) = op.padding
    sizes = ", ".join(map(str, (*program.shape(op.inputs[0]), *op.shape[:2], top, left)))
    return f"net_reflect_pad({inputs[0]}, {output}, {sizes});"


@translates(g.DepthToSpace, to=C)
def _depth_to_space(op: g.DepthToSpace, inputs: list[str], output: str, program: Program) -> str:
    sizes = ", ".join(map(str, (*program.shape(op.inputs[0])[:2], op.shape[-1], *op.factor)))
    return f"net_depth_to_space({inputs[0]}, {output}, {sizes});"


@translates(g.AveragePool, to=C)
def _average_pool(op: g.AveragePool, inputs: list[str], output: str, program: Program) -> str:  # noqa: ARG001
    return f"net_average_pool({inputs[0]}, {output}, {', '.join(map(str, (*op.shape, *op.factor)))});"


@translates(g.Concat, to=C)
def _concat(op: g.Concat, inputs: list[str], output: str, program: Program) -> str:
    """Each part copied to its channels; a vector to every pixel."""
    pixels, at, lines = prod(op.shape[:-1]), 0, []
    for value, part in zip(op.inputs, inputs, strict=True):
        shape = program.shape(value)
        step = shape[-1] if len(shape) == len(op.shape) else 0
        lines.append(f"net_place({part}, {step}, {shape[-1]}, {output} + {at}, {op.shape[-1]}, {pixels});")
        at += shape[-1]
    return "\n".join(lines)


@translates(g.Attend, to=C)
def _attend(op: g.Attend, inputs: list[str], output: str, program: Program) -> str:
    features, pixels = program.shape(op.inputs[1])[-1], prod(op.shape[:-1])
    sizes = f"{pixels}, {features}, {op.shape[-1]}, {_float(op.gamma)}"
    return f"net_attend({output}, {', '.join(inputs[1:])}, {program.work(op)}, {sizes});"
