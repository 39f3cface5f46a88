"""The precision of products: one word for all backends, from an argument or the environment."""

import os
from collections.abc import Sequence
from typing import Literal

from minigan.errors import ConfigError
from minigan.support.arguments import kind_of

# Of the factors of products of float32 numbers. Sums, weights, gradients, moments and statistics are float32 in each.
Precision = Literal["fp32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16")
AUTO = "auto"
VARIABLE = "MINIGAN_PRECISION"


def chosen_precision(precision: str | None, *, default: Precision, possible: Sequence[Precision], on: str) -> Precision:
    """The precision that a backend computes with.

    Args:
        precision: one of `PRECISIONS`; None or "auto" for the environment's MINIGAN_PRECISION, else the default.
        default: the backend's own choice.
        possible: those that it has.
        on: the backend or the device, for the message.
    Raises:
        ConfigError: an unknown precision, or one that is not possible here.
    """
    source = "precision"
    if precision in (None, AUTO):
        precision, source = os.environ.get(VARIABLE) or AUTO, VARIABLE
    if precision == AUTO:
        return default
    names = ", ".join((AUTO, *PRECISIONS))
    if precision not in PRECISIONS:
        found = repr(precision) if isinstance(precision, str) else kind_of(precision)
        raise ConfigError(f"{source} must be one of {names}, got {found}. Write {AUTO!r} for the default.")
    if precision not in possible:
        raise ConfigError(f"{on} has no {precision}: expected {' or '.join(possible)}. Write {AUTO!r} for {default}.")
    return precision
