"""A graph's operations as Python: the statements of a file for NumPy, and the translations to "numpy".

A translation to "numpy" takes the operation or layer, its inputs as Python (names), and the `Body` that keeps weights
and functions, and returns an expression.
"""

import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minigan.errors import ConfigError
from minigan.export import graph as g
from minigan.export import numpy_functions
from minigan.export.translations import translates, translation
from minigan.nn.layers.base import Shape

__all__ = ["Body", "Expression"]

NUMPY = "numpy"


class Expression(NamedTuple):
    """Python for a value.

    Attributes:
        closed: whether it can stand between operators as it is: a name or a call.
    """

    text: str
    closed: bool = True


class Body:
    """The statements that evaluate a graph, from its input, and perhaps a condition c, to x.

    A value that only the next operation uses is called x; one that is used later is h1, h2 ...

    Attributes:
        graph: the operations.
        lines: of Python.
        arrays: the weights, by the names that the lines have for them.
        functions: sources of functions that the lines call and `numpy_functions` lacks, by name.
        input: the network's input, as the lines call it.
    """

    def __init__(self, graph: g.Graph) -> None:
        self.graph = graph
        self.lines: list[str] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.functions: dict[str, str] = {}
        self._waiting: Expression | None = None  # the last operation's, while it may still become part of a longer one
        self._names = self._named()
        self._shape = graph.input_shape
        self.input = self._names[g.INPUT]
        for index, op in enumerate(graph.ops):
            self._add(op, graph.ops[index + 1] if index + 1 < len(graph.ops) else None)

    # ------------------------------------------------------------------------------------------ for translations

    def keep(self, name: str, array: np.ndarray | None) -> str:
        """A weight's name in Python, after it was added to the arrays; nothing for None.

        Args:
            name: a word: "gamma" becomes W["gamma1"], the next one W["gamma2"].
        """
        if array is None:
            return ""
        number = 1 + self._count(name)
        self.arrays[f"{name}{number}"] = array
        return f'W["{name}{number}"]'

    def _count(self, name: str) -> int:
        """How many arrays of that name there are."""
        return sum(re.fullmatch(rf"{name}\d+", known) is not None for known in self.arrays)

    def weight(self, op: g.Linear) -> str:
        """The name of an operation's weight; beside 8-bit integers the arrays have w1_scale, which meets w1."""
        stored = op.stored
        name = self.keep("w", stored.values)
        if stored.scale is not None:
            self.arrays[f"w{self._count('w')}_scale"] = stored.scale.reshape(-1, *[1] * (-1 - stored.axis))
        return name

    def function(self, function: Callable[..., Any]) -> str:
        """The name of a plain function whose source is copied into the file; it may use np and `numpy_functions`.

        Raises:
            ConfigError: the file has another function of that name, or Python does not know the source.
        """
        name = function.__name__
        try:
            source = textwrap.dedent(inspect.getsource(function))
        except OSError:
            raise ConfigError(
                f"cannot copy the function {name} into the file: its source is unknown, as of a function typed at a "
                "prompt. Define it in a file."
            ) from None
        if name in vars(numpy_functions) or self.functions.get(name, source) != source:
            raise ConfigError(f"expected a new name for the function {name}, which the file already has. Rename it.")
        self.functions[name] = source
        return name

    # ------------------------------------------------------------------------------------------ statements

    def _named(self) -> dict[int, str]:
        """Each value's name."""
        uses = self.graph.uses()
        values = [g.INPUT, *(op.output for op in self.graph.ops)]
        nexts = [*(set(op.inputs) for op in self.graph.ops), {self.graph.output}]
        lasting = [v for v, following in zip(values, nexts, strict=True) if uses[v] != 1 or v not in following]
        return dict.fromkeys(values, "x") | {v: f"h{n}" for n, v in enumerate(lasting, 1)} | {g.CONDITION: "c"}

    def _add(self, op: g.Op, following: g.Op | None) -> None:
        inputs = [self._names[value] for value in op.inputs]
        if self._waiting is not None:
            inputs[-1], self._waiting = self._waiting.text, None
        expression = self._expression(op, inputs)
        if self._names[op.output] == "x" and _takes_in(following, op, expression):
            self._waiting = expression
        else:
            self._statement(self._names[op.output], expression.text, op.shape)

    def _expression(self, op: g.Op, inputs: list[str]) -> Expression:
        thing = op.layer if isinstance(op, g.Custom) else op
        made = translation(thing, to=NUMPY).function(thing, inputs, self)
        return made if isinstance(made, Expression) else Expression(made, closed=False)

    def _statement(self, name: str, text: str, shape: Shape) -> None:
        line = f"{name} = {text}"
        if shape != self._shape:
            line += f"  # (N, {', '.join(map(str, shape))})"
        self._shape = shape
        self.lines.append(line)


