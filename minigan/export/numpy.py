"""To NumPy: a generator as a short Python file that imports NumPy alone, and its weights in an .npz beside it."""

import inspect
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

import minigan
from minigan.export import graph as g
from minigan.export import numpy_functions
from minigan.export.base import ExportOptions, Subject
from minigan.nn.layers.base import Shape
from minigan.support.durable_files import atomic_write, make_folder

__all__ = ["write"]

NAME = "generator"


def write(subject: Subject, out: Path, options: ExportOptions) -> str:  # noqa: ARG001 (there is nothing to choose)
    """Writes generator.py and generator.npz into a folder.

    Raises:
        ConfigError: a layer cannot be exported.
        OutputError: the folder cannot be written.
    """
    body = _Body(g.fold_batch_norms(subject.graph()))
    source = _module(subject, body)
    archive = io.BytesIO()
    np.savez(archive, **body.arrays)  # type: ignore[arg-type]  # none is called allow_pickle
    make_folder(out)
    atomic_write(out / f"{NAME}.npz", archive.getvalue())
    atomic_write(out / f"{NAME}.py", source.encode())
    run = f"python {out / NAME}.py, or " if subject.from_noise else ""
    return (
        f"{run}from {NAME} import generate; {source.count(chr(10))} lines, {len(archive.getvalue()):,} bytes of weights"
    )


class Expression(NamedTuple):
    """Python for a value.

    Attributes:
        closed: whether it can stand between operators as it is: a name or a call.
    """

    text: str
    closed: bool = True


