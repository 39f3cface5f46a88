"""Rules for the keys of a file: descriptions of checkpoints and models, and the tables of a run's config.toml."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from minigan.errors import CheckpointError

__all__ = ["COUNT", "FROM_ZERO", "NAMES", "NUMBERS", "OBJECT", "TEXT", "Rule", "check", "one_of"]


class Rule(NamedTuple):
    """Values that a key may have.

    Attributes:
        expected: in words, for the error message.
        fits: whether a value is one of them.
    """

    expected: str
    fits: Callable[[Any], bool]


def one_of(*names: str) -> Rule:
    """One of these strings."""
    return Rule(f"one of {', '.join(names)}", lambda value: value in names)


TEXT = Rule("a string", lambda value: isinstance(value, str))
OBJECT = Rule("an object", lambda value: isinstance(value, dict))
FROM_ZERO = Rule("a whole number from 0 up", lambda value: type(value) is int and value >= 0)
COUNT = Rule("a whole number from 1 up", lambda value: type(value) is int and value >= 1)
NAMES = Rule("a list of names", lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value))
NUMBERS = Rule(
    "a list of whole numbers from 0 up",
    lambda value: isinstance(value, list) and all(type(number) is int and number >= 0 for number in value),
)


def check(
    values: Mapping[str, Any],
    rules: Mapping[str, Rule],
    *,
    source: str,
    remedy: str,
    prefix: str = "",
    closed: bool = False,
) -> None:
    """Raises CheckpointError unless every key is there and keeps its rule.

    Args:
        source: where the values are from, for the error message.
        remedy: the last sentence of the error message.
        prefix: stands before each key in the error message: "rhythm.".
        closed: whether keys without a rule are errors.
    """
    for key, (expected, fits) in rules.items():
        if key not in values:
            raise CheckpointError(f"{source} lacks {prefix + key!r}. {remedy}")
        if not fits(values[key]):
            raise CheckpointError(f"{source}: {prefix + key!r} must be {expected}, got {values[key]!r}. {remedy}")
    for key in values if closed else ():
        if key not in rules:
            raise CheckpointError(f"{source} has an unknown key {prefix + key!r}. {remedy}")
