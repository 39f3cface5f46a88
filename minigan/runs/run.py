"""Runs: a recipe, its data and a folder, put together; and taken up again from the folder."""

import contextlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends import Backend, get_backend
from minigan.checkpoints.folder import CheckpointFolder
from minigan.data import Dataset
from minigan.data.dataset import Collection
from minigan.errors import CheckpointError, ConfigError, DataError, OutputError
from minigan.evaluation import Monitor, choose_features
from minigan.recipes import Recipe, get_recipe
from minigan.runs.config import RunConfig, lasting_source, read_config, write_config
from minigan.runs.trained_generator import TrainedGenerator, load_generator, model_description
from minigan.support.durable_files import atomic_write, make_folder, remove_stale
from minigan.training.sampling import picture_count
from minigan.training.trainer import Draw, Trainer

__all__ = [
    "Run",
    "RunConfig",
    "TrainedGenerator",
    "load_generator",
    "new_folder",
    "open_run",
    "read_config",
    "reopen_run",
    "resume",
    "run_data",
    "run_folder",
    "start",
]

MONITOR_COUNT = 2000
WEIGHTS, STEPS, PICTURES, STANDING, EVALUATION = range(5)  # the streams of random numbers that a run's seed has


@dataclass(frozen=True)
class Run:
    """A run that is ready to train."""

    config: RunConfig
    recipe: Recipe
    dataset: Collection
    backend: Backend
    trainer: Trainer


def new_folder(recipe: str, data: str, *, root: Path = Path("runs")) -> Path:
    """The first of runs/recipe-data-1, -2, ... that is not there yet."""
    stem = f"{recipe}-{Path(data).resolve().name.split('.')[0].replace(':', '-')[:100] or 'data'}"
    return next(p for n in itertools.count(1) if not os.path.lexists(p := root / f"{stem}-{n}"))


def open_run(config: RunConfig, folder: Path) -> Run:
    """Opens the data, builds the networks and the trainer. Writes nothing.

    Raises:
        MiniganError: the configuration, the data or the backend does not do.
    """
    recipe = get_recipe(config.recipe).from_settings(config.settings)
    backend = get_backend(config.backend)
    dataset = recipe.open_data(config.data, seed=config.seed)
    recipe = recipe.fit(dataset)
    config = replace(
        config,
        settings=recipe.settings(),
        data=lasting_source(config.data),
        backend=backend.name,
        engine=backend.describe(),
    )
    shape = recipe.image_shape(dataset)
    learner = recipe.assemble(
        shape, backend=backend, dtype=config.dtype, rng=np.random.default_rng([config.seed, WEIGHTS])
    )
    extent = picture_extent(dataset)
    shown = recipe.held_out(config.data, dataset, seed=config.seed)
    exhibit = recipe.exhibit(shown, rng=np.random.default_rng([config.seed, PICTURES]), extent=extent)
    if shown is not dataset:
        shown.close()
    trainer = Trainer(
        learner,
        recipe.loader(dataset, seed=config.seed),
        rng=np.random.default_rng([config.seed, STEPS]),
        exhibit=exhibit,
        folder=folder,
        steps=recipe.steps,
        rhythm=config.rhythm,
        prepare=recipe.batch,
        to_images=recipe.to_images,
        model=model_description(recipe, shape, dtype=config.dtype, extent=extent, classes=tuple(dataset.classes or ())),
        average=recipe.moving_average(learner.G, seed=[config.seed, STANDING]),
        monitor=SampleMonitor(recipe, dataset, seed=config.seed, best=config.keep.best)
        if config.rhythm.evaluate_every
        else None,
        keep=config.keep,
        config=config.to_toml(),
    )
    return Run(config, recipe, dataset, backend, trainer)


class SampleMonitor:
    """Looks at samples while a generator trains: always of the same noise, beside the same real examples.

    A classifier whose features are compared is trained, if it must be, when the first samples come.

    Args:
        recipe: draws from noise.
        dataset: images, or ring or grid.
        best: the figure that is to tell the best checkpoint, or "".
    Raises:
        ConfigError: the recipe draws from images, or there is no such figure.
        DataError: the dataset cannot be monitored.
    """

    def __init__(self, recipe: Recipe, dataset: Any, *, seed: int, best: str = "") -> None:
        self.recipe, self.dataset, self.seed = recipe, dataset, seed
        count = picture_count(recipe.image_shape(dataset), images=MONITOR_COUNT)
        self.z, self.condition = recipe.sources(np.random.default_rng([seed, EVALUATION]), count)
        Monitor.check(dataset, count=count)
        if best and best not in (figures := Monitor.figures(dataset)):
            raise ConfigError(f"--best must be one of {', '.join(figures)} with {dataset.name}, got {best}.")
        self.monitor: Monitor | None = None

    def __call__(self, draw: Draw, say: Callable[[str], None]) -> dict[str, float]:
        """The figures of what is drawn, by name.

        Args:
            say: told what takes long.
        """
        if self.monitor is None:
            images = len(self.dataset.shape) == 3
            features = choose_features(self.dataset, say=say) if images else None
            self.monitor = Monitor(self.dataset, features=features, count=len(self.z), seed=self.seed)
        return self.monitor(self.recipe.to_images(draw(self.z, self.condition)))


