"""The data in a report: pictures and logged numbers of each run, thinned out until the page is small."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigan.data.pillow import load_pillow
from minigan.errors import MissingExtraError
from minigan.inspection.history import Curve, History

__all__ = ["Pictures", "as_script_data", "numbers", "pictures"]

PICTURES_MOST = 2_600_000  # characters of all pictures in a page
NUMBERS_MOST = 1_700_000  # characters of all logged numbers
LARGEST = 8_000_000  # bytes of a picture that is looked at
PIXELS_MOST = 16_000_000
COUNT_MOST = 120  # pictures that are made smaller
QUALITY = 80
PNG = b"\x89PNG\r\n\x1a\n"


class Pictures(NamedTuple):
    """Sample pictures of a run.

    Attributes:
        data: files as `data:` URLs, by step.
        notes: lines on what was left out, or made smaller.
    """

    data: Mapping[int, str]
    notes: tuple[str, ...]


def pictures(history: History, *, runs: int = 1) -> Pictures:
    """As many of a run's pictures as fit, spread evenly, the last among them.

    If they do not fit as they are, Pillow makes them smaller; without Pillow fewer are taken.

    Args:
        runs: the number of runs that share the page.
    """
    most, notes = PICTURES_MOST // runs * 3 // 4, []
    sizes = {step: _size(path) for step, path in history.pictures.items()}
    sound = [step for step, size in sizes.items() if 0 < size <= LARGEST]
    if len(sound) < len(sizes):
        notes.append(f"{len(sizes) - len(sound)} files in {history.name}/samples are no PNG, or too large.")
    if sum(sizes[step] for step in sound) <= most:
        return Pictures({step: _url("png", history.pictures[step].read_bytes()) for step in sound}, tuple(notes))
    files = _smaller({step: history.pictures[step] for step in _spread(sound, COUNT_MOST)})
    if files is None:
        kind, files = "png", _first_that_fit({step: history.pictures[step] for step in sound}, sizes, most)
        notes.append("With Pillow (minigan[images]) more pictures find room.")
    else:
        kind = "jpeg"
        notes.append(f"JPEGs of quality {QUALITY} in place of {history.name}'s PNGs, so that the page stays small.")
    chosen = list(files)
    while len(chosen) > 1 and sum(len(files[step]) for step in chosen) > most:
        share = most / sum(len(files[step]) for step in chosen)
        chosen = _spread(list(files), max(1, min(len(chosen) - 1, int(len(chosen) * share))))
    if len(chosen) < len(sound):
        notes.append(f"{len(chosen)} of {len(sound)} pictures of {history.name}.")
    return Pictures({step: _url(kind, files[step]) for step in chosen}, tuple(notes))


def _spread(steps: Sequence[int], count: int) -> list[int]:
    """So many of some steps, spread evenly, the last among them; the first, too, from two on."""
    return [steps[i] for i in np.unique(np.linspace(len(steps) - 1, 0, min(count, len(steps))).astype(int))]


def _first_that_fit(paths: Mapping[int, Path], sizes: Mapping[int, int], most: int) -> dict[int, bytes]:
    """The content of about as many files as fit, without reading the others."""
    mean = sum(sizes[step] for step in paths) / len(paths)
    return {step: paths[step].read_bytes() for step in _spread(list(paths), max(1, int(1.2 * most / mean)))}


def _smaller(paths: Mapping[int, Path]) -> dict[int, bytes] | None:
    """JPEGs of pictures; None without Pillow. Pictures that it cannot read are left out."""
    try:
        pillow = load_pillow()
    except MissingExtraError:
        return None
    found = {}
    for step, path in paths.items():
        content = BytesIO()
        try:
            with pillow.open(path, formats=("PNG",)) as image:
                if image.width * image.height <= PIXELS_MOST:
                    image.convert("L" if image.mode == "L" else "RGB").save(content, format="JPEG", quality=QUALITY)
                    found[step] = content.getvalue()
        except Exception:  # for a damaged file Pillow raises nearly anything
            continue
    return found


def _url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _size(path: Path) -> int:
    """Bytes of a PNG; 0 for a file that is none, or cannot be read."""
    try:
        with path.open("rb") as file:
            return path.stat().st_size if file.read(len(PNG)) == PNG else 0
    except OSError:
        return 0


def numbers(history: History, *, runs: int = 1) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A run's logged numbers as a table, to be shown at the slider's step and saved as CSV, and notes.

    The table has the names of its columns, and rows of a step and a number, or None, for each column.
    """
    curves, most = {**history.values, **history.figures}, NUMBERS_MOST // runs
    gradients = {f"gradient of {name}": curve for name, curve in history.gradients.items()}
    table: dict[str, Any] = _table({**curves, **gradients})
    notes: list[str] = []
    if gradients and len(as_script_data(table)) > most:
        table = _table(curves)
        notes.append(f"CSV: without the gradients of {history.name}, so that the page stays small.")
    length, rows = len(as_script_data(table)), table["rows"]
    if length > most:
        kept = np.unique(np.linspace(0, len(rows) - 1, max(2, len(rows) * most // length)).astype(int))
        table["rows"] = [rows[i] for i in kept]
        notes.append(f"CSV: {len(kept):,} of {len(rows):,} records of {history.name}.")
    return table, tuple(notes)


def _table(curves: Mapping[str, Curve]) -> dict[str, Any]:
    steps = sorted({int(step) for curve in curves.values() for step in curve.steps})
    cells = [_at(curve) for curve in curves.values()]
    return {"columns": ["step", *curves], "rows": [[step, *(column.get(step) for column in cells)] for step in steps]}


def _at(curve: Curve) -> dict[int, float | None]:
    pairs = zip(curve.steps.tolist(), curve.values.tolist(), strict=True)
    return {step: float(f"{value:.6g}") if math.isfinite(value) else None for step, value in pairs}


def as_script_data(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """A value as JSON that can stand in a script element: no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
