"""Checkpoints and models: safetensors files with a JSON description, never pickle.

A file's tensors are named `G.3.w`, `G.state.1.running_mean`, `d_optimizer.m` and so on; its one metadata entry,
`minigan`, is a JSON object whose `format` says what the file is.
"""

import contextlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from minigan.errors import CheckpointError
from minigan.files import atomic_write, make_folder, remove_stale
from minigan.layers.base import Layer

__all__ = [
    "DTYPES",
    "MODEL_FORMAT",
    "CheckpointFolder",
    "load_arrays",
    "load_model",
    "load_network",
    "network_arrays",
    "save_arrays",
]

Arrays = dict[str, np.ndarray]

MODEL_FORMAT = "minigan-model/1"
DTYPES = ("float32", "float64")


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, description: Mapping[str, Any]) -> None:
    """Writes a safetensors file, whole or not at all.

    Args:
        description: what JSON can hold; has the key `format`.
    """
    content = safetensors.numpy.save(dict(arrays), metadata={"minigan": json.dumps(description)})
    atomic_write(path, content)


def load_arrays(path: Path, *, format: str) -> tuple[Arrays, dict[str, Any]]:
    """The arrays and the description of a file that `save_arrays` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, or not of that format.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            description = json.loads((file.metadata() or {}).get("minigan", "null"))
    # numbers that NumPy lacks, such as bfloat16, are a TypeError or an AttributeError
    except (OSError, safetensors.SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"cannot read {path}: {error}. It is damaged, or no file that minigan wrote: choose another."
        ) from None
    found = description.get("format") if isinstance(description, dict) else None
    if found != format:
        raise CheckpointError(f"{path}: expected a file of format {format!r}, found {found!r}.")
    return arrays, description


def load_model(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """A generator's arrays and description.

    Raises:
        CheckpointError: the file is missing, damaged, or not of a generator; names the key that is wrong.
    """
    arrays, description = load_arrays(path, format=MODEL_FORMAT)
    _check({"classes": [], **description}, {"step": _STEP, "classes": _NAMES, **_MODEL}, source=str(path))
    return arrays, description


Rule = tuple[str, Callable[[Any], bool]]  # what is expected, in words, and whether a value is that

_STEP: Rule = ("a whole number from 0 up", lambda value: type(value) is int and value >= 0)
_NAMES: Rule = (
    "a list of names",
    lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
)
_OBJECT: Rule = ("an object", lambda value: isinstance(value, dict))
_MODEL: Mapping[str, Rule] = {
    "recipe": ("a string", lambda value: isinstance(value, str)),
    "settings": _OBJECT,
    "shape": ("[2] or [H, W, C]", lambda value: value == [2] or _is_image_shape(value)),
    "dtype": (f"one of {', '.join(DTYPES)}", lambda value: value in DTYPES),
    "extent": (
        "a positive number",
        lambda value: type(value) in (int, float) and 0 < value < math.inf,
    ),
}
_CHECKPOINT: Mapping[str, Rule] = {"step": _STEP, "rng": _OBJECT, "loader": _OBJECT, "model": _OBJECT}


def _is_image_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(n) is int and n > 0 for n in value)


def _check(description: Mapping[str, Any], rules: Mapping[str, Rule], *, source: str) -> None:
    for key, (expected, fits) in rules.items():
        if key not in description:
            raise CheckpointError(f"{source} lacks {key!r}. It is damaged: choose another.")
        if not fits(description[key]):
            raise CheckpointError(
                f"{source}: {key!r} must be {expected}, got {description[key]!r}. It is damaged: choose another."
            )


def network_arrays(network: Layer, prefix: str) -> Arrays:
    """A network's parameters as `prefix.3.w` and its state as `prefix.state.4.running_mean`."""
    parameters = {f"{prefix}.{name}": array for name, array in network.arena.to_dict().items()}
    return parameters | {f"{prefix}.state.{name}": array for name, array in network.state.to_dict().items()}


def load_network(network: Layer, arrays: Mapping[str, np.ndarray], prefix: str, *, source: str) -> None:
    """Overwrites a network's parameters and state with what `network_arrays` gave.

    Raises:
        CheckpointError, ShapeError, DTypeError: the arrays are of another network.
    """
    state = select(arrays, f"{prefix}.state")
    own = select(arrays, prefix)
    network.state.load_dict(state, source=source)
    network.arena.load_dict({n: a for n, a in own.items() if not n.startswith("state.")}, source=source)


def select(arrays: Mapping[str, np.ndarray], prefix: str) -> Arrays:
    """The arrays whose names start with `prefix.`, without it."""
    return {name.removeprefix(f"{prefix}."): a for name, a in arrays.items() if name.startswith(f"{prefix}.")}


_NAME = re.compile(r"step-\d+\.safetensors", re.ASCII)


class CheckpointFolder:
    """The last few checkpoints of a run, one file a step.

    Args:
        folder: created when the first checkpoint is written.
        keep: how many stay; older ones are removed after a newer one is safely there.
    """

    FORMAT = "minigan-checkpoint/1"

    def __init__(self, folder: Path, *, keep: int = 3) -> None:
        self.folder = folder
        self.keep = keep

    def paths(self) -> list[Path]:
        """The checkpoints, oldest first."""
        found = [path for path in self.folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name)]
        return sorted((path for path in found if path.is_file()), key=lambda path: (len(path.name), path.name))

    def save(self, step: int, arrays: Mapping[str, np.ndarray], *, description: Mapping[str, Any]) -> Path:
        """Writes the checkpoint of a step, and removes the oldest ones that are too many.

        Args:
            description: what JSON can hold, beside the step and the format.
        Returns:
            Its path.
        Raises:
            OutputError: it cannot be written; older ones are as they were.
        """
        make_folder(self.folder)
        remove_stale(self.folder, "step-*.safetensors")
        path = self.folder / f"step-{step:08}.safetensors"
        save_arrays(path, arrays, description={"format": self.FORMAT, "step": step, **description})
        for old in self.paths()[: -self.keep]:
            with contextlib.suppress(OSError):  # one too many does no harm
                old.unlink()
        return path

    def load_last(self) -> tuple[Path, Arrays, dict[str, Any]]:
        """The newest checkpoint.

        Raises:
            CheckpointError: there is none, or it is damaged; then an older one is named.
        """
        paths = self.paths()
        if not paths:
            raise CheckpointError(f"no checkpoint in {self.folder}. Name a run folder that training has written to.")
        try:
            arrays, description = load_arrays(paths[-1], format=self.FORMAT)
            _check(description, _CHECKPOINT, source=str(paths[-1]))
            _check(description["model"], _MODEL, source=f"{paths[-1]}, 'model'")
        except CheckpointError as error:
            older = f" Remove it to go on from {paths[-2].name}." if len(paths) > 1 else ""
            raise CheckpointError(f"{error}{older}") from None
        return paths[-1], arrays, description
