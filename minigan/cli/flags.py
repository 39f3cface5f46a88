"""Messages in the command line's words: minigan's errors name arguments as Python writes them, between backticks.

`batch_size` becomes --batch-size, `steps=500` --steps 500, `size=64` --set size=64 (a name without a flag is a setting
of a recipe), and `minigan.open_run('runs/mlp-ring-1').resume()` minigan train --resume runs/mlp-ring-1.
"""

import ast
import re
from collections.abc import Mapping

from minigan.support.launch import RESUME
from minigan.support.words import shell_word

__all__ = ["FLAGS", "as_flags"]

FLAGS: Mapping[str, str] = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        *(
            "data",
            "targets",
            "data_b",
            "steps",
            "batch_size",
            "seed",
            "backend",
            "precision",
            "out",
            "keep",
            "best",
            "log",
        ),
        *("log_every", "sample_every", "checkpoint_every", "evaluate_every", "log_gradients"),
        *("count", "split", "features", "held_out", "quick"),
        *("seeds", "truncation", "classes", "starts", "mix", "crossover"),
    )
} | {"label": "--class", "frames": "--walk"}


def as_flags(text: str) -> str:
    """A message with what stands between backticks as flags and commands; what is neither stays as it is."""
    return re.sub(r"`([^`\n]+)`", lambda match: _spoken(match[1]) or match[0], text)


def _spoken(code: str) -> str | None:
    """A piece of Python as the command line has it, or None."""
    if code in FLAGS:
        return FLAGS[code]
    try:
        call = ast.parse(f"f({code})", mode="eval").body
    except (SyntaxError, ValueError):
        return None
    if not isinstance(call, ast.Call):
        return None
    if call.args:
        return _command(call.args[0]) if len(call.args) == 1 else None
    return _options(call)


def _command(code: ast.expr) -> str | None:
    """`minigan.open_run(RUN).resume()` or `minigan.generate(...)` as a command."""
    match code:
        case (
            ast.Call(
                func=ast.Attribute(
                    value=ast.Call(func=ast.Attribute(value=ast.Name("minigan"), attr="open_run"), args=[run]),
                    attr="resume",
                ),
            ) as call
        ):
            return f"{RESUME} {_value(run)} {_options(call)}".rstrip()
        case ast.Call(func=ast.Attribute(value=ast.Name("minigan"), attr="generate")):
            return "minigan translate RUN FOLDER"
    return None


def _options(call: ast.Call) -> str:
    """Keyword arguments as options: what is no flag is a setting of a recipe."""
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
    flags = [f"{FLAGS[name]}{_joint(value)}{_value(value)}" for name, value in given.items() if name in FLAGS]
    settings = [f"{name}={_value(value)}" for name, value in given.items() if name not in FLAGS]
    return " ".join([*flags, *(["--set", *settings] if settings else [])])


def _value(code: ast.expr) -> str:
    """A literal without Python's quotes, fit for a shell; a name, which stands for something, as it is."""
    if isinstance(code, ast.Constant) and code.value is not ...:
        return shell_word(str(code.value))
    if isinstance(code, ast.List):  # of seeds
        return ",".join(map(_value, code.elts))
    return ast.unparse(code)


def _joint(code: ast.expr) -> str:
    """The character between an option and its value: after a space, what begins with a dash would be an option."""
    return "=" if isinstance(code, ast.Constant) and str(code.value).startswith("-") else " "
