"""The precision of products: one word for all backends, from an argument or the environment."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from minigan.errors import ConfigError
from minigan.support.arguments import kind_of

# Of the factors of products of float32 numbers. Sums, weights, gradients, moments and statistics are float32 in each.
Precision = Literal["fp32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")
AUTO = "auto"
VARIABLE = "MINIGAN_PRECISION"

# Other libraries' words, for a hint.
_OTHER_NAMES: Mapping[str, Precision] = {
    "float32": "fp32",
    "f32": "fp32",
    "single": "fp32",
    "tensorfloat32": "tf32",
    "bfloat16": "bf16",
    "bfloat": "bf16",
}
_DOUBLE = ("float64", "fp64", "f64", "double")


def expect_precision(precision: Any, source: str = "precision") -> Precision | None:
    """The precision that is named; None for "auto" or None.

    Args:
        precision: one of `PRECISIONS`, "auto", or None.
        source: of the word, for the message: an argument's name or a variable of the environment.
    Raises:
        ConfigError: another word, or no word.
    """
    if precision is None:
        return None
    if isinstance(precision, str) and precision in (AUTO, *PRECISIONS):
        return None if precision == AUTO else cast(Precision, precision)
    names = ", ".join((AUTO, *PRECISIONS))
    raise ConfigError(f"{source} must be one of {names}, got {kind_of(precision)}. {_remedy(precision, source)}")


def environment_precision() -> Precision | None:
    """The precision that MINIGAN_PRECISION names; None if it is unset, empty or "auto".

    Raises:
        ConfigError: it names none.
    """
    return expect_precision(os.environ.get(VARIABLE) or None, VARIABLE)


def chosen_precision(
    precision: str | None,
    *,
    default: Precision,
    possible: Sequence[Precision],
    on: str,
    environment: bool = True,
) -> Precision:
    """The precision that a backend computes with.

    Args:
        precision: one of `PRECISIONS`; None or "auto" for the environment's MINIGAN_PRECISION, else the default.
        default: the backend's own choice.
        possible: those that it has.
        on: the backend or the device, for the message.
        environment: False for a backend that MINIGAN_PRECISION is not for.
    Raises:
        ConfigError: an unknown precision, or one that is not possible here.
    """
    asked, source = expect_precision(precision), "precision"
    if asked is None and environment:
        asked, source = environment_precision(), VARIABLE
    if asked is None:
        return default
    if asked not in possible:
        where, remedy = "", f"Write {_written(source, AUTO)} for {default}."
        if source == VARIABLE:
            where, remedy = f"{VARIABLE}={asked}: ", f"Unset it for {default}."
        raise ConfigError(f"{where}{on} has no {asked}: expected {' or '.join(possible)}. {remedy}")
    return asked


def _remedy(word: Any, source: str) -> str:
    lower = word.lower() if isinstance(word, str) else ""
    if lower in _DOUBLE:
        return 'Double precision is a dtype of networks: dtype="float64".'
    if near := _OTHER_NAMES.get(lower, lower if lower in PRECISIONS else None):
        return f"Did you mean {_written(source, near)}?"
    return f"Write {_written(source, AUTO)} for the default."


def _written(source: str, word: str) -> str:
    """The way to give the word there."""
    return f"{source}={word}" if source == VARIABLE else f"`{source}={word!r}`"
