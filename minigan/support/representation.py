"""Texts for a Python prompt: an object as the call that makes it, never the numbers of an array."""

import contextlib
import inspect
import os
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import Any

__all__ = ["brief", "constructor_call", "duration", "fields", "memory_size", "printable", "python_text", "short_path"]

_MISSING = object()
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control codes, surrogates, line and paragraph separators


def constructor_call(
    item: object,
    *,
    leave_out: Collection[str] = (),
    elide: Collection[str] = (),
    always: Collection[str] = (),
    defaults: bool = False,
) -> str:
    """The call that makes an object of this kind: `Conv2D(64, 3, stride=2)`.

    Each argument is read from the attribute of its name; an argument without one is left out.

    Args:
        item: an object that keeps its constructor's arguments.
        leave_out: arguments that do not matter here.
        elide: arguments that are shown as `...`.
        always: arguments that are shown at their defaults, too.
        defaults: show numbers that are at their defaults, too; otherwise only what differs from them.
    """
    shown = []
    for name, parameter in inspect.signature(type(item)).parameters.items():
        if name in elide:
            shown.append("...")
            continue
        value = getattr(item, name, _MISSING) if name not in leave_out else _MISSING
        if value is _MISSING:
            continue
        usual = parameter.default is not parameter.empty and _same(value, parameter.default)
        if usual and name not in always and not (defaults and isinstance(value, int | float)):
            continue
        positional = parameter.kind is not parameter.KEYWORD_ONLY and parameter.default is parameter.empty
        shown.append(brief(value) if positional else f"{name}={brief(value)}")
    return f"{type(item).__name__}({', '.join(shown)})"


def fields(item: Any) -> str:
    """A named tuple or a dataclass with each field in brief: the `__repr__` of one that holds arrays."""
    names = getattr(item, "_fields", None) or tuple(item.__dataclass_fields__)
    return f"{type(item).__name__}({', '.join(f'{name}={brief(getattr(item, name))}' for name in names)})"


def brief(value: Any) -> str:
    """A value in a few characters: an array as its shape and dtype, a function or a class as its name.

    An object with a method `call_text` has that written in its place.
    """
    if inspect.isroutine(value) or inspect.isclass(value):
        return str(value.__name__)
    if hasattr(value, "call_text"):
        return str(value.call_text())
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{float(value):.6g}" if value.shape == () else f"<{value.dtype} {tuple(value.shape)}>"
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        both_sides = _one_of_both(value)
        return (
            brief(both_sides)
            if both_sides is not value
            else f"({', '.join(map(brief, value))}{',' * (len(value) == 1)})"
        )
    if isinstance(value, tuple):
        return _named_tuple(value)
    if isinstance(value, list):
        return f"[{', '.join(map(brief, value))}]"
    return repr(value)


def _named_tuple(value: Any) -> str:
    """A named tuple without the fields that are at their defaults."""
    usual = value._field_defaults
    items = [(name, getattr(value, name)) for name in value._fields]
    shown = [f"{name}={brief(item)}" for name, item in items if not (name in usual and _same(item, usual[name]))]
    return f"{type(value).__name__}({', '.join(shown)})"


def memory_size(nbytes: int) -> str:
    """A number of bytes for people: `12.3 MB`."""
    return f"{nbytes / 1e6:,.1f} MB" if nbytes >= 1e5 else f"{nbytes / 1e3:,.1f} kB"


def duration(seconds: float) -> str:
    """A time in words: `2 min 5 s`."""
    if seconds < 1:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((index for index, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def printable(text: str) -> str:
    """A text, such as a file's name, as one line that can be printed: bytes that are no UTF-8, line ends and control
    codes are escaped.
    """
    unsafe = any(unicodedata.category(letter) in UNPRINTABLE for letter in text)
    return "".join(map(_escaped, text)) if unsafe else text


def _escaped(letter: str) -> str:
    if unicodedata.category(letter) not in UNPRINTABLE:
        return letter
    byte = ord(letter) - 0xDC00  # of a name that is no UTF-8, as os.fsdecode keeps it
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else letter.encode("unicode_escape").decode()


def short_path(path: Path) -> str:
    """A path as seen from the present folder, if it lies in it; otherwise as it is.

    What begins with a dash has `./` before it, since a command would take it for an option; what begins with `~`, which
    is the home folder, is absolute.
    """
    text = str(path)
    with contextlib.suppress(ValueError, OSError):  # elsewhere, or the present folder was removed
        text = str(path.relative_to(Path.cwd()))
    with contextlib.suppress(OSError):
        text = os.path.abspath(text) if text.startswith("~") else text
    return os.path.join(os.curdir, text) if text.startswith("-") else text


def python_text(value: object) -> str:
    r"""A path or a name as Python has it, for code between backticks: a backtick in it is `\x60`."""
    return repr(str(value)).replace("`", "\\x60")


def _same(value: Any, default: Any) -> bool:
    """Whether an attribute is its argument's default; `1` may be kept as `(1, 1)`."""
    try:
        return value is default or bool(_one_of_both(value) == default)
    except ValueError:  # of arrays, which compare number by number
        return False


def _one_of_both(value: Any) -> Any:
    """`3` for the pair `(3, 3)` of an image's two directions."""
    if isinstance(value, tuple) and len(value) == 2 and all(type(v) is int for v in value) and value[0] == value[1]:
        return value[0]
    return value
