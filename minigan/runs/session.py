"""Starting, resuming and training a run: the one way that `minigan.train` and the command line share."""

import contextlib
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from minigan.backends import Backend, get_backend
from minigan.data import EMBEDDED
from minigan.errors import BackendError, ConfigError, MissingExtraError
from minigan.recipes import Recipe, get_recipe
from minigan.runs.config import RunConfig
from minigan.runs.folders import new_folder, run_folder
from minigan.runs.prepare import PreparedRun, prepare_again, prepare_run, resume, start
from minigan.support.interruption import Interruption
from minigan.support.output import Output
from minigan.support.progress import Progress, open_progress
from minigan.training.listeners import AnyListener
from minigan.training.rhythm import Keep, Rhythm

__all__ = ["carry_out", "new_config", "recipe_named", "start_run", "take_up"]


def new_config(
    recipe: Recipe,
    *,
    data: str | None = None,
    seed: int | None = None,
    backend: str | None = None,
    log_every: int | None = None,
    sample_every: int | None = None,
    checkpoint_every: int | None = None,
    evaluate_every: int | None = None,
    log_gradients: int | None = None,
    keep: int | None = None,
    best: str | None = None,
) -> RunConfig:
    """The configuration of a new run; what is None has its default.

    Raises:
        ConfigError: a best figure is named that nobody measures.
    """
    if best and not evaluate_every:
        raise ConfigError(f"`best={best!r}` needs figures to go by. Add `evaluate_every=N`.")
    rhythm = {
        "log_every": log_every,
        "sample_every": sample_every,
        "checkpoint_every": checkpoint_every,
        "evaluate_every": evaluate_every,
        "log_gradients": log_gradients,
    }
    kept = {"last": keep, "best": best}
    return RunConfig(
        recipe=recipe.name,
        settings=recipe.settings(),
        data=recipe.default_data if data is None else data,
        seed=seed or 0,
        backend=backend or "auto",
        rhythm=Rhythm(**{name: n for name, n in rhythm.items() if n is not None}),
        keep=Keep(**{name: value for name, value in kept.items() if value is not None}),  # type: ignore[arg-type]
    )


def start_run(config: RunConfig, out: Path | None = None, *, listeners: Sequence[AnyListener] = ()) -> PreparedRun:
    """A new run in a folder of its own, ready for `carry_out`.

    Args:
        out: the folder; None takes the next of runs/RECIPE-DATA-1, -2, ...
        listeners: a user's own.
    Raises:
        MiniganError: the configuration, the data, the backend or the folder cannot be used.
    """
    prepared = prepare_run(config, out or new_folder(config.recipe, config.data), listeners=listeners)
    try:
        start(prepared, numbered=out is None)
    except BaseException:
        prepared.dataset.close()
        raise
    return prepared


def take_up(
    path: Path, *, steps: int | None = None, data: str | None = None, listeners: Sequence[AnyListener] = ()
) -> tuple[PreparedRun, tuple[str, ...]]:
    """A run that goes on from its newest checkpoint, or from the one named, ready for `carry_out`; and warnings.

    Args:
        path: of the run's folder, or of one of its checkpoints.
        steps: in all; None as before.
        data: where the same data are now; None as before.
        listeners: a user's own.
    Raises:
        MiniganError: there is no run, or it cannot be resumed so. Nothing is changed.
    """
    checkpoint = path if path.is_file() else None
    folder = path if checkpoint is None else run_folder(checkpoint)
    prepared = prepare_again(folder, steps=steps, data=data, listeners=listeners)
    try:
        return prepared, resume(prepared, checkpoint)
    except BaseException:
        prepared.dataset.close()
        raise


def recipe_named(name: str) -> type[Recipe]:
    """The recipe of that name.

    Raises:
        ConfigError: there is none; perhaps the name is one of data.
    """
    try:
        return get_recipe(name)
    except ConfigError as error:
        is_data = name in EMBEDDED or os.path.exists(name)
        hint = f" Did you mean `data={name!r}`?" if is_data else ""
        raise ConfigError(f"{error}{hint}") from None


def carry_out(prepared: PreparedRun, *, output: Output, chosen: bool = True) -> Progress | None:
    """Trains to the last step, or until interrupted by Ctrl-C, and shows progress. Closes the data.

    Args:
        output: where lines go.
        chosen: the user has named the backend, and need not be told which one it is.
    Returns:
        The place for last lines; None if all steps were done before.
    Raises:
        MiniganError: see `Trainer.run`.
    """
    trainer, state, backend = prepared.trainer, prepared.trainer.state, prepared.backend
    with contextlib.closing(prepared.dataset), state.loader:
        backend.compile_ahead()
        progress = open_progress(start=state.step, total=state.steps, output=output)
        progress.message(f"{prepared.recipe.name} on {prepared.dataset.describe()}")
        progress.message(f"{backend.describe()}; run folder {state.folder}")
        if not chosen and (choice := _why_this(backend)):
            progress.message(choice)
        if find_spec("numba") is None and backend.name == "reference":
            progress.message("pip install 'minigan[numba]' trains several times faster.")
        if state.step >= state.steps:
            progress.message(f"all {state.step} steps are done; `steps=N` with a larger N trains on.")
            return None
        with progress, Interruption(progress.message) as interruption:
            trainer.run(progress, interruption)
    return progress


def _why_this(backend: Backend) -> str | None:
    """A line on the backend that "auto" chose, where there is or ought to be a GPU."""
    if backend.name == "gpu":
        return "`backend='auto'` chose the GPU; `backend='cpu'` trains on the CPU."
    try:
        get_backend("gpu")
    except MissingExtraError:  # most have none
        return None
    except BackendError as error:
        return f"`backend='auto'` chose {backend.name}: {error}"
    return None