class _Body:
    """The statements that evaluate a graph, from its input, and perhaps a condition c, to x.

    A value that the next operation alone asks for is called x; one that is asked for later is h1, h2 ...

    Attributes:
        lines: of Python.
        arrays: the weights, by the names that the lines have for them.
        input: what the lines call the network's input.
    """

    def __init__(self, graph: g.Graph) -> None:
        self.graph = graph
        self.lines: list[str] = []
        self.arrays: dict[str, np.ndarray] = {}
        self._waiting: Expression | None = None  # the last operation's, while it may still become part of a longer one
        self._names = self._named()
        self._shape = graph.input_shape
        self.input = self._names[g.INPUT]
        for index, op in enumerate(graph.ops):
            self._add(op, graph.ops[index + 1] if index + 1 < len(graph.ops) else None)

    def _named(self) -> dict[int, str]:
        """Each value's name."""
        uses = self.graph.uses()
        values = [g.INPUT, *(op.output for op in self.graph.ops)]
        nexts = [*(set(op.inputs) for op in self.graph.ops), {self.graph.output}]
        lasting = [v for v, following in zip(values, nexts, strict=True) if uses[v] != 1 or v not in following]
        return dict.fromkeys(values, "x") | {v: f"h{n}" for n, v in enumerate(lasting, 1)} | {g.CONDITION: "c"}

    def _add(self, op: g.Op, following: g.Op | None) -> None:
        inputs = [Expression(self._names[value]) for value in op.inputs]
        if self._waiting is not None:
            inputs[-1], self._waiting = self._waiting, None
        expression = self._expression(op, inputs)
        if self._names[op.output] == "x" and _takes_in(following, op, expression):
            self._waiting = expression
        else:
            self._statement(self._names[op.output], expression.text, op.shape)

    def _statement(self, name: str, text: str, shape: Shape) -> None:
        line = f"{name} = {text}"
        if shape != self._shape:
            line += f"  # (N, {', '.join(map(str, shape))})"
        self._shape = shape
        self.lines.append(line)

    def _keep(self, name: str, array: np.ndarray | None) -> str:
        """A weight's name in Python, after it was added to the arrays."""
        if array is None:
            return ""
        number = 1 + sum(re.fullmatch(rf"{name}\d+", known) is not None for known in self.arrays)
        self.arrays[f"{name}{number}"] = array
        return f'W["{name}{number}"]'

    def _expression(self, op: g.Op, inputs: list[Expression]) -> Expression:
        x = inputs[0].text
        match op:
            case g.Dense():
                b = self._keep("b", op.b)
                return Expression(f"{x} @ {self._keep('w', op.w)}{f' + {b}' if b else ''}", closed=False)
            case g.Conv() | g.ConvTranspose():
                return Expression(self._convolution(op, x))
            case g.Affine():
                scale, shift = self._keep("scale", op.scale), self._keep("shift", op.shift)
                return Expression(f"{x} * {scale} + {shift}", closed=False)
            case g.Scale():
                offset = f" {'+' if op.offset > 0 else '-'} {abs(op.offset):g}" if op.offset else ""
                return Expression(f"{op.factor:g} * {x}{offset}", closed=False)
            case g.GroupNorm():
                gamma, beta = self._keep("gamma", op.gamma), self._keep("beta", op.beta)
                return Expression(f"group_norm({x}, {gamma}, {beta}, groups={op.groups}, eps={op.eps:g})")
            case g.ConditionalAffine():
                beside = "[:, None, None]" if len(op.shape) == 3 else ""
                gamma, beta = (f"(c @ {self._keep(n, t)}){beside}" for n, t in (("gamma", op.gamma), ("beta", op.beta)))
                return Expression(f"{x} * {gamma} + {beta}", closed=False)
            case g.Activation():
                name = "np.tanh" if op.function == "tanh" else op.function
                return Expression(f"{name}({x}{f', {op.slope:g}' if op.function == 'leaky_relu' else ''})")
            case g.Add():
                return Expression(" + ".join(expression.text for expression in inputs), closed=False)
        return Expression(self._move(op, [expression.text for expression in inputs]))

    def _convolution(self, op: g.Conv | g.ConvTranspose, x: str) -> str:
        given = [x, self._keep("w", op.w), self._keep("b", op.b)]
        given.append(_setting("stride", op.stride, default=1))
        if isinstance(op, g.ConvTranspose):
            given += [_setting("cut", op.cut, default=0), f"size={op.shape[:2]}"]
        else:
            given.append(_setting("pad", (*op.padding[0], *op.padding[1]), default=0))
        name = "conv_transpose" if isinstance(op, g.ConvTranspose) else "conv"
        return f"{name}({', '.join(filter(None, given))})"

    def _move(self, op: g.Op, inputs: list[str]) -> str:
        """Operations without weights that are more than one number's."""
        x = inputs[0]
        match op:
            case g.Reshape():
                return f"{x}.reshape(-1, {', '.join(map(str, op.shape))})"
            case g.UpSample():
                return f"{x}.repeat({op.factor[0]}, axis=1).repeat({op.factor[1]}, axis=2)"
            case g.DepthToSpace():
                return f"depth_to_space({x}, {op.factor[0]}, {op.factor[1]})"
            case g.AveragePool():
                return f"average_pool({x}, {op.factor[0]}, {op.factor[1]})"
            case g.Maxout():
                return f"maxout({x}, {op.pieces})"
            case g.Concat():
                parts = [self._spread(part, value, op) for part, value in zip(inputs, op.inputs, strict=True)]
                return f"np.concatenate([{', '.join(parts)}], axis=-1)"
            case g.Blend():
                return f"fill({', '.join(inputs)})"
            case g.Attend():
                return f"attend({', '.join(inputs)}, {op.gamma!r})"
        raise TypeError(f"no Python for {type(op).__name__}")

    def _spread(self, part: str, value: int, op: g.Op) -> str:
        """What is joined to others: a vector at every pixel of an image."""
        if len(self.graph.shape(value)) == len(op.shape):
            return part
        return f"np.tile({part}[:, None, None], (1, {op.shape[0]}, {op.shape[1]}, 1))"


def _setting(name: str, values: tuple[int, ...], *, default: int) -> str:
    """An argument, as one number where all are equal; nothing where that is the default."""
    if len(set(values)) > 1:
        return f"{name}={values}"
    return f"{name}={values[0]}" if values[0] != default else ""