def reopen_run(folder: Path, *, steps: int | None = None, data: str | None = None) -> Run:
    """A run from its folder, perhaps with another number of steps, or the same data in another place.

    Raises:
        MiniganError: the folder holds no run, or what its config.toml says does not do.
    """
    config = read_config(folder, steps=steps, data=data)
    try:
        return open_run(config, folder)
    except DataError as error:
        if data is not None:
            raise
        raise DataError(
            f"{error} This source is from {folder / 'config.toml'}; if it has moved, add --data SOURCE."
        ) from None


def start(run: Run, *, numbered: bool = False) -> None:
    """Begins a run: creates its folder with config.toml. What a run without a checkpoint left there is replaced.

    Args:
        numbered: the folder is one of `new_folder`; if another run was quicker to take it, the next one is taken.
    Raises:
        ConfigError: the folder holds a run that can be continued, or something else.
        OutputError: the folder cannot be written. Then nothing is left of the attempt.
    """
    if not numbered:
        _check_free(run.trainer.folder)
    made = [path for path in (run.trainer.folder, *run.trainer.folder.parents) if not path.exists()]
    if numbered:
        claimed = _claim(run.trainer.folder)
        made[:1], run.trainer.folder = [claimed], claimed
    else:
        make_folder(run.trainer.folder)
    try:
        write_config(run.config, run.trainer.folder)
        atomic_write(run.trainer.folder / "log.jsonl", b"")
    except BaseException:
        if made:
            (run.trainer.folder / "config.toml").unlink(missing_ok=True)
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _check_free(folder: Path) -> None:
    """Raises ConfigError if the folder holds a run with a checkpoint, or anything that is no run."""
    remove_stale(folder, "config.toml")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        read_config(folder)
    except CheckpointError:
        raise ConfigError(f"{folder} is not empty and holds no run. Choose another --out, or empty it.") from None
    if CheckpointFolder(folder / "checkpoints").candidates():
        raise ConfigError(f"{folder} already holds a run. Continue it with --resume {folder}, or choose another --out.")


def _claim(folder: Path) -> Path:
    """Creates a numbered folder, or the next that is free: of two runs that start at once each gets its own."""
    make_folder(folder.parent)
    stem, _, number = folder.name.rpartition("-")
    for n in itertools.count(int(number)):
        path = folder.with_name(f"{stem}-{n}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise OutputError.of(path, error) from None
        return path
    raise AssertionError("unreachable")


def resume(run: Run, checkpoint: Path | None = None) -> tuple[str, ...]:
    """Goes back to the run's newest checkpoint, or to the one named.

    Returns:
        Warnings: the engine, a version or the number of items is not the one that the run was made with; there is no
        checkpoint yet, and the run begins.
    Raises:
        CheckpointError: there is none, or it is damaged or of another network.
        ConfigError: the run has done more steps than it is to do in all. Its folder is as it was.
    """
    made_with = read_config(run.trainer.folder).engine
    warnings = run.trainer.restore(checkpoint)
    write_config(run.config, run.trainer.folder)  # the number of steps may be new
    if made_with != run.config.engine:
        warnings.append(f"this run was made with {made_with}; from here on the last bits may differ.")
    return tuple(warnings)


def picture_extent(dataset: Collection) -> float:
    """How far a picture of points must reach to show all of the data; 1 for images."""
    if not isinstance(dataset, Dataset) or len(dataset.shape) > 1:
        return 1.0
    points = dataset.read(np.arange(min(len(dataset), 10_000)))
    return 1.25 * float(np.abs(points).max()) or 1.0


def run_folder(path: Path) -> Path:
    """A run's folder, from itself, its model file or one of its checkpoints."""
    if path.is_dir():
        return path
    return path.absolute().parent.parent if path.absolute().parent.name == "checkpoints" else path.parent


def run_data(path: Path, data: str | None) -> tuple[str, int]:
    """Where the data is, and the seed of an embedded set: the run's, if the generator lies in a run folder."""
    try:
        config = read_config(run_folder(path))
    except CheckpointError:
        if data is None:
            raise ConfigError(f"{path} lies in no run folder that names its data. Add --data SOURCE.") from None
        return lasting_source(data), 0
    return lasting_source(data) if data is not None else config.data, config.seed