def _takes_in(following: g.Op | None, op: g.Op, expression: Expression) -> bool:
    """Whether the next operation stands around this one's expression on one line."""
    if following is None or following.inputs[-1] != op.output:
        return False
    match following:
        case g.Activation():
            return True
        case g.Scale():
            return expression.closed
        case g.Add():  # minigan's own expressions are sums, products and calls; of others nobody knows
            return expression.closed or not isinstance(op, g.Custom)
    return False


# ---------------------------------------------------------------------------------------------- translations


@translates(g.Dense, to=NUMPY)
def _dense(op: g.Dense, inputs: list[str], body: Body) -> Expression:
    b = body.keep("b", op.b)
    return Expression(f"{inputs[0]} @ {body.weight(op)}{f' + {b}' if b else ''}", closed=False)


@translates(g.Conv, g.ConvTranspose, to=NUMPY)
def _convolution(op: g.Conv | g.ConvTranspose, inputs: list[str], body: Body) -> Expression:
    given = [inputs[0], body.weight(op), body.keep("b", op.b), _setting("stride", op.stride, default=1)]
    if isinstance(op, g.ConvTranspose):
        given += [_setting("cut", op.cut, default=0), f"size={op.shape[:2]}"]
    else:
        given.append(_setting("pad", (*op.padding[0], *op.padding[1]), default=0))
    given.append(_setting("groups", (op.groups,), default=1))
    name = "conv_transpose" if isinstance(op, g.ConvTranspose) else "conv"
    return Expression(f"{name}({', '.join(filter(None, given))})")


def _setting(name: str, values: tuple[int, ...], *, default: int) -> str:
    """An argument, as one number where all are equal; nothing where that is the default."""
    if len(set(values)) > 1:
        return f"{name}={values}"
    return f"{name}={values[0]}" if values[0] != default else ""


@translates(g.Depthwise, to=NUMPY)
def _depthwise(op: g.Depthwise, inputs: list[str], body: Body) -> Expression:
    given = [inputs[0], body.keep("w", op.w), _setting("stride", op.stride, default=1)]
    if op.transposed:
        given += [_setting("cut", (op.padding[0][0], op.padding[1][0]), default=0), f"size={op.shape[:2]}"]
    else:
        given.append(_setting("pad", (*op.padding[0], *op.padding[1]), default=0))
    name = "depthwise_transpose" if op.transposed else "depthwise"
    return Expression(f"{name}({', '.join(filter(None, given))})")


@translates(g.Affine, to=NUMPY)
def _affine(op: g.Affine, inputs: list[str], body: Body) -> Expression:
    scale, shift = body.keep("scale", op.scale), body.keep("shift", op.shift)
    return Expression(f"{inputs[0]} * {scale} + {shift}", closed=False)


@translates(g.Scale, to=NUMPY)
def _scale(op: g.Scale, inputs: list[str], body: Body) -> Expression:  # noqa: ARG001
    offset = f" {'+' if op.offset > 0 else '-'} {abs(op.offset):g}" if op.offset else ""
    factor = f"{op.factor:g}" if float(f"{op.factor:g}") == op.factor else f"{op.factor:.9g}"
    return Expression(f"{factor} * {inputs[0]}{offset}", closed=False)


@translates(g.GroupNorm, to=NUMPY)
def _group_norm(op: g.GroupNorm, inputs: list[str], body: Body) -> Expression:
    gamma, beta = body.keep("gamma", op.gamma), body.keep("beta", op.beta)
    return Expression(f"group_norm({inputs[0]}, {gamma}, {beta}, groups={op.groups}, eps={op.eps:g})")


@translates(g.Modulate, to=NUMPY)
def _modulate(op: g.Modulate, inputs: list[str], body: Body) -> Expression:  # noqa: ARG001
    return Expression(f"{inputs[0]} * {inputs[1]}{'[:, None, None]' if len(op.shape) == 3 else ''}", closed=False)


@translates(g.Constant, to=NUMPY)
def _constant(op: g.Constant, inputs: list[str], body: Body) -> Expression:
    return Expression(f"np.repeat({body.keep('constant', op.value)}[None], len({inputs[0]}), axis=0)")


