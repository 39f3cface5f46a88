"""The history of a run as its folder holds it: settings, logged values, gradient norms, figures and pictures."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigan.checkpoints.resume_checks import log_lines, logged
from minigan.errors import CheckpointError
from minigan.inspection.replay import expect_log
from minigan.recipes import Recipe, get_recipe
from minigan.runs.config import RunConfig, read_config
from minigan.runs.folders import run_folder
from minigan.runs.pretrained import expect_run
from minigan.support.arguments import path as expect_path
from minigan.support.representation import short_path
from minigan.training.listeners.pictures import saved_pictures
from minigan.training.log_verdict import LogVerdict

__all__ = ["Curve", "History", "read_history"]

LARGEST_STEP = 2**53  # above, a float is no exact number of steps


@dataclass(frozen=True)
class Curve:
    """One logged value.

    Attributes:
        steps: int64 (N,), ascending.
        values: float64 (N,); NaN and infinity where training logged them.
    """

    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class History:
    """A run as its folder holds it.

    Attributes:
        name: of the folder, as it is seen from the present one.
        values: losses, verdicts, rates and speed by name: what training logs every so many steps.
        figures: of evaluations, by name.
        gradients: norms, by layer.
        pictures: files of samples, by step.
        words: the verdicts of the log, each by the first step at which it was given.
    """

    folder: Path
    name: str
    config: RunConfig
    values: Mapping[str, Curve]
    figures: Mapping[str, Curve]
    gradients: Mapping[str, Curve]
    pictures: Mapping[int, Path]
    words: Mapping[int, str]

    @property
    def recipe(self) -> Recipe:
        """The run's recipe, with its settings."""
        return get_recipe(self.config.recipe).from_settings(self.config.settings)

    @property
    def step(self) -> int:
        """The last step that was logged or drawn."""
        ends = [int(curve.steps[-1]) for curve in (*self.values.values(), *self.figures.values())]
        return max([*ends, *self.pictures], default=0)


def read_history(run: str | os.PathLike[str]) -> History:
    """Reads a run's folder; nothing is trained and nothing is changed.

    Args:
        run: the folder's path, or that of a file in it.
    Raises:
        CheckpointError: there is no run, its log is damaged, or it has neither log nor pictures yet.
    """
    path = expect_path(run, "run", remedy="Write report_run('runs/dcgan-digits-1').").expanduser()
    expect_run(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no run is there. Name a folder that a training has written.")
    folder = run_folder(path)
    config, name = read_config(folder), short_path(folder.absolute())
    expect_log(folder / "log.jsonl")
    records = [record for line in log_lines(folder / "log.jsonl") or () if (record := logged(line))]
    records = sorted((r for r in records if 0 <= r["step"] < LARGEST_STEP), key=lambda record: record["step"])
    measured = [record for record in records if "seconds" in record]
    history = History(
        folder,
        name,
        config,
        _curves(measured),
        _curves(record for record in records if "seconds" not in record),
        _curves({"step": r["step"], **r["gradients"]} for r in records if isinstance(r.get("gradients"), dict)),
        saved_pictures(folder),
        _words(measured, config.settings),
    )
    if not (history.values or history.figures or history.pictures):
        raise CheckpointError(f"{name} has logged nothing yet, so there is nothing to report. Train it first.")
    return history


def _words(records: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> dict[int, str]:
    """The words that the progress line has shown, each by the step at which it came."""
    verdict, found, last = LogVerdict(settings), {}, ""
    for record in records:
        numbers = {name: number for name, value in record.items() if (number := _number(value)) is not None}
        if (word := verdict.add({"seconds": 0, **numbers, "step": record["step"]})) != last:
            found[int(record["step"])] = last = word
    return found


def _curves(records: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """The numbers of records, by name."""
    found: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        for name, value in record.items():
            if name not in ("step", "seconds") and (number := _number(value)) is not None:
                found.setdefault(name, []).append((record["step"], number))
    return {
        name: Curve(np.array([step for step, _ in points], np.int64), np.array([value for _, value in points]))
        for name, points in found.items()
    }


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf
