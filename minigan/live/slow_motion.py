"""Slow motion: a step of the engine itself, stopped at each line of its algorithm, of its losses and of its layers.

Nothing is acted: Python's own trace function stops the very calls that compute the step, so the bits are those of any
other step.
"""

import ast
import functools
import inspect
import linecache
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, Self

import numpy as np

from minigan.nn.layers import Layer

__all__ = ["Moment", "SlowMotion"]

PACKAGE = Path(__file__).parents[1]
PASSES = frozenset({"forward", "backward", "backward_recorded", "double_backward", "extended"})
# The functions that are shown, by their file; of layers, the passes.
SHOWN = {
    "training/alternating.py": frozenset(
        {"step", "_add_discriminator_gradients", "_separate_game", "_coupled_game", "_joined_game"}
        | {"_add_generator_gradients", "_through_discriminator", "step_of_discriminator", "step_of_generator"}
    ),
    "losses/adversarial.py": frozenset({"discriminator", "generator"}),
    "losses/gradient_penalties.py": frozenset({"add_gradients", "of_gradient", "of_slopes", "points"}),
    "nn/optimizers.py": frozenset({"_update"}),
}
ALGORITHM = "training/alternating.py"
MOST_VALUES = 8

Moment = dict[str, Any]  # a stop, as JSON can hold it
Stop = Callable[[Moment], bool]


class SlowMotion:
    """A context in which the engine's calls in this thread are stopped line by line.

    Args:
        stop: called at each line; False lets the rest of the context run at its own speed.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._is_over = False
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._on_call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.settrace(self._before)

    def _on_call(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG002 (a trace function's)
        return None if self._is_over or _shown_file(frame.f_code) is None else self._on_line

    def _on_line(self, frame: FrameType, event: str, argument: object) -> Any:  # noqa: ARG002
        if event == "line" and not self._is_over:
            self._is_over = not self._stop(_moment(frame))
        return self._on_line


@functools.cache
def _shown_file(code: CodeType) -> str | None:
    """The file of a function that is shown, from the package on; None for others."""
    try:
        file = Path(code.co_filename).relative_to(PACKAGE).as_posix()
    except ValueError:
        return None
    names = PASSES if file.startswith("nn/layers/") else SHOWN.get(file, frozenset())
    return file if code.co_name in names else None


def _moment(frame: FrameType) -> Moment:
    """A stop: the line, the line of the algorithm from which it was called, and the arrays there."""
    outer: FrameType | None = frame
    while outer is not None and _shown_file(outer.f_code) != ALGORITHM:
        outer = outer.f_back
    found = {"here": _place(frame), "values": _values(frame.f_locals)}
    if outer is not None and outer is not frame:
        found["from"] = _place(outer)
    return found


def _place(frame: FrameType) -> dict[str, Any]:
    code = frame.f_code
    return {
        "title": _title(frame),
        "place": f"minigan/{_shown_file(code)}:{frame.f_lineno}",
        "lines": _listing(code),
        "lit": frame.f_lineno,
    }


def _title(frame: FrameType) -> str:
    """The call: of a layer `D.1.Dense: forward`."""
    owner, name = frame.f_locals.get("self"), frame.f_code.co_name
    layers = owner if isinstance(owner, tuple) else (owner,)  # two that run as one
    if paths := [layer.path for layer in layers if isinstance(layer, Layer)]:
        return f"{' + '.join(paths)}: {name}"
    return name if owner is None else f"{type(owner).__name__}.{name}"


@functools.cache
def _listing(code: CodeType) -> list[tuple[int, str]]:
    """A function's lines with their numbers, without its docstring; none where its source is not kept."""
    try:
        lines, first = inspect.getsourcelines(code)
    except (OSError, TypeError):
        return []
    left = range(0)
    function = ast.parse(textwrap.dedent("".join(lines))).body[0]
    if isinstance(function, ast.FunctionDef) and ast.get_docstring(function) is not None:
        left = range(function.body[0].lineno, (function.body[0].end_lineno or 0) + 1)
    texts = textwrap.dedent("".join(lines)).splitlines()
    linecache.checkcache(code.co_filename)
    return [(first + n, text) for n, text in enumerate(texts) if n + 1 not in left]


def _values(names: dict[str, Any]) -> list[dict[str, Any]]:
    """The arrays among a call's variables, with their shapes and sizes."""
    found = []
    for name, value in names.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size:
            rms = float(np.sqrt(np.mean(np.square(value, dtype=np.float64))))
            found.append({"name": name, "shape": list(value.shape), "rms": f"{rms:.3g}"})
    return found[:MOST_VALUES]
