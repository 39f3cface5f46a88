"""Checks of arguments that constructors and functions share, each with one line that says what to write."""

import difflib
import inspect
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from minigan.errors import ConfigError, ShapeError

__all__ = [
    "as_integer",
    "as_number",
    "call_of_class",
    "did_you_mean",
    "flag",
    "instance",
    "is_whole",
    "kind_of",
    "nearest_name",
    "number",
    "object_remedy",
    "path",
    "path_text",
    "shape_of",
    "whole",
]


def whole(value: Any, name: str, *, of: str = "", least: int = 1, remedy: str = "") -> int:
    """The value, if it is an integer from `least` up.

    Args:
        name: the argument's.
        of: whose argument it is, a layer's path.
        remedy: what to do instead, a sentence.
    Raises:
        ConfigError: it is something else, or too small.
    """
    ok = is_whole(value)
    if ok and value >= least:
        return int(value)
    expected = "a positive integer" if least == 1 else f"an integer from {least} up"
    if not ok and not remedy:
        remedy = as_integer(value, name)
    raise ConfigError(f"{_owner(of)}{name} must be {expected}, got {kind_of(value)}.{_sentence(remedy)}")


def shape_of(value: Any, name: str, *, of: str, example: tuple[int, ...], empty: bool = False) -> tuple[int, ...]:
    """The value as a shape, if it is a tuple or list of positive integers.

    Args:
        example: a shape to write in its place.
        empty: whether () is one.
    Raises:
        ShapeError: it is something else.
    """
    sides = tuple(value) if isinstance(value, tuple | list) else ()
    if all(is_whole(n) and n > 0 for n in sides) and (sides or (empty and isinstance(value, tuple | list))):
        return tuple(int(n) for n in sides)
    whole_numbers = all(is_whole(n) or (isinstance(n, float) and n.is_integer()) for n in sides)
    written = tuple(int(n) for n in sides) if sides and whole_numbers and min(sides) > 0 else example
    if is_whole(value) and value > 0:
        written = (int(value),)
    raise ShapeError(
        f"{of}: {name} must be a tuple of positive integers without the batch axis, got {kind_of(value)}. "
        f"Write {name}={written}."
    )


