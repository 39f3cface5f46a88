"""Comparisons that a run makes before it resumes from a checkpoint."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minigan.checkpoints.format import versions
from minigan.errors import CheckpointError

__all__ = ["check_model", "checked_rng", "items_warning", "log_lines", "log_until", "logged", "versions_warning"]


def check_model(made: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Raises CheckpointError unless a checkpoint's model is the one to be trained.

    A setting that is newer than the checkpoint is missing in it, and is not compared; nor is what grown data change.
    """
    was, said = _flat(made), _flat(wanted)
    differing = sorted(key for key in was if was[key] != said.get(key) and key not in ("extent", "unseen"))
    if differing == ["shape"]:
        raise CheckpointError(
            f"{path} was made with items of shape {tuple(was['shape'])}, the data have {tuple(said['shape'])}. "
            "Resume with `data=SOURCE` of the same shape."
        )
    if differing:
        raise CheckpointError(
            f"{path} was made with {', '.join(f'{key}={was.get(key)}' for key in differing)}, the run's "
            f"config.toml says {', '.join(f'{key}={said.get(key)}' for key in differing)}. Restore config.toml."
        )


def checked_rng(state: dict[str, Any], rng: np.random.Generator, path: Path) -> dict[str, Any]:
    """The state, once the generator has taken it.

    Raises:
        CheckpointError: it is not a state of the generator's kind.
    """
    try:
        type(rng.bit_generator)().state = state
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise CheckpointError(f"{path}: 'rng' is not a state of random numbers ({error!r}). Use another.") from None
    return state


def log_until(path: Path, step: int) -> bytes | None:
    """The lines of a log up to a step, without those of later steps and without damaged ones; None if there is none.

    Raises:
        CheckpointError: the log cannot be read.
    """
    lines = log_lines(path)
    if lines is None:
        return None
    return b"".join(line + b"\n" for line in lines if (record := logged(line)) and record["step"] <= step)


def log_lines(path: Path) -> list[bytes] | None:
    """The lines of a log; None if there is none.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}. Move it out of the way.") from None


def items_warning(before: int, now: int) -> str | None:
    """A warning if the data have another number of items than before."""
    if before == now:
        return None
    return f"the data had {before:,} items and now have {now:,}; from here on their order is new."


def versions_warning(made: Mapping[str, Any]) -> str | None:
    """A warning if a checkpoint was written by other versions.

    Args:
        made: the versions that wrote it, by name; empty in a checkpoint of format 1.
    """
    now = versions()
    was = [f"{name} {made[name]}" for name in now if made.get(name, now[name]) != now[name]]
    if not was:
        return None
    known = ", ".join(f"{name} {version}" for name, version in now.items())
    return f"the checkpoint was written with {', '.join(was)}, this is {known}; the last bits may differ from here on."


def _flat(model: dict[str, Any]) -> dict[str, Any]:
    """A model's description with its settings among its other keys."""
    return {key: value for key, value in model.items() if key != "settings"} | dict(model["settings"])


def logged(line: bytes) -> dict[str, Any]:
    """The record in a line of the log; an empty one if the line is damaged, or has no step."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and type(record.get("step")) is int else {}
