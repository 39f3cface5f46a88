"""A step of a run, done once more: restored from a checkpoint, with the same batches and random numbers, bit for bit.

Nothing is written, and a training that is going on in the folder is not disturbed.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigan.checkpoints.folder import CheckpointFolder, step_of
from minigan.checkpoints.resume_checks import log_lines, logged
from minigan.errors import CheckpointError, ConfigError, DataError, DivergenceError
from minigan.runs.config import RunConfig, is_same_engine, is_same_precision, read_config, with_engine
from minigan.runs.folders import run_folder
from minigan.runs.prepare import PreparedRun, prepare_run, source_missing
from minigan.runs.pretrained import expect_run
from minigan.support.representation import python_text, short_path
from minigan.training.failures import at_step
from minigan.training.learner import Learner, Values
from minigan.training.state import TrainingState
from minigan.training.stepper import Stepper

__all__ = ["Replay", "expect_log", "replayed"]

SPEED = {"images_per_second", "seconds", "gpu_memory", "gradients"}  # of a record, which no replay repeats


@dataclass
class Replay:
    """A run as it was before one of its steps, and the means to do that step.

    Attributes:
        prepared: the run; its trainer's state is that before the step.
        checkpoint: the file that it was restored from.
        start: the checkpoint's step.
        step: the number of the step to be done.
        notes: lines on what may keep the replay from being exact.
        stepper: does the step.
    """

    prepared: PreparedRun
    checkpoint: Path
    start: int
    step: int
    notes: tuple[str, ...]
    stepper: Stepper

    @property
    def state(self) -> TrainingState:
        """Networks, data and random numbers."""
        return self.prepared.trainer.state

    @property
    def learner(self) -> Learner:
        """The networks and their optimizers."""
        return self.state.learner

    def run(self) -> Values:
        """Does the step, and returns the values that training has measured in it.

        Raises:
            DivergenceError: a number became NaN or infinite.
        """
        try:
            with np.errstate(all="ignore"):
                values = self.stepper.step()
                self.stepper.check()
        except DivergenceError as error:
            raise at_step(error, self.state.step + 1) from None
        self.state.step += 1
        return values

    def logged(self) -> Mapping[str, float]:
        """The values of the step in the run's log; empty if that step was not logged."""
        lines = log_lines(self.state.folder / "log.jsonl") or []
        records = [record for line in lines if (record := logged(line)) and record["step"] == self.step]
        return {
            name: float(value)
            for record in records
            for name, value in record.items()
            if "seconds" in record and name not in SPEED and name != "step" and isinstance(value, int | float)
        }


@contextmanager
def replayed(
    path: str | os.PathLike[str],
    *,
    step: int | None = None,
    data: str | None = None,
    targets: str | None = None,
    data_b: str | None = None,
    backend: str | None = None,
    precision: str | None = None,
) -> Iterator[Replay]:
    """A run restored from a checkpoint and brought to the step before the one to be looked at.

        with replayed("runs/dcgan-digits-1", step=500) as replay:
            with replay.learner.observed(observer):
                values = replay.run()

    Args:
        path: of the run's folder, or of one of its checkpoints.
        step: the step to do, counted from 1; None takes the one after the newest checkpoint. Steps between the nearest
            checkpoint before it and itself are done on the way.
        data, targets, data_b: where the run's data are now; None as in its config.toml.
        backend: None takes the run's own, with which the replay is exact.
        precision: of products; None takes the run's own on the run's backend, else the backend's default.
    Raises:
        CheckpointError: there is no run or no checkpoint, or a file of the run is damaged.
        ConfigError: no checkpoint leads to that step.
        DataError: the data are missing or others.
        DivergenceError: a step on the way diverges.
    """
    path = Path(path).expanduser()
    expect_run(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no run is there. Name a folder that a training has written.")
    folder = run_folder(path)
    config = read_config(folder, data=data, targets=targets, data_b=data_b)
    expect_log(folder / "log.jsonl")
    checkpoint, start = _chosen(folder, path if path.is_file() and path.parent.name == "checkpoints" else None, step)
    chosen = with_engine(config, backend=backend, precision=precision)
    prepared = _prepared(chosen, folder, is_moved=not (data is targets is data_b is None))
    state = prepared.trainer.state
    with closing(prepared.dataset), state.loader:
        _, arrays, description = CheckpointFolder(folder / "checkpoints").load(checkpoint)
        notes = state.load(arrays, description, source=checkpoint)
        if (then := _precision_of(description["config"])) not in (None, config.precision):
            notes.append(f"this checkpoint was made in {then}; the run has gone on in {config.precision}.")
        same = is_same_engine(config, prepared.config) and is_same_precision(config, prepared.config)
        if config.engine and not same:
            notes.append(f"this run was made with {config.engine}, the replay with {prepared.config.engine}.")
        replay = Replay(prepared, checkpoint, start, step or start + 1, tuple(notes), _stepper(prepared))
        while state.step < replay.step - 1:
            replay.run()
        yield replay


def _precision_of(config: str) -> str | None:
    """The precision that a text of config.toml names; None before format 4, and for a loop of the user's."""
    try:
        named = tomllib.loads(config).get("precision")
    except ValueError:
        return None
    return named if isinstance(named, str) else None


def _stepper(prepared: PreparedRun) -> Stepper:
    """Steps as the trainer does them."""
    state, prepare = prepared.trainer.state, prepared.trainer.prepare
    batches: Iterator[Any] = (prepare(item, state.rng) for item in state.loader)
    return Stepper(state.learner, batches, state.rng, averages=state.averages.values())


def _prepared(config: RunConfig, folder: Path, *, is_moved: bool) -> PreparedRun:
    try:
        return prepare_run(config, folder)
    except DataError as error:
        if is_moved:
            raise
        raise source_missing(error, folder, config) from None


def expect_log(path: Path) -> None:
    """Refuses a log with a damaged line. The last one may be half written: a training may just be writing it.

    Raises:
        CheckpointError: a line is no record, or the file cannot be read.
    """
    for number, line in enumerate((log_lines(path) or [])[:-1], 1):
        if line.strip() and not logged(line):
            raise CheckpointError(
                f"{short_path(path.absolute())} is damaged: line {number} is no record of a step. Remove that line."
            )


def _chosen(folder: Path, named: Path | None, step: int | None) -> tuple[Path, int]:
    """The checkpoint to start from, and its step.

    Raises:
        CheckpointError: there is none.
        ConfigError: none of them leads to that step.
    """
    shown = short_path(folder.absolute())
    files = CheckpointFolder(folder / "checkpoints")
    found = {path: step_of(path) for path in ([named] if named is not None else files.candidates())}
    if not found:
        raise CheckpointError(
            f"{shown} has no checkpoint, so no step of it can be done again. Train it first: "
            f"`minigan.open_run({python_text(shown)}).resume()`"
        )
    first, last = min(found.values()), max(found.values())
    if step is None:
        return next(path for path, at in found.items() if at == last), last
    if not first < step <= last + 1:
        leads = f"checkpoints of steps {first:,} to {last:,} lead to steps {first + 1:,} to {last + 1:,}"
        if first == last:
            leads = f"only checkpoint leads to step {last + 1:,}"
        raise ConfigError(
            f"{shown}: the {leads}, got step {step:,}. Choose {'that' if first == last else 'one of these'}; training "
            "with `keep=N` keeps more checkpoints."
        )
    at = max(value for value in found.values() if value < step)
    return next(path for path, value in found.items() if value == at), at