def _takes_in(following: g.Op | None, op: g.Op, expression: Expression) -> bool:
    """Whether the next operation stands around this one's expression on one line."""
    if following is None or following.inputs[-1] != op.output:
        return False
    match following:
        case g.Activation():
            return True
        case g.Scale():
            return expression.closed
    return isinstance(following, g.Add)


# ---------------------------------------------------------------------------------------------- the file around it


def _module(subject: Subject, body: _Body) -> str:
    """The file's text."""
    graph = body.graph
    given = "z" if subject.from_noise else "x"
    arguments = given + ("" if graph.condition_shape is None else ", labels" if subject.classes else ", c")
    sections = [
        f'"""{_title(subject, graph)}\n\nWritten by minigan {minigan.__version__}; the weights lie in {NAME}.npz '
        f'beside this file.\n"""\n\nimport numpy as np\n\n'
        f'with np.load(__file__.removesuffix(".py") + ".npz", allow_pickle=False) as file:\n    W = dict(file)\n',
        _generate(subject, body, given, arguments),
    ]
    if subject.from_noise:
        sections.append(_sample(subject, graph))
    can_picture = subject.from_noise and graph.output_shape[-1] in (1, 3)
    called = "\n".join(body.lines) + ("write_picture(" if can_picture else "")
    sections += _functions(called)
    if can_picture:
        kind = "pgm" if graph.output_shape[-1] == 1 else "ppm"
        sections.append(f'if __name__ == "__main__":\n    write_picture("samples.{kind}", sample(8))\n')
    return "\n\n".join(sections)


def _title(subject: Subject, graph: g.Graph) -> str:
    return f"{subject.title}: {_what(graph.output_shape)} from {'noise' if subject.from_noise else 'images'}."


def _what(shape: Shape) -> str:
    H, W, C = shape if len(shape) == 3 else (0, 0, 0)
    return f"images of {H}x{W} with {C} channel{'s' if C > 1 else ''}" if H else "points of the plane"


def _generate(subject: Subject, body: _Body, given: str, arguments: str) -> str:
    graph = body.graph
    shapes = [f"{given} (N, {', '.join(map(str, graph.input_shape))})"]
    lines = [f"{body.input} = np.asarray({given}, np.float32)"]
    if subject.classes:
        shapes.append(f"class numbers labels (N,), from 0 to {subject.classes - 1}")
        lines.append(f"c = np.eye({subject.classes}, dtype=np.float32)[labels]")
    elif graph.condition_shape is not None:
        shapes.append(f"c (N, {', '.join(map(str, graph.condition_shape))})")
        lines.append("c = np.asarray(c, np.float32)")
    result = "Points" if len(graph.output_shape) == 1 else "Images in [-1, 1]"
    doc = f'"""{result} (N, {", ".join(map(str, graph.output_shape))}) from {" and ".join(shapes)}."""'
    return f"def generate({arguments}):\n" + _indented([doc, *lines, *body.lines, "return x"])


def _sample(subject: Subject, graph: g.Graph) -> str:
    noise = f"rng.standard_normal((count, {', '.join(map(str, graph.input_shape))}))"
    lines = [
        '"""As many as you want; those that `minigan sample --seed` draws."""',
        "rng = np.random.default_rng(seed)",
    ]
    if subject.classes:
        lines += [f"labels = rng.integers({subject.classes}, size=count)", f"return generate({noise}, labels)"]
    else:
        lines.append(f"return generate({noise})")
    return "def sample(count, seed=0):\n" + _indented(lines)


def _indented(lines: Iterable[str]) -> str:
    return "".join(f"    {line}\n" for line in lines)


def _functions(called: str) -> list[str]:
    """The source of all functions that are called there, in the order of their file."""
    known: Mapping[str, str] = {
        name: inspect.getsource(function)
        for name, function in inspect.getmembers(numpy_functions, inspect.isfunction)
        if re.search(rf"\b{name}\(", called)
    }
    order = list(vars(numpy_functions))
    return [known[name] for name in sorted(known, key=order.index)]
