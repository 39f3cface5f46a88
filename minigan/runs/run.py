"""A run at a Python prompt: train one, open one, look at it, resume it."""

import dataclasses
import difflib
import html
import inspect
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends import BACKENDS
from minigan.checkpoints.folder import CheckpointFolder
from minigan.data.pictures import html_image
from minigan.errors import BackendError, ConfigError, DataError, MissingExtraError
from minigan.recipes import RECIPES, Recipe
from minigan.runs.config import RunConfig, read_config
from minigan.runs.folders import run_folder
from minigan.runs.prepare import PreparedRun
from minigan.runs.session import carry_out, new_config, recipe_named, start_run, take_up
from minigan.runs.trained_generator import TrainedGenerator, load_generator
from minigan.support.output import Output
from minigan.support.progress import Progress
from minigan.training.listeners import AnyListener, Record

__all__ = ["Run", "open_run", "train"]


class Run:
    """A run and its folder: its log, its trained generator, and the way to train on.

    `minigan.train` returns one, and `minigan.open_run` opens one that was trained before.

    Attributes:
        folder: holds config.toml, log.jsonl, samples/, checkpoints/ and model.safetensors.
        checkpoint: the checkpoint that was named in place of the folder, if one was.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, listeners: Sequence[AnyListener] = (), quiet: bool = False
    ) -> None:
        path = Path(path)
        self.folder = run_folder(path) if path.is_file() else path
        self.checkpoint = path if path.is_file() and path.parent.name == "checkpoints" else None
        self._listeners, self._quiet = tuple(listeners), quiet
        self._generator: tuple[int, TrainedGenerator] | None = None
        read_config(self.folder)  # raises, if there is no run

    @property
    def config(self) -> RunConfig:
        """Everything needed to repeat the run."""
        return read_config(self.folder)

    @property
    def step(self) -> int:
        """The number of steps done, as of the newest checkpoint."""
        return CheckpointFolder(self.folder / "checkpoints").last_step() or 0

    @property
    def steps(self) -> int:
        """The step at which training is done."""
        return int(self.config.settings["steps"])

    @property
    def log(self) -> list[Record]:
        """The records of log.jsonl: losses and rates every so many steps, and the figures of evaluations."""
        path = self.folder / "log.jsonl"
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}. Move it out of the way.") from None
        return [record for line in lines if (record := _record(line)) is not None]

    @property
    def generator(self) -> TrainedGenerator:
        """The trained generator, on the run's backend, or the fastest one where that is not there.

        Raises:
            CheckpointError: training has not saved one yet.
        """
        file = self.checkpoint or self.folder / "model.safetensors"
        written = file.stat().st_mtime_ns if file.exists() else 0
        if self._generator is None or self._generator[0] != written:
            try:
                trained = load_generator(file, backend=self.config.backend)
            except (BackendError, MissingExtraError):
                trained = load_generator(file)
            self._generator = written, trained
        return self._generator[1]

    @property
    def picture(self) -> Path | None:
        """The newest sample picture, if one was drawn."""
        return max((path for path in (self.folder / "samples").glob("step-*.png") if path.is_file()), default=None)

    def resume(
        self,
        *,
        steps: int | None = None,
        data: str | os.PathLike[str] | None = None,
        listeners: Sequence[AnyListener] | None = None,
        quiet: bool | None = None,
    ) -> "Run":
        """Trains on, with the same bits as a run that was never interrupted.

        Args:
            steps: in all; None trains to where the run was to go.
            data: where the same data are now, if they have moved.
            listeners, quiet: as in `minigan.train`; None as before.
        Returns:
            This run.
        Raises:
            MiniganError: the run cannot be resumed so, or training stopped with an error.
        """
        if steps is not None:
            _whole("steps", steps)
        source = None if data is None else _source(data)
        self._listeners = self._listeners if listeners is None else tuple(listeners)
        self._quiet = self._quiet if quiet is None else quiet
        prepared, told = take_up(self.checkpoint or self.folder, steps=steps, data=source, listeners=self._listeners)
        for warning in told:
            warnings.warn(warning, stacklevel=2)
        self.checkpoint = None
        _finish(carry_out(prepared, output=Output(quiet=self._quiet)), prepared)
        return self

    def _facts(self) -> dict[str, str]:
        """What a person wants to know first, by name."""
        config = self.config
        last = next((record for record in reversed(self.log) if _losses(record)), {})
        return {
            "recipe": f"{config.recipe} on {config.data}",
            "step": f"{self.step:,} of {self.steps:,}",
            **{name: f"{value:.4g}" for name, value in _losses(last).items()},
        }

    def __repr__(self) -> str:
        facts = self._facts()
        return f"<Run {self.folder}: {facts.pop('recipe')}, {', '.join(f'{k} {v}' for k, v in facts.items())}>"

    def _repr_html_(self) -> str:
        """The newest sample picture with the same facts, as a notebook shows it."""
        facts = {"folder": str(self.folder), **self._facts()}
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in facts.items()
        )
        shown = ""
        if (path := self.picture) is not None:
            shown = html_image(path.read_bytes(), text=path.name)
        return f"<div>{shown}<table>{rows}</table></div>"


def open_run(path: str | os.PathLike[str]) -> Run:
    """A run that was trained before, here or by the command line.

    Args:
        path: of the run's folder; of one of its checkpoints, to draw with that one or to resume from it.
    Raises:
        CheckpointError: there is no run.
    """
    return Run(path)


def train(
    recipe: str | type[Recipe] | Recipe = "dcgan",
    *,
    data: str | os.PathLike[str] | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    backend: str = "auto",
    out: str | os.PathLike[str] | None = None,
    listeners: Sequence[AnyListener] = (),
    quiet: bool = False,
    log_every: int = 20,
    sample_every: int = 250,
    checkpoint_every: int = 500,
    evaluate_every: int = 0,
    log_gradients: int = 0,
    keep: int = 3,
    best: str = "",
    **settings: Any,
) -> Run:
    """Trains a GAN as `minigan train` does, and returns its run.

    `minigan.train("dcgan", data="digits", steps=500, width=16)` shows its progress and leaves a run folder. Ctrl-C
    stops after the step, saves a checkpoint and returns the run, which `run.resume()` trains on.

    Args:
        recipe: a name, such as "dcgan" or "pix2pix", or a recipe of `minigan.recipes`.
        data: digits, shapes, ring, grid, or a path; None takes what suits the recipe.
        steps: in all; None takes the recipe's number.
        batch_size: examples in a step; None takes the recipe's number.
        seed: of everything random.
        backend: reference, cpu, gpu, or auto, the fastest here.
        out: the run's folder; None takes the next of runs/RECIPE-DATA-1, -2, ...
        listeners: functions that are called with each record of the log, or a `minigan.training.Listener`.
        quiet: show nothing.
        log_every, sample_every, checkpoint_every: steps from one record, picture or checkpoint to the next.
        evaluate_every: steps from one evaluation (FID and KID, or modes) to the next; 0 is never.
        log_gradients: steps from one record with the norm of each layer's gradients to the next; 0 is never.
        keep: how many of the last checkpoints stay.
        best: the figure that tells the best checkpoint, which stays, too: fid, kid, modes or high_quality.
        settings: of the recipe, by name, such as width=16 or loss="hinge"; `minigan recipes dcgan` lists them.
    Raises:
        ConfigError: an argument or a setting is unknown or out of range.
        MiniganError: the data or the backend cannot be used, or training stopped with an error.
    """
    for name, value, least in (
        ("seed", seed, 0),
        ("log_every", log_every, 1),
        ("sample_every", sample_every, 1),
        ("checkpoint_every", checkpoint_every, 1),
        ("evaluate_every", evaluate_every, 0),
        ("log_gradients", log_gradients, 0),
        ("keep", keep, 1),
    ):
        _whole(name, value, least=least)
    if backend not in ("auto", *BACKENDS):
        raise ConfigError(f"backend must be one of auto, {', '.join(BACKENDS)}, got {backend!r}.")
    if not isinstance(best, str):
        raise ConfigError(f"best must be the name of a figure, got {best!r}. Write best='fid'.")
    given = {name: value for name, value in (("steps", steps), ("batch_size", batch_size)) if value is not None}
    config = new_config(
        _recipe(recipe, {**given, **settings}),
        data=None if data is None else _source(data),
        seed=seed,
        backend=backend,
        log_every=log_every,
        sample_every=sample_every,
        checkpoint_every=checkpoint_every,
        evaluate_every=evaluate_every,
        log_gradients=log_gradients,
        keep=keep,
        best=best,
    )
    prepared = start_run(config, None if out is None else _path("out", out), listeners=listeners)
    _finish(carry_out(prepared, output=Output(quiet=quiet), chosen=backend != "auto"), prepared)
    return Run(prepared.trainer.state.folder, listeners=listeners, quiet=quiet)


def _finish(progress: Progress | None, prepared: PreparedRun) -> None:
    """Says how a training ended, and what to do next."""
    if progress is None:
        return
    state = prepared.trainer.state
    if state.step < state.steps:
        progress.message(f"stopped at step {state.step} of {state.steps}. `run.resume()` trains on.")
    else:
        progress.message(f"done: {state.folder / 'samples' / f'step-{state.step:06}.png'}")
        progress.message("more: `run.generator.sample(16)`, `run.resume(steps=...)`")


def _recipe(given: str | type[Recipe] | Recipe, settings: Mapping[str, Any]) -> Recipe:
    """A recipe with some settings given as Python values.

    Raises:
        ConfigError: it is none that a run can find again by its name, or a setting is unknown or of another type.
    """
    if isinstance(given, str):
        kind = recipe_named(given)
    elif isinstance(given, Recipe):
        kind, settings = type(given), {**given.settings(), **settings}
    elif isinstance(given, type) and issubclass(given, Recipe):
        kind = given
    else:
        raise ConfigError(f"recipe must be a name or a recipe, got {given!r}. Write 'dcgan'.")
    if RECIPES.get(kind.name) is not kind:
        raise ConfigError(
            f"{kind.__name__} is not the recipe {kind.name!r} that a run would find by its name. Add it with "
            f"minigan.recipes.RECIPES[{kind.name!r}] = {kind.__name__}, under a name of its own."
        )
    types = {field.name: type(field.default) for field in dataclasses.fields(kind)}
    values = {name: value.item() if isinstance(value, np.generic) else value for name, value in settings.items()}
    for name, value in values.items():
        if name not in types:
            likely = difflib.get_close_matches(name, [*types, *inspect.signature(train).parameters], n=1)
            hint = f" Did you mean {likely[0]}?" if likely else ""
            raise ConfigError(f"{kind.name} has no setting {name!r}.{hint} Expected one of {', '.join(sorted(types))}.")
        if isinstance(value, str) and types[name] is not str:
            raise ConfigError(f"{kind.name}: {name} must be of type {types[name].__name__}, got {value!r}.")
    return kind.from_settings(values)


def _whole(name: str, value: object, *, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be a whole number from {least} up, got {value!r}.")


def _path(name: str, value: object) -> Path:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ConfigError(f"{name} must be a path, got {value!r}.")
    return Path(os.fsdecode(value))


def _source(value: object) -> str:
    """A source of data, by its name or path: a run must find it again."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ConfigError(
            f"data must be the name of a source or a path, got {type(value).__name__}. A run reads its data from where "
            "they are when it is resumed: save yours as images or .npy first."
        )
    return os.fsdecode(value)


def _record(line: str) -> Record | None:
    """A line of the log; None for half of one, which a killed process leaves."""
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