@translates(g.AddImage, to=NUMPY)
def _add_image(op: g.AddImage, inputs: list[str], body: Body) -> Expression:
    return Expression(f"{inputs[0]} + {body.keep('noise', op.image)}", closed=False)


@translates(g.PixelNorm, to=NUMPY)
def _pixel_norm(op: g.PixelNorm, inputs: list[str], body: Body) -> Expression:  # noqa: ARG001
    return Expression(f"pixel_norm({inputs[0]}, eps={op.eps:g})")


@translates(g.ConditionalAffine, to=NUMPY)
def _conditional_affine(op: g.ConditionalAffine, inputs: list[str], body: Body) -> Expression:
    at_every_pixel = "[:, None, None]" if len(op.shape) == 3 else ""
    tables = (("gamma", op.gamma), ("beta", op.beta))
    gamma, beta = (f"({inputs[1]} @ {body.keep(name, table)}){at_every_pixel}" for name, table in tables)
    return Expression(f"{inputs[0]} * {gamma} + {beta}", closed=False)


@translates(g.Activation, to=NUMPY)
def _activation(op: g.Activation, inputs: list[str], body: Body) -> Expression:  # noqa: ARG001
    name = "np.tanh" if op.function == "tanh" else op.function
    return Expression(f"{name}({inputs[0]}{f', {op.slope:g}' if op.function == 'leaky_relu' else ''})")


@translates(g.Add, to=NUMPY)
def _add(op: g.Add, inputs: list[str], body: Body) -> Expression:  # noqa: ARG001
    return Expression(" + ".join(inputs), closed=False)


@translates(g.Reshape, to=NUMPY)
def _reshape(op: g.Reshape, inputs: list[str], body: Body) -> Expression:  # noqa: ARG001
    return Expression(f"{inputs[0]}.reshape(-1, {', '.join(map(str, op.shape))})")


@translates(g.UpSample, to=NUMPY)
def _up_sample(op: g.UpSample, inputs: list[str], body: Body) -> Expression:  # noqa: ARG001
    return Expression(f"{inputs[0]}.repeat({op.factor[0]}, axis=1).repeat({op.factor[1]}, axis=2)")


@translates(g.ReflectPad, to=NUMPY)
def _reflect_pad(op: g.ReflectPad, inputs: list[str], body: Body) -> Expression:  # noqa: ARG001
    (top, bottom), (left, right) = op.padding
    pads = f"((0, 0), ({top}, {bottom}), ({left}, {right}), (0, 0))"
    return Expression(f'np.pad({inputs[0]}, {pads}, mode="reflect")')


@translates(g.DepthToSpace, to=NUMPY)
def _depth_to_space(op: g.DepthToSpace, inputs: list[str], body: Body) -> Expression:  # noqa: ARG001
    return Expression(f"depth_to_space({inputs[0]}, {op.factor[0]}, {op.factor[1]})")


@translates(g.AveragePool, to=NUMPY)
def _average_pool(op: g.AveragePool, inputs: list[str], body: Body) -> Expression:  # noqa: ARG001
    return Expression(f"average_pool({inputs[0]}, {op.factor[0]}, {op.factor[1]})")


@translates(g.Maxout, to=NUMPY)
def _maxout(op: g.Maxout, inputs: list[str], body: Body) -> Expression:  # noqa: ARG001
    return Expression(f"maxout({inputs[0]}, {op.pieces})")


@translates(g.Concat, to=NUMPY)
def _concat(op: g.Concat, inputs: list[str], body: Body) -> Expression:
    parts = [
        part  # a vector stands at every pixel of an image
        if len(body.graph.shape(value)) == len(op.shape)
        else f"np.tile({part}[:, None, None], (1, {op.shape[0]}, {op.shape[1]}, 1))"
        for part, value in zip(inputs, op.inputs, strict=True)
    ]
    return Expression(f"np.concatenate([{', '.join(parts)}], axis=-1)")


@translates(g.Blend, to=NUMPY)
def _blend(op: g.Blend, inputs: list[str], body: Body) -> Expression:  # noqa: ARG001
    return Expression(f"fill({', '.join(inputs)})")


@translates(g.Attend, to=NUMPY)
def _attend(op: g.Attend, inputs: list[str], body: Body) -> Expression:  # noqa: ARG001
    return Expression(f"attend({', '.join(inputs)}, {op.gamma!r})")
