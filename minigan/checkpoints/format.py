"""Checkpoints and models: safetensors files with a JSON description, never pickle.

A file's tensors are named `G.3.w`, `G.state.1.running_mean`, `d_optimizer.m` and so on; its one metadata entry,
`minigan`, is a JSON object whose first key, `sha256`, betrays a file that is not as it was written, and whose `format`
names its kind and layout. Files of earlier formats are read by way of `migrations`. docs/checkpoints.md has the layout.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

import minigan
from minigan.checkpoints.migrations import is_newer, latest, migrated
from minigan.checkpoints.narrow import STORED, widened
from minigan.checkpoints.rules import FROM_ZERO, NAMES, NUMBERS, OBJECT, TEXT, Rule, check, one_of
from minigan.errors import CheckpointError
from minigan.nn.layers.base import Layer
from minigan.support.durable_files import atomic_write

__all__ = [
    "CHECKPOINT_FORMAT",
    "DTYPES",
    "MODEL_FORMAT",
    "load_arrays",
    "load_checkpoint",
    "load_model",
    "load_network",
    "network_arrays",
    "save_arrays",
    "versions",
]

Arrays = dict[str, np.ndarray]

MODEL_FORMAT = latest("minigan-model")
CHECKPOINT_FORMAT = latest("minigan-checkpoint")
DTYPES = ("float32", "float64")


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, description: Mapping[str, Any]) -> None:
    """Writes a safetensors file, whole or not at all.

    Args:
        description: an object for JSON, with the key `format`.
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # others it would scramble
    whole = {"sha256": _digest(contiguous, description), **description}
    atomic_write(path, safetensors.numpy.save(contiguous, metadata={"minigan": json.dumps(whole)}))


def load_arrays(path: Path, *, format: str | Sequence[str]) -> tuple[Arrays, dict[str, Any]]:
    """The arrays and the description of a file that `save_arrays` wrote; an earlier format becomes the latest.

    Args:
        format: the latest one of the file's kind, or of each kind that it may be.
    Raises:
        CheckpointError: the file is missing, damaged in a single bit, or not of that format.
    """
    if not path.is_file():
        reason = "it is a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"cannot read {path}: {reason}. Name a file that minigan wrote.")
    try:
        open(path, "rb").close()  # safetensors says of whatever cannot be opened that there is no such file
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}. Check its permissions and its disk.") from None
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            description = json.loads((file.metadata() or {}).get("minigan", "null"))
    # numbers that NumPy lacks, such as bfloat16, are a TypeError or an AttributeError
    except (OSError, safetensors.SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"cannot read {path}: {error}. It is damaged, or not written by minigan: choose another."
        ) from None
    description = _verified(description, arrays, path)
    found, formats = description.get("format"), (format,) if isinstance(format, str) else tuple(format)
    arrays, description = migrated(arrays, description)
    if description.get("format") not in formats:
        newer = " A newer minigan wrote it: update minigan." if any(is_newer(found, f) for f in formats) else ""
        raise CheckpointError(f"{path}: expected a file of format {formats[-1]!r}, found {found!r}.{newer}")
    return arrays, description


def _digest(arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> str:
    """SHA-256, in hex digits, of the description as JSON, and of each array's name, dtype, shape and numbers."""
    digest = hashlib.sha256(json.dumps(description).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()


def _verified(description: Any, arrays: Arrays, path: Path) -> dict[str, Any]:
    """The description without the checksum, if that is right.

    A file without one must begin with `format`, as those from before did: a checksum whose name is damaged is noticed.
    """
    if not isinstance(description, dict):
        return {}
    if next(iter(description), None) != "sha256":
        intact = "format" not in description or next(iter(description)) == "format"
    else:
        expected = description.pop("sha256")
        intact = expected == _digest(arrays, description)
    if not intact:
        raise CheckpointError(f"{path} is damaged: its content is not what its checksum says. Choose another.")
    return description


def versions() -> dict[str, str]:
    """Versions of the libraries that decide the bits of a training, by name."""
    return {"minigan": minigan.__version__, "numpy": np.__version__}


def load_checkpoint(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """A checkpoint's arrays and description.

    Raises:
        CheckpointError: the file is missing, damaged, or no checkpoint; names the key that is wrong.
    """
    arrays, description = load_arrays(path, format=CHECKPOINT_FORMAT)
    check(description, _CHECKPOINT, source=str(path), remedy=_REMEDY)
    check(description["model"], _MODEL, source=f"{path}, 'model'", remedy=_REMEDY)
    return arrays, description


def load_model(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """A generator's arrays and description, from a model or a checkpoint.

    Raises:
        CheckpointError: the file is missing, damaged, or neither of them; names the key that is wrong.
    """
    arrays, description = load_arrays(path, format=(CHECKPOINT_FORMAT, MODEL_FORMAT))
    if description["format"] == CHECKPOINT_FORMAT:
        check(description, _CHECKPOINT, source=str(path), remedy=_REMEDY)
        description = {**description["model"], "step": description["step"]}
    description = {"classes": [], "unseen": [], "stored": "", **description}
    rules = {"step": FROM_ZERO, "classes": NAMES, "unseen": NUMBERS, "stored": one_of("", *STORED), **_MODEL}
    check(description, rules, source=str(path), remedy=_REMEDY)
    if description["stored"]:
        arrays = widened(arrays, description["dtype"], source=str(path))
    return arrays, description


def _is_image_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(n) is int and n > 0 for n in value)


_REMEDY = "It is damaged: choose another."
_MODEL: Mapping[str, Rule] = {
    "recipe": TEXT,
    "settings": OBJECT,
    "shape": Rule("[2] or [H, W, C]", lambda value: value == [2] or _is_image_shape(value)),
    "dtype": one_of(*DTYPES),
    "extent": Rule("a positive number", lambda value: type(value) in (int, float) and 0 < value < math.inf),
}
_CHECKPOINT: Mapping[str, Rule] = {
    "step": FROM_ZERO,
    "rng": OBJECT,
    "loader": OBJECT,
    "model": OBJECT,
    "config": TEXT,
    "versions": OBJECT,
}


def network_arrays(network: Layer, prefix: str) -> Arrays:
    """A network's parameters as `prefix.3.w` and its state as `prefix.state.4.running_mean`."""
    parameters = {f"{prefix}.{name}": array for name, array in network.arena.to_dict().items()}
    return parameters | {f"{prefix}.state.{name}": array for name, array in network.state.to_dict().items()}


def load_network(network: Layer, arrays: Mapping[str, np.ndarray], prefix: str, *, source: str) -> None:
    """Overwrites a network's parameters and state with arrays of `network_arrays`.

    Raises:
        CheckpointError, ShapeError, DTypeError: the arrays belong to another network.
    """
    state = select(arrays, f"{prefix}.state")
    own = select(arrays, prefix)
    network.state.load_dict(state, source=source)
    network.arena.load_dict({n: a for n, a in own.items() if not n.startswith("state.")}, source=source)
    for _, layer in network.walk():
        layer.repair_state()


def select(arrays: Mapping[str, np.ndarray], prefix: str) -> Arrays:
    """The arrays whose names start with `prefix.`, without it."""
    return {name.removeprefix(f"{prefix}."): a for name, a in arrays.items() if name.startswith(f"{prefix}.")}
