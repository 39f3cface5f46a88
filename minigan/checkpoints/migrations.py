"""Migrations: steps that bring a file of an earlier format to the next one.

A file's format is a kind and a number, `minigan-checkpoint/2`. Files are written with the latest number. A file that is
read passes through the steps from its own number on, so that the other code knows the latest format only.
docs/checkpoints.md says how to add a step.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["MIGRATIONS", "Migration", "is_newer", "latest", "migrated"]

Arrays = dict[str, np.ndarray]
Description = dict[str, Any]
Migration = Callable[[Arrays, Description], tuple[Arrays, Description]]


def _checkpoint_1_to_2(arrays: Arrays, description: Description) -> tuple[Arrays, Description]:
    """Format 2 keeps the `versions` that wrote the file and the text of `config.toml`; in format 1 both are unknown."""
    return arrays, {"versions": {}, "config": "", **description}


# By kind: the first step leads from format 1 to format 2, the second one from 2 to 3. They are pure, and run before
# the description's keys are checked: a key that a step needs may be missing.
MIGRATIONS: Mapping[str, tuple[Migration, ...]] = {
    "minigan-checkpoint": (_checkpoint_1_to_2,),
    "minigan-model": (),
    "minigan-state": (),
}


def latest(kind: str) -> str:
    """The format that files of a kind are written in."""
    return f"{kind}/{len(MIGRATIONS[kind]) + 1}"


def migrated(arrays: Arrays, description: Description) -> tuple[Arrays, Description]:
    """Arrays and description as the latest format of their kind has them; of an unknown format, as they are."""
    kind, _, number = str(description.get("format")).rpartition("/")
    steps = MIGRATIONS.get(kind, ())
    if number not in map(str, range(1, len(steps) + 1)):  # compared as text: int() refuses one of thousands of digits
        return arrays, description
    for step in steps[int(number) - 1 :]:
        arrays, description = step(arrays, description)
    return arrays, {**description, "format": latest(kind)}


def is_newer(found: Any, known: str) -> bool:
    """Whether a format is a later one of the same kind as the one that is known."""
    kind, _, number = found.rpartition("/") if isinstance(found, str) else ("", "", "")
    known_kind, _, known_number = known.rpartition("/")
    return kind == known_kind and number.isdecimal() and (len(number), number) > (len(known_number), known_number)
