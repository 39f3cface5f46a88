"""Saving and loading the parts of a training loop of your own, in one file.

A part is anything that training changes: a network, an optimizer, a moving average, or an `AlternatingOptimizer` with
all of these in it. Other values, such as the step and the state of the random numbers, are notes.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from minigan.checkpoints.format import load_arrays, load_network, network_arrays, save_arrays, select
from minigan.checkpoints.migrations import latest
from minigan.errors import CheckpointError, ConfigError, MiniganError
from minigan.nn.layers.base import Layer
from minigan.support.arguments import kind_of

__all__ = ["FORMAT", "Stateful", "load", "save"]

FORMAT = latest("minigan-state")


class Stateful(Protocol):
    """Parts other than networks that can be saved: optimizers, learners, moving averages, pools of fakes."""

    def to_dict(self) -> dict[str, np.ndarray]:
        """All arrays that training has changed, by name."""

    def load_dict(self, arrays: Mapping[str, np.ndarray], *, source: str = ...) -> None:
        """Restores arrays of `to_dict`, or raises a MiniganError."""


Part = Layer | Stateful


def save(path: str | os.PathLike[str], parts: Mapping[str, Part], *, notes: Mapping[str, Any] | None = None) -> None:
    """Writes a safetensors file, whole or not at all.

    Args:
        parts: by names of your own, without dots: `{"gan": gan}`, or `{"G": G, "D": D, "g_optimizer": g_optimizer}`.
        notes: an object for JSON: `{"step": step, "rng": rng.bit_generator.state}`.
    Raises:
        ConfigError: a name has a dot in it, or JSON cannot hold a note.
        NotBuiltError: a network has no weights yet.
        OutputError: the file cannot be written.
    """
    _expect_parts("save", path, parts)
    arrays: dict[str, np.ndarray] = {}
    for name, part in parts.items():
        if "." in name:
            raise ConfigError(f"expected a name without dots for each part, got {name!r}. Choose another.")
        arrays |= _arrays(name, part)
    if not isinstance(notes, Mapping | None):
        raise ConfigError(f'save: notes must be a dict, got {kind_of(notes)}. Write notes={{"step": step}}.')
    description = {"format": FORMAT, "parts": list(parts), "notes": dict(notes or {})}
    try:
        save_arrays(Path(path), arrays, description=description)
    except TypeError as error:  # JSON's
        raise ConfigError(f"expected notes that JSON can hold: {error}. Convert it, or save it elsewhere.") from None


def load(path: str | os.PathLike[str], parts: Mapping[str, Part]) -> dict[str, Any]:
    """Overwrites parts with those that `save` wrote under their names; others in the file are ignored.

    Args:
        parts: like those that were saved, networks built, on any backend. `{"gan.G": G}` is the G of a part `gan`.
    Returns:
        The notes.
    Raises:
        CheckpointError, ShapeError, DTypeError: the file is missing or damaged, or holds other parts. Then nothing is
            overwritten.
    """
    _expect_parts("load", path, parts)
    arrays, description = load_arrays(Path(path), format=FORMAT)
    held, notes = description.get("parts"), description.get("notes")
    if not (isinstance(held, list) and all(isinstance(name, str) for name in held) and isinstance(notes, dict)):
        raise CheckpointError(f"{path}: expected a list of parts and an object of notes. Choose another file.")
    if missing := [name for name in parts if name.partition(".")[0] not in held]:
        raise CheckpointError(
            f"{path} has no {', '.join(missing)}, but {', '.join(map(str, held))}. Name some of these."
        )
    before = {name: select(_arrays(name, part), name) for name, part in parts.items()}
    try:
        for name, part in parts.items():
            _overwrite(part, select(arrays, name), source=f"{path}, {name}")
    except MiniganError:
        for name, part in parts.items():
            _overwrite(part, before[name], source="the state before loading")
        raise
    return notes


def _expect_parts(function: str, path: Any, parts: Any) -> None:
    """Refuses arguments of other kinds.

    Raises:
        ConfigError: the path is no path, or the parts are no dict of what can be saved.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(
            f'{function}: expected a path first, got {kind_of(path)}. Write {function}("gan.safetensors", {{"G": G}}).'
        )
    if not isinstance(parts, Mapping):
        name = parts.path if isinstance(parts, Layer) and parts.path.isidentifier() else "gan"
        raise ConfigError(
            f"{function}: expected a dict of parts, got {kind_of(parts)}. "
            f'Write {function}("{os.fspath(path)}", {{"{name}": {name}}}).'
        )
    for name, part in parts.items():
        if not isinstance(name, str):
            raise ConfigError(f"{function}: expected names of parts as keys, got {kind_of(name)}. Write a string.")
        if not name:
            raise ConfigError(f'{function}: expected a name for each part, got an empty one. Write {{"G": G}}.')
        if isinstance(part, type) or not (isinstance(part, Layer) or hasattr(part, "to_dict")):
            raise ConfigError(
                f"{function}: {name!r} must be a network, an optimizer, a learner or a moving average, got "
                f"{kind_of(part)}. Numbers and states of generators go into notes=."
            )


def _arrays(name: str, part: Part) -> dict[str, np.ndarray]:
    if isinstance(part, Layer):
        return network_arrays(part, name)
    return {f"{name}.{key}": array for key, array in part.to_dict().items()}


def _overwrite(part: Part, arrays: Mapping[str, np.ndarray], *, source: str) -> None:
    if isinstance(part, Layer):
        load_network(part, {f"net.{key}": array for key, array in arrays.items()}, "net", source=source)
    else:
        part.load_dict(arrays, source=source)
