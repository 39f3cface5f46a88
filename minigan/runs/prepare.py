"""Prepares runs: puts a recipe, its data and a folder together, for a new run or one that is resumed."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from minigan.backends import Backend, get_backend
from minigan.data import Dataset
from minigan.data.dataset import Collection
from minigan.distributed import ALONE, Ranks
from minigan.errors import DataError
from minigan.recipes import Recipe, TranslationRecipe, get_recipe
from minigan.runs.config import (
    RunConfig,
    is_same_engine,
    is_same_precision,
    lasting_source,
    read_config,
    with_engine,
    write_config,
)
from minigan.runs.folders import check_free, claim
from minigan.runs.learning_rates import rate_warnings
from minigan.runs.measure import measure_of
from minigan.runs.trained_generator import model_description
from minigan.support.durable_files import atomic_write, make_folder
from minigan.support.folder_owner import FolderOwner, refuse_if_owned
from minigan.training.listeners import AnyListener
from minigan.training.listeners.evaluation import Measure
from minigan.training.state import TrainingState
from minigan.training.trainer import Trainer

__all__ = [
    "PreparedRun",
    "create_folder",
    "load_checkpoint",
    "prepare_from_folder",
    "prepare_run",
    "source_missing",
]

WEIGHTS, STEPS, PICTURES, STANDING, EVALUATION = range(5)  # streams of random numbers from a run's seed
OTHER_FOLDER = "Wait until it has ended, or choose another `out`."


@dataclass(frozen=True)
class PreparedRun:
    """A run that is ready to train."""

    config: RunConfig
    recipe: Recipe
    dataset: Collection
    backend: Backend
    trainer: Trainer


def prepare_run(
    config: RunConfig, folder: Path, *, listeners: Sequence[AnyListener] = (), ranks: Ranks = ALONE
) -> PreparedRun:
    """Opens the data, builds the networks and the trainer. Writes nothing.

    Args:
        folder: the run's; it need not exist yet.
        listeners: a user's own.
        ranks: share each batch; all of them prepare the same.
    Raises:
        MiniganError: the configuration, the data, the backend or its ranks cannot be used.
    """
    recipe = get_recipe(config.recipe).from_settings(config.settings)
    backend = get_backend(config.backend, precision=config.precision)
    backend.share(ranks)
    dataset = recipe.open_data(config.data, seed=config.seed)
    try:
        return _assembled(config, recipe.fit(dataset), dataset, backend, folder, listeners)
    except BaseException:
        dataset.close()
        raise


def _assembled(
    config: RunConfig,
    recipe: Recipe,
    dataset: Collection,
    backend: Backend,
    folder: Path,
    listeners: Sequence[AnyListener],
) -> PreparedRun:
    backend.ranks = backend.ranks.dealing(recipe.batch_size, together=recipe.together)
    config = replace(
        config,
        settings=recipe.settings(),
        data=lasting_source(config.data),
        backend=backend.name,
        precision=backend.precision,
        engine=f"{backend.ranks.size} ranks of {backend.describe()}" if backend.ranks.size > 1 else backend.describe(),
    )
    if recipe.mirror:
        together = ", the pictures of a pair together" if isinstance(recipe, TranslationRecipe) else ""
        dataset.note(f"each image is flipped left to right with probability 1/2{together}")
    shape = recipe.image_shape(dataset)
    learner = recipe.assemble(
        shape, backend=backend, dtype=config.dtype, rng=np.random.default_rng([config.seed, WEIGHTS])
    )
    extent = picture_extent(dataset)
    shown = recipe.held_out(config.data, dataset, seed=config.seed)
    try:
        exhibit = recipe.exhibit(shown, rng=np.random.default_rng([config.seed, PICTURES]), extent=extent)
        measure = _measure(config, recipe, dataset, shown, backend.ranks)
    finally:
        if shown is not dataset:
            shown.close()
    loader = recipe.loader(dataset, seed=config.seed)
    if backend.ranks.size > 1:
        loader.share(backend.ranks)
    state = TrainingState(
        learner=learner,
        loader=loader,
        rng=np.random.default_rng([config.seed, STEPS]),
        model=model_description(
            recipe,
            shape,
            dtype=config.dtype,
            extent=extent,
            classes=tuple(dataset.classes or ()),
            unseen=recipe.unseen(dataset),
        ),
        folder=folder,
        steps=recipe.steps,
        averages=recipe.moving_averages(learner, seed=[config.seed, STANDING]),
        config=config.to_toml(),
        data=(dataset.describe(), dataset.notes),
    )
    trainer = Trainer(
        state,
        prepare=recipe.batch,
        exhibit=exhibit,
        to_images=recipe.to_images,
        rhythm=config.rhythm,
        measure=measure,
        keep=config.keep,
        listeners=listeners,
        logs=config.log,
    )
    return PreparedRun(config, recipe, dataset, backend, trainer)


def _measure(
    config: RunConfig, recipe: Recipe, dataset: Collection, held_out: Collection, ranks: Ranks
) -> Measure | None:
    if not config.rhythm.evaluate_every:
        return None
    rng = np.random.default_rng([config.seed, EVALUATION])
    return measure_of(recipe, dataset, held_out, rng=rng, seed=config.seed, best=config.keep.best, ranks=ranks)


def prepare_from_folder(
    folder: Path,
    *,
    steps: int | None = None,
    data: str | None = None,
    targets: str | None = None,
    data_b: str | None = None,
    precision: str | None = None,
    listeners: Sequence[AnyListener] = (),
    ranks: Ranks = ALONE,
) -> PreparedRun:
    """Prepares the run of an existing folder; writes nothing.

    Args:
        steps: in all; None as in config.toml.
        data: where the same data are now; None as in config.toml.
        targets: where the targets are now, for pairs in two folders.
        data_b: where the images of B are now, for unpaired data in two places.
        precision: of products from here on; None as in config.toml.
        listeners: a user's own.
        ranks: share each batch.
    Raises:
        MiniganError: the folder holds no run, or its configuration, data or backend cannot be used.
    """
    config = read_config(folder, steps=steps, data=data, targets=targets, data_b=data_b)
    config = with_engine(config, backend=None, precision=precision)
    try:
        return prepare_run(config, folder, listeners=listeners, ranks=ranks)
    except DataError as error:
        if not (data is targets is data_b is None):
            raise
        raise source_missing(error, folder, config) from None


def source_missing(error: DataError, folder: Path, config: RunConfig) -> DataError:
    """The error of a source that config.toml names, with the way to name another."""
    other = "`data=SOURCE`"
    if config.settings.get("targets"):
        other = "`data=SOURCE, targets=FOLDER`"
    elif config.settings.get("data_b"):
        other = "`data=SOURCE` or `data_b=SOURCE`"
    return DataError(f"{error} This source is from {folder / 'config.toml'}; if it has moved, add {other}.")


def create_folder(run: PreparedRun, *, numbered: bool = False) -> FolderOwner:
    """Creates the folder of a new run, with config.toml. A run there without a checkpoint is overwritten.

    Args:
        numbered: the folder is from `new_folder`; if another run has taken it since, the next free one is taken.
    Returns:
        The ownership of the folder, to be released when the training ends. The run's state has it as well.
    Raises:
        ConfigError: the folder holds a run that can be resumed, or files that are no run.
        OutputError: another training is alive in the folder, or it cannot be written. Nothing is left of the attempt.
    """
    state, folder = run.trainer.state, run.trainer.state.folder
    if not numbered:
        refuse_if_owned(folder, remedy=OTHER_FOLDER)
        check_free(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    if numbered:
        folder = claim(folder)
        made[:1], state.folder = [folder], folder
    else:
        make_folder(folder)
    owner = None
    try:
        owner = state.owner = FolderOwner(folder, remedy=OTHER_FOLDER)
        if not numbered:
            check_free(folder)  # once more: another training may have come and gone
        write_config(run.config, folder)
        atomic_write(folder / "log.jsonl", b"")
    except BaseException:
        if owner is not None:
            if made:
                (folder / "config.toml").unlink(missing_ok=True)
            owner.release()
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
    return owner


def load_checkpoint(run: PreparedRun, checkpoint: Path | None = None) -> tuple[str, ...]:
    """Restores the run's newest checkpoint, or the one named.

    Returns:
        Warnings, if the engine, the precision, a version or the number of items differs from the run's, if the learning
        rate jumps since the number of steps is new, or if there is no checkpoint yet and the run begins at step 0.
    Raises:
        CheckpointError: the checkpoint is missing, damaged or of another network.
        ConfigError: the checkpoint has more steps than the run in all. The run's folder is unchanged.
    """
    state = run.trainer.state
    before = read_config(state.folder)
    warnings = run.trainer.checkpoints.restore(checkpoint)
    if state.ranks.is_first:
        write_config(run.config, state.folder)  # the number of steps and the precision may be new
    if not is_same_engine(before, run.config):
        warnings.append(f"this run was made with {before.engine}; from here on the last bits may differ.")
    if not is_same_precision(before, run.config):
        now = run.config.precision
        warnings.append(f"this run was trained in {before.precision} to step {state.step}; from here on in {now}.")
    return (*warnings, *rate_warnings(run.recipe, state.learner.optimizers, state.step, state.resumed_config))


def picture_extent(dataset: Collection) -> float:
    """The extent of a picture of points that shows all of the data; 1 for images."""
    if not isinstance(dataset, Dataset) or len(dataset.shape) > 1:
        return 1.0
    points = dataset.read(np.arange(min(len(dataset), 10_000)))
    return 1.25 * float(np.abs(points).max()) or 1.0
