"""A run at a Python prompt: open it, look at it, resume it."""

import html
import json
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from minigan.checkpoints.folder import CheckpointFolder, step_of
from minigan.data.pictures import html_image
from minigan.errors import BackendError, CheckpointError, ConfigError, DataError, MiniganError, MissingExtraError
from minigan.runs.among_ranks import one_voice
from minigan.runs.config import RunConfig, read_config
from minigan.runs.folders import run_folder
from minigan.runs.prepare import PreparedRun
from minigan.runs.session import resume_run, train_run
from minigan.runs.trained_generator import TrainedGenerator, load_generator
from minigan.support.arguments import flag, kind_of, path_text, whole
from minigan.support.arguments import path as expect_path
from minigan.support.output import Output
from minigan.support.progress import Progress
from minigan.support.representation import short_path
from minigan.support.words import decoded
from minigan.training.listeners import AnyListener, Record
from minigan.training.listeners.pictures import saved_pictures
from minigan.training.listeners.users import listener_list

__all__ = ["Run", "open_run", "say_how_it_ended", "source_name"]


class Run:
    """A run and its folder: its log, its trained generator, and the way to train on.

        run = minigan.open_run("runs/dcgan-digits-1")       # `minigan.train` returns a run, too
        run.log[-1]["g_loss"]
        images = run.generator.sample(16, seed=7)           # (16, H, W, C) in [-1, 1]
        run.resume(steps=1000)

    Args:
        path: of the run's folder; or of one of its checkpoints, to sample or resume from that one.
        listeners: called when the run is resumed; see `minigan.train`.
        quiet: show nothing when the run is resumed.
    Attributes:
        folder: holds config.toml, log.jsonl, samples/, checkpoints/ and model.safetensors; absolute.
        checkpoint: the checkpoint that the run was opened with, or None. With one, the run shows itself as it was at
            that step; the first `resume` trains on from there, and replaces what came later.
    Raises:
        CheckpointError: there is no run.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, listeners: Sequence[AnyListener] = (), quiet: bool = False
    ) -> None:
        path = expect_path(path, "path", remedy="Write open_run('runs/dcgan-digits-1').")
        # As the user has written it, for errors; afterwards absolute: the present folder may change.
        read_config(run_folder(path) if path.is_file() else path)  # raises, if there is no run
        path = path.absolute()
        self.folder = run_folder(path) if path.is_file() else path
        self.checkpoint = path if path.is_file() and path.parent.name == "checkpoints" else None
        self._checkpoint_step = None if self.checkpoint is None else step_of(self.checkpoint)
        self._listeners, self._quiet = listener_list(listeners), flag(quiet, "quiet")
        self._generators: dict[str, tuple[int, TrainedGenerator]] = {}

    @property
    def config(self) -> RunConfig:
        """Everything needed to repeat the run."""
        return read_config(self.folder)

    @property
    def step(self) -> int:
        """The number of steps done in the newest checkpoint, or in the one that the run was opened with."""
        self._expect_folder()
        if self.checkpoint is not None and self._checkpoint_step is not None:
            return self._checkpoint_step
        return CheckpointFolder(self.folder / "checkpoints").last_step() or 0

    @property
    def steps(self) -> int:
        """The step at which training is done."""
        return int(self.config.settings["steps"])

    @property
    def log(self) -> list[Record]:
        """The records of log.jsonl: losses and rates every so many steps, and the figures of evaluations."""
        self._expect_folder()
        path = self.folder / "log.jsonl"
        try:
            lines = decoded(path.read_bytes(), errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}. Move it out of the way.") from None
        records = [record for line in lines if (record := _record(line)) is not None]
        if self.checkpoint is None:
            return records
        return [record for record in records if isinstance(n := record.get("step"), int) and n <= self.step]

    @property
    def generator(self) -> TrainedGenerator:
        """The trained generator, or the first of several; see `generators`.

        It is on the run's backend, or on the fastest one if that cannot be used. Its products are in the backend's
        default precision, or in MINIGAN_PRECISION's, not in the training's.

        Raises:
            CheckpointError: training has not saved one yet.
        """
        return self._loaded("")

    @property
    def generators(self) -> dict[str, TrainedGenerator]:
        """All trained generators by name, as `generator`; of most recipes there is one, G."""
        return {name: self._loaded(name) for name in self.generator.recipe.generator_names}

    def _loaded(self, name: str) -> TrainedGenerator:
        file = self.checkpoint or self.folder / "model.safetensors"
        written = file.stat().st_mtime_ns if file.exists() else 0
        if name not in self._generators or self._generators[name][0] != written:
            try:
                trained = load_generator(file, backend=self.config.backend, name=name)
            except (BackendError, MissingExtraError):
                trained = load_generator(file, name=name)
            self._generators[name] = written, trained
        return self._generators[name][1]

    @property
    def picture(self) -> Path | None:
        """The newest sample picture; None if none was drawn."""
        self._expect_folder()
        drawn = saved_pictures(self.folder).items()
        last = math.inf if self.checkpoint is None else self.step
        return next((path for step, path in reversed(drawn) if step <= last), None)

    def resume(
        self,
        *,
        steps: int | None = None,
        data: str | os.PathLike[str] | None = None,
        targets: str | os.PathLike[str] | None = None,
        data_b: str | os.PathLike[str] | None = None,
        precision: str | None = None,
        listeners: Sequence[AnyListener] | None = None,
        quiet: bool | None = None,
    ) -> "Run":
        """Trains on, with the same bits as a run that was never interrupted.

        Args:
            steps: in all, those done before included; None trains to the run's own number.
            data: where the same data are now, if they have moved.
            targets: where the targets are now, for pairs in two folders.
            data_b: where the images of B are now, for unpaired data in two places.
            precision: of products from here on; None keeps the run's, whatever MINIGAN_PRECISION says.
            listeners, quiet: as in `minigan.train`; None as before.
        Returns:
            This run.
        Raises:
            MiniganError: the run cannot be resumed with these arguments, or training stopped with an error.
        """
        steps = None if steps is None else whole(steps, "steps")
        source = None if data is None else source_name(data)
        folder = None if targets is None else source_name(targets)
        second = None if data_b is None else source_name(data_b)
        listeners = self._listeners if listeners is None else listener_list(listeners)
        quiet = self._quiet if quiet is None else flag(quiet, "quiet")
        prepared, told = resume_run(
            self.checkpoint or self.folder,
            steps=steps,
            data=source,
            targets=folder,
            data_b=second,
            precision=precision,
            listeners=listeners,
        )
        # Only now: arguments that are refused change nothing.
        self._listeners, self._quiet = tuple(listeners), quiet
        with one_voice():
            for warning in told:
                warnings.warn(warning, stacklevel=2)
        self.checkpoint = None
        say_how_it_ended(train_run(prepared, output=Output(quiet=quiet), pass_on_sigterm=True), prepared)
        return self

    def _expect_folder(self) -> None:
        """Refuses a run whose folder is gone: a log without records would tell nothing of that.

        Raises:
            CheckpointError: it was removed or moved.
        """
        if not self.folder.is_dir():
            raise CheckpointError(f"{self.folder} is gone. If it was moved, open it there: `minigan.open_run(FOLDER)`.")

    def _facts(self) -> dict[str, str]:
        """The facts that `repr` shows, by name."""
        config = self.config
        last = next((record for record in reversed(self.log) if _losses(record)), {})
        return {
            "recipe": f"{config.recipe} on {config.data}",
            "step": f"{self.step:,} of {self.steps:,}",
            **{name: f"{value:.4g}" for name, value in _losses(last).items()},
        }

    def __repr__(self) -> str:
        try:
            facts = self._facts()
        except (MiniganError, OSError) as error:  # the text of an object never fails
            return f"<Run {self._name()}: {error}>"
        return f"<Run {self._name()}: {facts.pop('recipe')}, {', '.join(f'{k} {v}' for k, v in facts.items())}>"

    def _name(self) -> str:
        """The folder, or the checkpoint that the run was opened with."""
        return short_path(self.checkpoint or self.folder)

    def _repr_html_(self) -> str:
        """The newest sample picture with the same facts, for a notebook."""
        shown = ""
        try:
            facts = {"folder": self._name(), **self._facts()}
            if (path := self.picture) is not None:
                shown = html_image(path.read_bytes(), text=path.name)
        except (MiniganError, OSError):
            return f"<pre>{html.escape(repr(self))}</pre>"
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in facts.items()
        )
        return f"<div>{shown}<table>{rows}</table></div>"


def open_run(path: str | os.PathLike[str]) -> Run:
    """A run that was trained before, here or by the command line.

    Args:
        path: of the run's folder; or of one of its checkpoints, to sample or resume from that one.
    Returns:
        The run: its log, its trained generator, and the way to train on.
    Raises:
        ConfigError: it is no path.
        CheckpointError: there is no run.
    """
    return Run(path)


def say_how_it_ended(progress: Progress | None, prepared: PreparedRun) -> None:
    """Shows how a training ended, and what to do next."""
    if progress is None:
        return
    state = prepared.trainer.state
    if state.step < state.steps:
        progress.message(f"stopped at step {state.step} of {state.steps}. `run.resume()` trains on.")
    else:
        progress.message(f"done: {short_path(state.folder / 'samples' / f'step-{state.step:06}.png')}")
        progress.message("more: `run.generator.sample(16)`, `run.resume(steps=...)`")


def source_name(value: object) -> str:
    """A source of data as text, by its name or path: a resumed run must find it again. `~/` is the home folder.

    Raises:
        ConfigError: it is neither, for example an array.
    """
    if text := path_text(value):
        return text
    if isinstance(value, str | os.PathLike | None):
        remedy = "Write data='digits'."
    else:
        remedy = "A resumed run reads its data again: save them as images or .npy first."
    raise ConfigError(f"data must be the name of a source or a path, got {kind_of(value)}. {remedy}")


def _record(line: str) -> Record | None:
    """A record from a line of the log; None for an incomplete line, which a killed process leaves."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _losses(record: Record) -> dict[str, float]:
    """The losses of a record."""
    return {
        name: value
        for name, value in record.items()
        if (name == "loss" or name.endswith("_loss")) and isinstance(value, float)
    }
