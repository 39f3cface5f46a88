"""Starting, resuming and training a run: the one way that `minigan.train` and the command line share."""

import contextlib
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from minigan.backends import BACKENDS, Backend, get_backend
from minigan.backends.precision import VARIABLE, environment_precision
from minigan.data import EMBEDDED
from minigan.distributed import find_ranks
from minigan.errors import BackendError, ConfigError, MissingExtraError
from minigan.recipes import Recipe, get_recipe
from minigan.runs.among_ranks import create_shared_folder, expect_alike, expect_same_step, one_voice
from minigan.runs.config import RunConfig, read_config
from minigan.runs.folders import new_folder, run_folder
from minigan.runs.prepare import PreparedRun, load_checkpoint, prepare_from_folder, prepare_run
from minigan.support.cpu_limit import usable_cpus
from minigan.support.folder_owner import FolderOwner
from minigan.support.interruption import Interruption
from minigan.support.output import Output
from minigan.support.progress import Progress, open_progress
from minigan.support.representation import python_text, short_path
from minigan.training.listeners import AnyListener

__all__ = ["data_hint", "recipe_named", "resume_run", "start_run", "train_run"]


def start_run(
    config: RunConfig, out: Path | None = None, *, root: Path = Path("runs"), listeners: Sequence[AnyListener] = ()
) -> PreparedRun:
    """A new run in a new folder, ready for `train_run`.

    Args:
        out: the folder; None takes the next of RECIPE-DATA-1, -2, ... in `root`.
        root: see `out`.
        listeners: a user's own.
    Raises:
        MiniganError: the configuration, the data, the backend or the folder cannot be used.
    """
    ranks = find_ranks()
    with one_voice(), ranks.ending_together():
        folder = ranks.from_first(out or new_folder(config.recipe, config.data, root=root))
        prepared = prepare_run(config, folder, listeners=listeners, ranks=ranks)
        try:
            expect_alike(prepared)
            create_shared_folder(prepared, numbered=out is None)  # its owner is released by `train_run`
        except BaseException:
            prepared.dataset.close()
            raise
    return prepared


def resume_run(
    path: Path,
    *,
    steps: int | None = None,
    data: str | None = None,
    targets: str | None = None,
    data_b: str | None = None,
    precision: str | None = None,
    listeners: Sequence[AnyListener] = (),
) -> tuple[PreparedRun, tuple[str, ...]]:
    """A run restored from its newest checkpoint, or from the one named, ready for `train_run`; and warnings.

    Args:
        path: of the run's folder, or of one of its checkpoints.
        steps: in all; None as before.
        data: where the same data are now; None as before.
        targets: where the targets are now, for pairs in two folders.
        data_b: where the images of B are now, for unpaired data in two places.
        precision: of products from here on; None as before, whatever MINIGAN_PRECISION says.
        listeners: a user's own.
    Raises:
        MiniganError: there is no run, or it cannot be resumed with these arguments. Nothing is changed.
    """
    checkpoint = path if path.is_file() else None
    folder = path if checkpoint is None else run_folder(checkpoint)
    ranks = find_ranks()
    with one_voice(), ranks.ending_together(), contextlib.ExitStack() as on_error:
        read_config(folder)  # raises, if there is no run: nothing is written there
        owner = None
        if ranks.is_first:
            owner = on_error.enter_context(FolderOwner(folder, remedy="Wait until it has ended, or stop it first."))
        ranks.barrier()
        prepared = prepare_from_folder(
            folder,
            steps=steps,
            data=data,
            targets=targets,
            data_b=data_b,
            precision=precision,
            listeners=listeners,
            ranks=ranks,
        )
        on_error.callback(prepared.dataset.close)
        prepared.trainer.state.owner = owner
        kept = _kept_precision(prepared) if precision is None else ()
        expect_alike(prepared)  # before anything is changed in the folder
        warnings = load_checkpoint(prepared, checkpoint) + kept
        expect_same_step(prepared)
        on_error.pop_all()
    return prepared, warnings


