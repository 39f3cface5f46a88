"""The data in a report: pictures and logged numbers of each run, thinned out until the page is small."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigan.inspection.history import Curve, History

__all__ = ["Pictures", "as_script_data", "numbers", "pictures"]

PICTURES_MOST = 2_600_000  # characters of all pictures in a page
NUMBERS_MOST = 1_200_000  # characters of all logged numbers
PNG = b"\x89PNG\r\n\x1a\n"


class Pictures(NamedTuple):
    """Sample pictures of a run.

    Attributes:
        data: content of PNG files in base64, by step.
        notes: lines on what was left out.
    """

    data: Mapping[int, str]
    notes: tuple[str, ...]


def pictures(history: History, *, runs: int = 1) -> Pictures:
    """As many of a run's pictures as fit, spread evenly, the first and the last among them.

    Args:
        runs: the number of runs that share the page.
    """
    most, notes = PICTURES_MOST // runs * 3 // 4, []
    sizes = {step: _size(path) for step, path in history.pictures.items()}
    sound = [step for step, size in sizes.items() if 0 < size <= most]
    if len(sound) < len(sizes):
        notes.append(f"{len(sizes) - len(sound)} files in {history.name}/samples are no PNG, or too large.")
    chosen = sound
    while sum(sizes[step] for step in chosen) > most:
        count = min(len(chosen) - 1, math.ceil(len(chosen) * most / sum(sizes[step] for step in chosen)))
        chosen = [sound[i] for i in np.unique(np.linspace(len(sound) - 1, 0, count).astype(int))]
    if len(chosen) < len(sound):
        notes.append(f"{len(chosen)} of {len(sound)} pictures of {history.name}, so that the page stays small.")
    data = {step: base64.b64encode(history.pictures[step].read_bytes()).decode() for step in chosen}
    return Pictures(data, tuple(notes))


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
    curves = {**history.values, **history.figures}
    curves |= {f"gradient of {name}": curve for name, curve in history.gradients.items()}
    steps = sorted({int(step) for curve in curves.values() for step in curve.steps})
    cells = {name: _at(curve) for name, curve in curves.items()}
    rows = [[step, *(cells[name].get(step) for name in curves)] for step in steps]
    length, kept = len(json.dumps(rows)), rows
    if length > NUMBERS_MOST // runs:
        count = max(2, len(rows) * (NUMBERS_MOST // runs) // length)
        kept = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, count).astype(int))]
    notes = () if kept is rows else (f"CSV: {len(kept):,} of {len(rows):,} records of {history.name}.",)
    return {"columns": ["step", *curves], "rows": kept}, notes


def _at(curve: Curve) -> dict[int, float | None]:
    pairs = zip(curve.steps.tolist(), curve.values.tolist(), strict=True)
    return {step: float(f"{value:.6g}") if math.isfinite(value) else None for step, value in pairs}


def as_script_data(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """A value as JSON that can stand in a script element: no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
