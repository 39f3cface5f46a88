"""Places in the source: file and line of each pass, and of each engine's kernel.

Paths begin with the package's name, `minigan/nn/layers/conv.py:120`, in a checkout as in an installation.
"""

import ast
import functools
import inspect
import linecache
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import minigan.backends.base as contract
from minigan.backends import BACKENDS

__all__ = ["kernel_places", "kernel_source", "pass_places", "place_of", "source_text"]

PASSES = ("forward", "backward", "double_backward")


def place_of(function: Any) -> str:
    """Path and line where a function or class begins; without a line where its source is not kept."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    try:
        file = inspect.getsourcefile(function)
        line = inspect.getsourcelines(function)[1] if isinstance(function, type) else function.__code__.co_firstlineno
    except (TypeError, OSError, AttributeError):
        return str(getattr(function, "__module__", "") or "")
    while file and linecache.getline(file, line).lstrip().startswith("@"):  # to the line of its name
        line += 1
    return f"{_short(Path(file), function.__module__)}:{line}" if file else str(function.__module__)


def pass_places(kind: type) -> dict[str, str]:
    """The place of each pass of a class of layers: its own or its base's."""
    return {name: place_of(getattr(kind, name)) for name in PASSES}


def source_text(function: Any) -> str:
    """The source of a function; "" where it is not kept."""
    try:
        return textwrap.dedent(inspect.getsource(inspect.unwrap(function))).rstrip()
    except (TypeError, OSError):
        return ""


def kernel_places(kernel: str) -> dict[str, str]:
    """The places of a kernel by engine, those without a kernel of their own left out; "contract" is the docstring's.

    The files are read, not imported: an engine need not be able to run here.
    """
    found = {"contract": place_of(getattr(contract.Backend, kernel))}
    for engine in BACKENDS:
        if method := _methods(engine).get(kernel):
            found[engine] = method.place
    return found


def kernel_source(engine: str, kernel: str) -> str:
    """The text of an engine's own kernel; "" if it has none."""
    method = _methods(engine).get(kernel)
    return "" if method is None else method.text


class _Method(NamedTuple):
    place: str
    text: str


@functools.cache
def _methods(engine: str) -> dict[str, _Method]:
    """All methods of an engine's classes, by name."""
    folder = Path(contract.__file__).parent / engine
    found: dict[str, _Method] = {}
    for file in sorted(folder.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.parse(text).body:
            for item in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(item, ast.FunctionDef):
                    body = textwrap.dedent("\n".join(lines[item.lineno - 1 : item.end_lineno]))
                    found.setdefault(item.name, _Method(f"{_short(file, __name__)}:{item.lineno}", body))
    return found


def _short(file: Path, module: str) -> str:
    """A path from the folder of its top package on; outside of packages from the present folder, or the name alone."""
    top = sys.modules.get(module.partition(".")[0])
    root = getattr(top, "__path__", None)
    for folder in ([Path(next(iter(root))).parent] if root else []) + [Path.cwd()]:
        try:
            return file.resolve().relative_to(folder.resolve()).as_posix()
        except (ValueError, OSError):
            continue
    return file.name