def _kept_precision(prepared: PreparedRun) -> tuple[str, ...]:
    """A line, if the environment names another precision than the run's."""
    asked, own = environment_precision(), prepared.backend.precision
    if asked in (None, own) or prepared.backend.name == "reference":
        return ()
    return (f"{VARIABLE}={asked} is for new runs: this one goes on in {own}. `precision={asked!r}` changes it.",)


def recipe_named(name: str) -> type[Recipe]:
    """The recipe of that name.

    Raises:
        ConfigError: there is none; if the name is a source of data, the error says so.
    """
    try:
        return get_recipe(name)
    except ConfigError as error:
        raise ConfigError(f"{error}{data_hint(name)}") from None


def data_hint(text: str) -> str:
    """A hint for an unexpected word that names a source of data; "" for other words."""
    return f" Did you mean `data={python_text(text)}`?" if text in EMBEDDED or os.path.exists(text) else ""


def train_run(
    prepared: PreparedRun, *, output: Output, chosen: bool = True, pass_on_sigterm: bool = False
) -> Progress | None:
    """Trains to the last step, or until interrupted by Ctrl-C, and shows progress. Closes the data.

    Args:
        output: the place for progress and messages.
        chosen: the user has named the backend; otherwise a message may explain the choice.
        pass_on_sigterm: see `Interruption`; the command line has an exit code of its own instead.
    Returns:
        The progress, for a last message; None if all steps were done before.
    Raises:
        MiniganError: see `Trainer.run`.
    """
    trainer, state, backend = prepared.trainer, prepared.trainer.state, prepared.backend
    owner = state.owner or contextlib.nullcontext()
    if not state.ranks.is_first:
        output = Output(quiet=True)
    with one_voice(), state.ranks.ending_together(), owner, contextlib.closing(prepared.dataset), state.loader:
        if state.owner is not None and state.owner.warning:
            output.note(state.owner.warning)
        if state.ranks.warning:
            output.note(state.ranks.warning)
        backend.compile_ahead()
        progress = open_progress(start=state.step, total=state.steps, output=output)
        progress.message(f"{prepared.recipe.name} on {prepared.dataset.describe()}")
        for line in prepared.dataset.notes:
            output.note(line)
        progress.message(f"{backend.describe()}; run folder {short_path(state.folder)}")
        if line := _shares(prepared):
            progress.message(line)
        if prepared.config.dtype == "float64" and backend.precision != "fp32":
            progress.message(f"these networks are float64: {backend.precision} rounds products of float32 only.")
        if not chosen and (choice := _why_this(backend)):
            progress.message(choice)
        if find_spec("numba") is None and backend.name == "reference":
            progress.message("pip install 'minigan[numba]' trains several times faster.")
        if state.step >= state.steps:
            progress.message(f"all {state.step} steps are done; `steps=N` with a larger N trains on.")
            return None
        if (last := trainer.checkpoints.files.last_step() or 0) > state.step:
            progress.message(f"resumed from step {state.step}: steps {state.step + 1} to {last} are done anew.")
        with Interruption(progress.message, pass_on=pass_on_sigterm) as interruption, progress:
            trainer.run(progress, interruption)
    return progress


def _shares(prepared: PreparedRun) -> str:
    """A line on what each rank has: its part of a batch, and of the CPUs; "" for one process."""
    ranks, batch_size = prepared.backend.ranks, prepared.recipe.batch_size
    if ranks.size == 1:
        return ""
    cpus = f"; {usable_cpus()} each" if prepared.backend.name != "gpu" else ""
    return f"{ranks.size} ranks, {batch_size // ranks.size} of the batch's {batch_size} examples each{cpus}"


def _why_this(backend: Backend) -> str | None:
    """A line about the backend that "auto" chose, if there is a GPU, or a faster one was expected to run."""
    if backend.name == "gpu":
        return "`backend='auto'` chose the GPU; `backend='cpu'` trains on the CPU."
    for faster in BACKENDS[: BACKENDS.index(backend.name) : -1]:
        try:
            get_backend(faster)
        except MissingExtraError:  # as on most machines
            continue
        except BackendError as error:
            return f"`backend='auto'` chose {backend.name}: {error}"
    return None
