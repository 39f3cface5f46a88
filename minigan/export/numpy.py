"""To NumPy: a generator as a short Python file that imports NumPy alone, and its weights in an .npz next to it.

`numpy_statements` says the operations in Python, `numpy_functions` has the functions that they call.
"""

import inspect
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import minigan
from minigan.export import graph as g
from minigan.export import numpy_functions
from minigan.export.base import ExportOptions, Subject
from minigan.export.fewer_bits import in_bits
from minigan.export.numpy_statements import Body
from minigan.export.quality import loss
from minigan.nn.layers.base import Shape
from minigan.support.durable_files import atomic_write, make_folder
from minigan.support.words import shell_word
from minigan.training import portable_noise

__all__ = ["write"]

NAME = "generator"

LOADED = {
    "fp32": "    W = dict(file)\n",
    "fp16": "    W = {name: array.astype(np.float32) for name, array in file.items()}\n",
    "int8": """\
    W = dict(file)
for name in [name for name in W if name + "_scale" in W]:
    W[name] = W[name] * W.pop(name + "_scale")
""",
}


def write(subject: Subject, out: Path, options: ExportOptions) -> str:
    """Writes generator.py and generator.npz into a folder.

    Raises:
        ConfigError: a layer cannot be exported, or weights are not finite or too large for fp16.
        OutputError: the folder cannot be written.
    """
    weights = options.weights or "fp32"
    body = Body(in_bits(g.fold_batch_norms(subject.graph(to="numpy")), weights))
    lost = loss(subject, body.graph, weights)
    source = _module(subject, body, weights)
    archive = io.BytesIO()
    np.savez(archive, **body.arrays)  # type: ignore[arg-type]  # none is called allow_pickle
    make_folder(out)
    atomic_write(out / f"{NAME}.npz", archive.getvalue())
    atomic_write(out / f"{NAME}.py", source.encode())
    run = f"python {shell_word(str(out / NAME) + '.py')}, or " if subject.from_noise else ""
    size = f"{source.count(chr(10))} lines, {len(archive.getvalue()):,} bytes of weights"
    return "\n".join([*lost, f"{run}from {NAME} import generate; {size}"])


# ---------------------------------------------------------------------------------------------- the file around it


def _module(subject: Subject, body: Body, weights: str) -> str:
    """The file's text."""
    graph = body.graph
    given = "z" if subject.from_noise else "x"
    arguments = given + ("" if graph.condition_shape is None else ", labels" if subject.classes else ", c")
    sections = [
        f'"""{_title(subject, graph)}\n\nWritten by minigan {minigan.__version__}; the weights are in {NAME}.npz '
        f'next to this file.\n"""\n\nimport numpy as np\n\n'
        f'with np.load(__file__.removesuffix(".py") + ".npz", allow_pickle=False) as file:\n{LOADED[weights]}',
        _generate(subject, body, given, arguments),
    ]
    if subject.from_noise:
        sections.append(_sample(subject, graph))
    can_picture = subject.from_noise and graph.output_shape[-1] in (1, 3)
    called = "\n".join(body.lines) + ("\nwrite_picture(" if can_picture else "")
    sections += _functions(sections[-1] + called, body.functions)
    if can_picture:
        kind = "pgm" if graph.output_shape[-1] == 1 else "ppm"
        sections.append(f'if __name__ == "__main__":\n    write_picture("samples.{kind}", sample(8))\n')
    return "\n\n".join(sections)


def _title(subject: Subject, graph: g.Graph) -> str:
    title = " ".join(subject.title.split()).replace("\\", "|").replace('"', "'")  # fit for a docstring
    return f"{title}: {_outputs(graph.output_shape)} from {'noise' if subject.from_noise else 'images'}."


def _outputs(shape: Shape) -> str:
    """Outputs of that shape, in words."""
    H, W, C = shape if len(shape) == 3 else (0, 0, 0)
    return f"images of {H}x{W} with {C} channel{'s' if C > 1 else ''}" if H else "points of the plane"


def _generate(subject: Subject, body: Body, given: str, arguments: str) -> str:
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
    shape = ", ".join(map(str, graph.input_shape))
    labels = f", portable_classes(seed, count, {subject.classes})" if subject.classes else ""
    lines = [
        '"""Any number of samples; the same that `minigan sample --seed` draws, or with --portable other languages."""',
        "if portable:",
        f"    return generate(portable_normals(seed, count, {shape}){labels})",
        "rng = np.random.default_rng(seed)",
    ]
    if subject.classes:
        lines += [
            f"drawn = [(rng.standard_normal(({shape},)), rng.integers({subject.classes})) for _ in range(count)]",
            "return generate([z for z, _ in drawn], [label for _, label in drawn])",
        ]
    else:
        lines.append(f"return generate(rng.standard_normal((count, {shape})))")
    return "def sample(count, seed=0, portable=False):\n" + _indented(lines)


def _indented(lines: Iterable[str]) -> str:
    return "".join(f"    {line}\n" for line in lines)


def _functions(called: str, own: Mapping[str, str]) -> list[str]:
    """The source of all functions that are called there, and that those call: minigan's, then others."""
    called += "".join(own.values())
    kept: list[str] = []
    for module in (portable_noise, numpy_functions):
        sources = [inspect.getsource(function) for _, function in _in_order(module)]
        for source in reversed(sources):  # a function calls such as stand above it
            name = source.partition("(")[0].removeprefix("def ")
            if re.search(rf"\b{name}\(", called):
                kept.insert(0, source)
                called += source
    return [*kept, *own.values()]


def _in_order(module: ModuleType) -> list[tuple[str, Any]]:
    """A module's functions as they stand in it."""
    order = list(vars(module))
    return sorted(inspect.getmembers(module, inspect.isfunction), key=lambda member: order.index(member[0]))
