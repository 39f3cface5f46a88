"""Values as bytes, on their way from rank to rank: JSON, with paths, and with arrays behind it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["packed", "unpacked"]

HEAD = 8  # bytes: the length of the JSON


def packed(value: Any) -> bytes:
    """A value as bytes: a number, text, None, path or array; or a list, a tuple or a dictionary of such."""
    arrays: list[np.ndarray] = []
    text = json.dumps(_plain(value, arrays)).encode()
    return b"".join([len(text).to_bytes(HEAD, "little"), text, *(array.tobytes() for array in arrays)])


def unpacked(data: bytes) -> Any:
    """The value; tuples have become lists."""
    end = HEAD + int.from_bytes(data[:HEAD], "little")
    return _whole(json.loads(data[HEAD:end]), data, end)


def _plain(value: Any, arrays: list[np.ndarray]) -> Any:
    """The same in JSON's terms: what that lacks is a list with a letter first."""
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        place = sum(earlier.nbytes for earlier in arrays)
        arrays.append(array)
        return ["a" if isinstance(value, np.ndarray) else "n", array.dtype.str, list(array.shape), place]
    if isinstance(value, Path):
        return ["p", str(value)]
    if isinstance(value, dict):
        return ["d", [[_plain(key, arrays), _plain(inner, arrays)] for key, inner in value.items()]]
    if isinstance(value, list | tuple):
        return ["l", [_plain(inner, arrays) for inner in value]]
    return value


def _whole(plain: Any, data: bytes, end: int) -> Any:
    match plain:
        case ["a" | "n" as kind, dtype, shape, place]:
            count = int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(data, np.dtype(dtype), count, end + place).reshape(shape).copy()
            return array if kind == "a" else array[()]
        case ["p", path]:
            return Path(path)
        case ["d", rows]:
            return {_whole(key, data, end): _whole(inner, data, end) for key, inner in rows}
        case ["l", rows]:
            return [_whole(inner, data, end) for inner in rows]
    return plain