def flag(value: Any, name: str, *, of: str = "") -> bool:
    """The value, if it is True or False.

    Raises:
        ConfigError: it is something else, such as a string, which is true whatever it says.
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise ConfigError(
        f"{_owner(of)}{name} must be True or False, got {kind_of(value)}. Write {name}=True or {name}=False."
    )


def number(
    value: Any,
    name: str,
    *,
    of: str = "",
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
    remedy: str = "",
) -> float:
    """The value, if it is a number within the limits: `above < value < below` and `least <= value <= most`.

    Raises:
        ConfigError: it is something else, or out of range. NaN is in no range.
    """
    ok = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if ok and above < value < below and least <= value <= most:
        return float(value) if not isinstance(value, int) else value
    remedy = remedy or as_number(value, name)
    raise ConfigError(
        f"{_owner(of)}{name} must be {_range(above, least, below, most)}, got {kind_of(value)}.{_sentence(remedy)}"
    )


def instance(
    value: Any, kinds: Any, name: str, *, a: str, example: str, of: str = "", named: Mapping[str, Any] | None = None
) -> Any:
    """The value, if it is an object of one of the kinds.

    Args:
        kinds: a class, or several.
        a: the kinds in words: `a loss`.
        example: what to write for such an argument.
        named: objects or classes by name; if the value is such a name, the remedy shows what to write.
    Raises:
        ConfigError: it is something else, a class or a name.
    """
    if isinstance(value, kinds):
        return value
    remedy = object_remedy(value, name, example=example, named=named)
    raise ConfigError(f"{_owner(of)}{name} must be {a}, got {kind_of(value)}. {remedy}")


def path(value: Any, name: str, *, remedy: str = "") -> Path:
    """The value as a `Path`, if it is a path that a file can have. A leading `~` is the home folder.

    Args:
        name: the argument's.
        remedy: what to write instead, a sentence.
    Raises:
        ConfigError: it is something else, empty, or has the character NUL.
    """
    if text := path_text(value):
        return Path(text)
    remedy = remedy or f"Write {name}='FOLDER'."
    raise ConfigError(f"{name} must be a path, got {kind_of(value)}. {remedy}")


def path_text(value: Any) -> str:
    """A path as text, with the home folder for a leading `~`; "" for what no file can be named."""
    text = os.fsdecode(value) if isinstance(value, str | os.PathLike) else ""
    return "" if "\0" in text else os.path.expanduser(text)


def object_remedy(value: Any, name: str, *, example: str, named: Mapping[str, Any] | None = None) -> str:
    """The remedy for a class, a name or something else in place of an object: `Write loss=Hinge().`"""
    if isinstance(value, str) and named and value in named:
        value = named[value]
        if not isinstance(value, type):
            return f"Write {name}={value!r}."
    if not isinstance(value, type):
        return f"Write {name}={example}."
    call = call_of_class(value)
    needs_arguments = call.endswith("(...)")
    return f"Write {name}={example if needs_arguments and example.startswith(f'{value.__name__}(') else call}."


def call_of_class(kind: type) -> str:
    """The call that makes an object of a class: `Tanh()`, or `Dense(...)` if it needs arguments."""
    needed = [p for p in inspect.signature(kind).parameters.values() if p.default is p.empty]
    return f"{kind.__name__}({'...' if needed else ''})"


def as_integer(value: Any, name: str) -> str:
    """The remedy for a float or a string that stands for an integer: `Write channels=64.`"""
    try:
        near = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return ""
    return f"Write {name}={near}." if near == float(value) and not isinstance(value, bool) else ""


def as_number(value: Any, name: str) -> str:
    """The remedy for a number that is written as a string: `Write lr=1e-4.`; nothing for other values."""
    try:
        float(value if isinstance(value, str) else "")
    except ValueError:
        return ""
    return f"Write {name}={value}."


def nearest_name(value: Any, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The known name that was probably meant by an unknown one; None if no known name is like it.

    Args:
        likeness: the least share of equal letters, in [0, 1].
    """
    if not isinstance(value, str):
        return None
    return next(iter(difflib.get_close_matches(value.strip().lower(), [*known], n=1, cutoff=likeness)), None)


def did_you_mean(value: Any, known: Iterable[str]) -> str:
    """A hint after a name that is unknown: ` Did you mean hinge?`; nothing if no known name is like it."""
    near = nearest_name(value, known)
    return f" Did you mean {near}?" if near else ""


def kind_of(value: Any) -> str:
    """A value as error messages quote it: numbers and text as they are, of everything else its kind."""
    if value is None or isinstance(value, bool | int | float | np.number):
        return str(value)
    if isinstance(value, str):
        return repr(value) if len(value) <= 40 else f"a string of {len(value)} characters"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array {tuple(value.shape)} of {value.dtype}"
    if isinstance(value, tuple | list):
        short = len(value) <= 4 and all(isinstance(item, int | float | str | None) for item in value)
        return repr(value) if short else f"a {type(value).__name__} of {len(value)}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def is_whole(value: object) -> TypeGuard[int | np.integer[Any]]:
    """Whether a value is an integer, of Python's or NumPy's; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _range(above: float, least: float, below: float, most: float) -> str:
    low, high = max(above, least), min(below, most)
    if (low, high) == (-math.inf, math.inf):
        return "a finite number"
    if high == math.inf:
        return (
            "positive"
            if above == 0
            else f"a finite number {'above' if above > least else 'from'} {low:g}" + ("" if above > least else " up")
        )
    return f"in {'(' if above >= least else '['}{low:g}, {high:g}{')' if below <= most else ']'}"


def _owner(of: str) -> str:
    return f"{of}: " if of else ""


def _sentence(text: str) -> str:
    return f" {text}" if text else ""
