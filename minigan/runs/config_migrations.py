"""Migrations of `config.toml`: steps that bring a run's configuration of an earlier format to the next one."""

from collections.abc import Callable, Mapping
from typing import Any

from minigan.backends.precision import AUTO, PRECISIONS
from minigan.errors import CheckpointError

__all__ = ["CONFIG_FORMAT", "MIGRATIONS", "migrated"]

Table = dict[str, Any]


def _1_to_2(table: Table) -> Table:
    """Format 2 states its number, names the backends reference, cpu and gpu, and has every key.

    Format 1 named the backends after their libraries; files written early lack some keys.
    """
    names = {"numpy": "reference", "numba": "cpu", "cupy": "gpu"}
    backend = table.get("backend")
    table = _with_missing({**table, "keep": table.get("keep", {})}, "keep", {"last": 3, "best": ""})
    table = _with_missing(table, "rhythm", {"evaluate_every": 0, "log_gradients": 0})
    return {**table, "backend": names.get(backend, backend)} if isinstance(backend, str) else table


def _2_to_3(table: Table) -> Table:
    """Format 3 names the logs that a run writes for other programs."""
    return {"log": [], **table}


def _3_to_4(table: Table) -> Table:
    """Format 4 names the precision of products.

    Before it, the GPU's was the last word of the engine's text, and the CPU had one.
    """
    engine, last = table.get("engine"), ""
    if isinstance(engine, str):
        last = engine.rpartition(", ")[2]
    on_cpu = table.get("backend") in ("reference", "cpu")
    return {"precision": last if last in PRECISIONS else "fp32" if on_cpu else AUTO, **table}


def _with_missing(table: Table, name: str, defaults: Table) -> Table:
    """The table, with the missing keys of one of its inner tables added.

    Args:
        name: of the inner table.
        defaults: for each key, the value with which the run does what it did before the key existed.
    """
    inner = table.get(name)
    return {**table, name: {**defaults, **inner}} if isinstance(inner, dict) else table


# The first step leads from format 1 to format 2, the second from 2 to 3, and so on. Steps are pure functions and run
# before keys are checked. A recipe's new setting needs no step: a missing setting has its default, or its value in the
# recipe's `before` if the default would change something.
MIGRATIONS: tuple[Callable[[Table], Table], ...] = (_1_to_2, _2_to_3, _3_to_4)
CONFIG_FORMAT = 1 + len(MIGRATIONS)


def migrated(table: Mapping[str, Any], *, source: str) -> Table:
    """A configuration's table in the latest format, without the format's number.

    Args:
        source: the file, for error messages.
    Raises:
        CheckpointError: its format is newer, or not a number.
    """
    table = dict(table)
    number = table.pop("format", 1)
    if type(number) is not int or number < 1:
        raise CheckpointError(
            f"{source}: 'format' must be a whole number from 1 up, got {number!r}. Put the file back as it was."
        )
    if number > CONFIG_FORMAT:
        raise CheckpointError(
            f"{source}: expected format {CONFIG_FORMAT} or an earlier one, found {number}. A newer minigan wrote it: "
            "update minigan."
        )
    for step in MIGRATIONS[number - 1 :]:
        table = step(table)
    return table
