"""Checkpoints and models: safetensors files with a JSON description, never pickle.

A file's tensors are named `G.3.w`, `G.state.1.running_mean`, `d_optimizer.m` and so on; its one metadata entry,
`minigan`, is a JSON object whose first key, `sha256`, betrays a file that is not as it was written, and whose `format`
says what the file is. docs/checkpoints.md has the layout.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

import minigan
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

MODEL_FORMAT = "minigan-model/1"
CHECKPOINT_FORMAT = "minigan-checkpoint/2"  # what is written
_CHECKPOINT_FORMATS = ("minigan-checkpoint/1", CHECKPOINT_FORMAT)  # what can be read
DTYPES = ("float32", "float64")


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, description: Mapping[str, Any]) -> None:
    """Writes a safetensors file, whole or not at all.

    Args:
        description: what JSON can hold; has the key `format`.
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # others it would scramble
    whole = {"sha256": _digest(contiguous, description), **description}
    atomic_write(path, safetensors.numpy.save(contiguous, metadata={"minigan": json.dumps(whole)}))


def load_arrays(path: Path, *, format: str | Sequence[str]) -> tuple[Arrays, dict[str, Any]]:
    """The arrays and the description of a file that `save_arrays` wrote.

    Args:
        format: that of the file, or those it may have.
    Raises:
        CheckpointError: the file is missing, damaged in a single bit, or not of that format.
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
    description = _verified(description, arrays, path)
    formats, found = (format,) if isinstance(format, str) else tuple(format), description.get("format")
    if found not in formats:
        newer = " A newer minigan wrote it: update minigan." if any(_is_newer(found, f) for f in formats) else ""
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


def _is_newer(found: Any, known: str) -> bool:
    """Whether a format is a later number of the one that is known."""
    kind, _, number = found.rpartition("/") if isinstance(found, str) else ("", "", "")
    known_kind, _, known_number = known.rpartition("/")
    # numbers, compared as text: int() refuses one of thousands of digits
    return kind == known_kind and number.isdecimal() and (len(number), number) > (len(known_number), known_number)


def versions() -> dict[str, str]:
    """What writes and reads here, and decides the bits of a training."""
    return {"minigan": minigan.__version__, "numpy": np.__version__}


def load_checkpoint(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """A checkpoint's arrays and description.

    Raises:
        CheckpointError: the file is missing, damaged, or no checkpoint; names the key that is wrong.
    """
    arrays, description = load_arrays(path, format=_CHECKPOINT_FORMATS)
    rules = _CHECKPOINT if description["format"] == _CHECKPOINT_FORMATS[0] else {**_CHECKPOINT, **_SINCE_2}
    _check(description, rules, source=str(path))
    _check(description["model"], _MODEL, source=f"{path}, 'model'")
    return arrays, description


def load_model(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """A generator's arrays and description, from a model or a checkpoint.

    Raises:
        CheckpointError: the file is missing, damaged, or of neither; names the key that is wrong.
    """
    arrays, description = load_arrays(path, format=(*_CHECKPOINT_FORMATS, MODEL_FORMAT))
    if description["format"] != MODEL_FORMAT:
        _check(description, _CHECKPOINT, source=str(path))
        description = {**description["model"], "step": description["step"]}
    _check({"classes": [], **description}, {"step": _STEP, "classes": _NAMES, **_MODEL}, source=str(path))
    return arrays, description


Rule = tuple[str, Callable[[Any], bool]]  # what is expected, in words, and whether a value is that

_STEP: Rule = ("a whole number from 0 up", lambda value: type(value) is int and value >= 0)
_NAMES: Rule = (
    "a list of names",
    lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
)
_TEXT: Rule = ("a string", lambda value: isinstance(value, str))
_OBJECT: Rule = ("an object", lambda value: isinstance(value, dict))
_MODEL: Mapping[str, Rule] = {
    "recipe": _TEXT,
    "settings": _OBJECT,
    "shape": ("[2] or [H, W, C]", lambda value: value == [2] or _is_image_shape(value)),
    "dtype": (f"one of {', '.join(DTYPES)}", lambda value: value in DTYPES),
    "extent": (
        "a positive number",
        lambda value: type(value) in (int, float) and 0 < value < math.inf,
    ),
}
_CHECKPOINT: Mapping[str, Rule] = {"step": _STEP, "rng": _OBJECT, "loader": _OBJECT, "model": _OBJECT}
_SINCE_2: Mapping[str, Rule] = {"config": _TEXT, "versions": _OBJECT}


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
