"""The next step of a run, or the first of a recipe, which can be done as often as one likes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from minigan.backends import Array, Backend
from minigan.checkpoints.folder import CheckpointFolder
from minigan.errors import CheckpointError, DataError
from minigan.inspection.step_marks import Marks, marked
from minigan.recipes import Recipe
from minigan.runs.config import RunConfig, new_config, read_config, with_engine
from minigan.runs.folders import run_folder
from minigan.runs.prepare import PreparedRun, prepare_run, source_missing
from minigan.runs.pretrained import expect_run
from minigan.support.memory_limit import expect_room
from minigan.support.representation import short_path
from minigan.training.fake_pool import FakePool
from minigan.training.state import TrainingState

__all__ = ["RealStep", "step_of_recipe", "step_of_run"]


class RealStep:
    """A step on the batches that training would take next; each repetition begins where the first began.

    Args:
        prepared: a run that is ready to train; it is not written to.
        title: names it.
    Attributes:
        title: see above.
        state: the training's.
        number: the step's, from 1.
        notes: how the source of data was understood.
    Raises:
        OutOfMemoryError: the copies to go back to do not fit.
    """

    def __init__(self, prepared: PreparedRun, *, title: str, notes: tuple[str, ...] = ()) -> None:
        self.title, self.notes = title, notes
        self.recipe, self.config, self.state = prepared.recipe, prepared.config, prepared.trainer.state
        self.backend: Backend = prepared.backend
        self.number = self.state.step + 1
        loader = self.state.loader
        self._items = [next(loader) for _ in range(self.state.learner.batches_per_step)]
        arrays = list(_changing(self.state))
        on_host = [array.nbytes for array in arrays if isinstance(array, np.ndarray)]
        expect_room(sum(on_host), what="a copy of all that a step changes")
        self._kept = [(array, array.copy()) for array in arrays]
        self._counts = [(owner, name, getattr(owner, name)) for owner, name in _counters(self.state)]
        self._draws = self.state.rng.bit_generator.state

    @property
    def is_on_device(self) -> bool:
        """Whether the backend computes on a device, where training replays steps as graphs."""
        return self.backend.memory() is not None

    def run(self, marks: Marks | None = None) -> None:
        """Does the step, and goes back to where it began.

        Args:
            marks: are told of all that happens; None for an ordinary step.
        Raises:
            DivergenceError: a number is not finite.
        """
        try:
            with np.errstate(all="ignore"), nullcontext() if marks is None else marked(self.state.learner, marks):
                self._do(marks)
        finally:
            self._go_back()

    def run_timed(self, read: Callable[[], int]) -> float:
        """Seconds of an ordinary step, by a clock in nanoseconds; the way back is not in it."""
        try:
            with np.errstate(all="ignore"):
                began = read()
                self._do(None)
                return 1e-9 * (read() - began)
        finally:
            self._go_back()

    def _do(self, marks: Marks | None) -> None:
        state = self.state
        if marks is None:
            state.learner.step(self._batches(), state.rng)
            for average in state.averages.values():
                average.update()
            return
        marks.begin("step", "step")
        state.learner.step(_told(self._batches(), marks), state.rng)
        for name, average in state.averages.items():
            marks.begin("average", name)
            average.update()
            marks.end()
        marks.end()

    def _batches(self) -> Iterator[Any]:
        return (self.recipe.batch(item, self.state.rng) for item in self._items)

    def _go_back(self) -> None:
        for array, kept in self._kept:
            array[...] = kept
        for owner, name, count in self._counts:
            setattr(owner, name, count)
        self.state.rng.bit_generator.state = self._draws
        for network in self.state.learner.networks.values():
            network.arena.updated()
        for optimizer in self.state.learner.optimizers.values():
            optimizer.is_updating = False

    def lasting(self) -> dict[str, int]:
        """Bytes that are there before and after each step, by what they are."""
        learner, averages = self.state.learner, self.state.averages.values()
        found = {
            "weights": sum(net.arena.flat.nbytes + net.state.flat.nbytes for net in learner.networks.values()),
            "gradients": sum(grads.flat.nbytes for grads in learner.grads.values()),
            "optimizers": sum(b.nbytes for o in learner.optimizers.values() for b in o.buffers.values()),
        }
        if averages:
            found["moving average"] = sum(a.network.arena.flat.nbytes + a.network.state.flat.nbytes for a in averages)
        pools = [memory.fakes.nbytes for memory in learner.memories.values() if isinstance(memory, FakePool)]
        return found | ({"pool of fakes": sum(pools)} if pools else {})


def _told(batches: Iterator[Any], marks: Marks) -> Iterator[Any]:
    """Batches whose making is marked; they are read ahead by other threads."""
    while True:
        marks.begin("batch", "batch")
        batch = next(batches)
        marks.end()
        yield batch


def _changing(state: TrainingState) -> Iterator[Array]:
    """All arrays that a step changes."""
    for network in state.learner.networks.values():
        yield from (network.arena.flat, network.state.flat)
    for memory in state.learner.memories.values():
        if isinstance(memory, FakePool):
            yield memory.fakes
        else:
            yield from memory.buffers.values()
    for average in state.averages.values():
        yield from (average.network.arena.flat, average.network.state.flat)


def _counters(state: TrainingState) -> Iterator[tuple[Any, str]]:
    for memory in state.learner.memories.values():
        yield memory, "count" if isinstance(memory, FakePool) else "steps"
    for average in state.averages.values():
        yield average, "updates"


# ------------------------------------------------------------------------------------------ where it is from


@contextmanager
def step_of_recipe(
    recipe: Recipe, *, backend: str | None, precision: str | None = None, data: str | None
) -> Iterator[RealStep]:
    """The first step of a recipe, on data that minigan has or on the source that is named; nothing is written.

    Raises:
        DataError: the data cannot be read, or are not for this recipe.
    """
    config = new_config(recipe, data=data, backend=backend, precision=precision)
    with _prepared(config, Path("runs") / recipe.name) as prepared:
        yield RealStep(prepared, title=f"{recipe.name} on {config.data}", notes=tuple(prepared.dataset.notes))


@contextmanager
def step_of_run(
    path: Path,
    *,
    backend: str | None,
    precision: str | None = None,
    data: str | None,
    targets: str | None = None,
    data_b: str | None = None,
) -> Iterator[RealStep]:
    """The step after a run's newest checkpoint, or after the one that is named; nothing is written.

    Raises:
        CheckpointError: there is no run, it has no checkpoint yet, or a file is damaged.
        DataError: the data cannot be read; perhaps they have moved.
        BackendError, MissingExtraError: the run's backend cannot be used here.
    """
    expect_run(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no run is there. Name a folder that a training has written.")
    folder = run_folder(path) if path.is_file() else path
    is_checkpoint = path.is_file() and path.parent.name == "checkpoints"
    config = read_config(folder, data=data, targets=targets, data_b=data_b)
    found, arrays, description = CheckpointFolder(folder / "checkpoints").load(path if is_checkpoint else None)
    config = with_engine(config, backend=backend, precision=precision)
    try:
        with _prepared(config, folder) as prepared:
            prepared.trainer.state.load(arrays, description, source=found)
            name = short_path(folder.absolute())
            yield RealStep(prepared, title=f"{name}, {config.recipe} on {config.data}", notes=prepared.dataset.notes)
    except DataError as error:
        if not (data is targets is data_b is None):
            raise
        raise source_missing(error, folder, config) from None


@contextmanager
def _prepared(config: RunConfig, folder: Path) -> Iterator[PreparedRun]:
    """A run that is closed afterwards."""
    prepared = prepare_run(config, folder)
    try:
        with prepared.trainer.state.loader:
            yield prepared
    finally:
        prepared.dataset.close()
