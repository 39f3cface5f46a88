"""Commands of the page: read from JSON that anyone may have written, and checked."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from minigan.errors import ConfigError
from minigan.live.changes import CHANGES

__all__ = ["LARGEST", "Command", "read_command"]

LARGEST = 4096  # bytes
MOST_STEPS = 10**9


class Command(NamedTuple):
    """A command.

    Attributes:
        name: one of those below.
        value: its arguments, by name.
    """

    name: str
    value: Mapping[str, Any]


def read_command(text: bytes) -> Command:
    """A command from JSON: `{"do": "step", "side": "D"}`.

    Raises:
        ConfigError: it is none.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"expected JSON, got something else: {type(error).__name__}. Send an object.") from None
    name = found.get("do") if isinstance(found, dict) else None
    if not isinstance(name, str) or name not in _ARGUMENTS:
        raise ConfigError(f'expected {{"do": NAME}} with one of {", ".join(_ARGUMENTS)}.')
    expected = _ARGUMENTS[name]
    given = {key: value for key, value in found.items() if key != "do"}
    if unknown := sorted(given.keys() - expected.keys()):
        raise ConfigError(f"{name} takes {', '.join(expected) or 'no arguments'}, got {unknown[0]!r}.")
    for key, (words, is_sound) in expected.items():
        if not is_sound(given.get(key)):
            raise ConfigError(f"{name}: {key} must be {words}.")
    return Command(name, given)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST_STEPS


def _are_changes(value: Any) -> bool:
    return isinstance(value, dict) and 0 < len(value) <= len(CHANGES) and all(name in CHANGES for name in value)


def _are_layers(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) <= 12 and all(isinstance(name, str) and len(name) < 20 for name in value)
    )


def _is_unit(value: Any) -> bool:
    if value is None:
        return True
    named = isinstance(value, dict) and value.keys() == {"network", "layer", "sample"}
    return named and value["network"] in ("G", "D") and _is_count(value["layer"]) and _is_count(value["sample"])


_Argument = tuple[str, Callable[[Any], bool]]
_ARGUMENTS: Mapping[str, Mapping[str, _Argument]] = {
    "play": {},
    "pause": {},
    "step": {"side": ('"D", "G" or null', lambda value: value in ("D", "G", None))},
    "back": {"to": ("a step from 0 up", _is_count)},
    "slow": {},
    "next": {},
    "finish": {},
    "fast": {"stops": ("stops a second, from 0 to 60", lambda value: type(value) is int and 0 <= value <= 60)},
    "pace": {"steps": ("steps a second from 0 up, 0 for all that are possible", _is_count)},
    "set": {
        "run": ("0, 1 or null for both", lambda value: value is None or (type(value) is int and value in (0, 1))),
        "changes": (f"some of {', '.join(CHANGES)}", _are_changes),
    },
    "view": {"layers": ("a list of names", _are_layers), "unit": ("a layer of G or D, or null", _is_unit)},
    "fork": {},
    "single": {},
}
