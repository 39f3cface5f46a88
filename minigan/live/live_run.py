"""A run that can be stopped, stepped, changed and taken back."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minigan.errors import ConfigError, DivergenceError
from minigan.live.changes import apply_settings, expect_game, with_changes
from minigan.live.history import ValueHistory, Values
from minigan.live.journal import Journal, Note, Side
from minigan.live.snapshots import Snapshots, restore
from minigan.recipes.bases.adversarial import AdversarialRecipe
from minigan.runs.config import RunConfig, write_config
from minigan.runs.prepare import PreparedRun
from minigan.runs.session import start_run
from minigan.support.progress import Progress
from minigan.training import StepValues, TrainingState
from minigan.training.failures import at_step
from minigan.training.listeners import Step, Training
from minigan.training.listeners.pictures import remove_pictures_after
from minigan.training.stepper import Stepper

__all__ = ["LiveRun"]


class LiveRun:
    """A run that can be stopped, stepped, changed and taken back. A context manager that closes its data.

    Args:
        prepared: with its folder, see `start_run`.
        progress: shows how it advances.
    Attributes:
        recipe: with the settings in force.
        journal: the changes so far.
        history: losses so far, thinned out.
        values: of the last step; None before the first.
        is_whole: False while a step is under way, and after one that has failed half-way.
    Raises:
        ConfigError: the recipe is no game of a G that draws from noise.
    """

    def __init__(self, prepared: PreparedRun, progress: Progress) -> None:
        recipe = prepared.recipe
        self.game = expect_game(recipe, prepared.trainer.state.learner)
        if not isinstance(recipe, AdversarialRecipe):
            raise ConfigError(f"{recipe.name} has no D.")
        self.prepared, self.recipe = prepared, recipe
        self.state: TrainingState = prepared.trainer.state
        self.config: RunConfig = prepared.config
        self.journal = Journal(self.state.folder)
        self.history = ValueHistory()
        self.values: Values | None = None
        self.is_whole = True
        self._progress = progress
        self._training: Training = prepared.trainer.listening(progress)
        self._everyone = self._training.everyone
        self._snapshots = Snapshots()
        self._stack = ExitStack()
        self._last: StepValues | None = None
        self._renew()

    def __enter__(self) -> "LiveRun":
        if self.state.owner is not None:
            self._stack.enter_context(self.state.owner)
        self._stack.callback(self.prepared.dataset.close)
        self._stack.enter_context(self.state.loader)
        self._everyone.on_start(self._training)
        if not self.journal.notes:
            self._note("begin", self.recipe.settings())
        self._snapshots.add(self.state, self.recipe)
        return self

    def __exit__(self, *error: object) -> None:
        self._everyone.on_end()
        self._stack.close()

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.state.folder

    @property
    def game_steps(self) -> tuple[int, int]:
        """Updates of G and of D so far."""
        return self.game.g_optimizer.steps, self.game.d_optimizer.steps

    # ------------------------------------------------------------------------------------------ forward

    def advance(self, side: Side | None = None, *, watched: AbstractContextManager[object] | None = None) -> None:
        """One step, or an update of one side alone.

        Args:
            watched: a context around the engine's calls, which are then Python's own, none replayed.
        Raises:
            DivergenceError: a number is not finite; the run is as before the step.
            ConfigError: one side alone is asked for, but updates are means over several batches.
        """
        if side is not None and self.game.accumulate > 1:
            raise ConfigError("with `accumulate` above 1 an update takes several batches: whole steps only.")
        began, self.is_whole = self.state.step, False
        try:
            self._move(side, watched or nullcontext())
        except DivergenceError as error:
            self.return_to(began)
            raise at_step(error, began + 1) from None
        self.is_whole = True
        if side is not None:
            self._note("only", side)
        self._snapshots.consider(self.state, self.recipe)

    def _move(self, side: Side | None, watched: AbstractContextManager[object]) -> None:
        """Does a step, and tells the listeners of a whole one."""
        state = self.state
        with np.errstate(all="ignore"), watched:
            if side is None:
                self._last = self._stepper.step()  # type: ignore[assignment]
            else:
                self._one_side(side)
        state.step += 1
        if side is None and self._last is not None:
            step = Step(state.step, self._last, last=False)
            if self._everyone.is_due(step):
                self._stepper.check()
                self.prepared.trainer.checkpoints.put_back(self._training.say)
            self._everyone.on_step(step)

    def _one_side(self, side: Side) -> None:
        batches, rng = self._batches(), self.state.rng
        if side == "D":
            found = self.game.step_of_discriminator(batches, rng)
            before = self._last.g_loss if self._last is not None else np.float32(np.nan)
            self._last = StepValues(found.loss, before, found.real, found.fake, found.penalty)
        else:
            loss = self.game.step_of_generator(batches, rng)
            nothing = np.float32(np.nan)
            last = self._last or StepValues(nothing, nothing, nothing, nothing, nothing)
            self._last = last._replace(g_loss=loss)
            for average in self.state.averages.values():
                average.update()
        self._renew()  # what the stepper remembers for its way back is of another step

    def measure(self) -> Values | None:
        """The values of the last step, noted in the history; waits for a device."""
        if self._last is None or not self.state.step:
            return None
        if self.values is None or self.values.step != self.state.step:
            self._stepper.check()
            self.values = Values(self.state.step, *(float(value) for value in self._last))
            self.history.add(self.values)
        return self.values

    def _batches(self) -> Iterator[Any]:
        state, prepare = self.state, self.prepared.trainer.prepare
        return (prepare(item, state.rng) for item in state.loader)

    def _renew(self) -> None:
        """Begins anew with what a stepper remembers: recorded steps, and the way back."""
        state = self.state
        self._stepper = Stepper(state.learner, self._batches(), state.rng, averages=state.averages.values())

    # ------------------------------------------------------------------------------------------ back

    def return_to(self, step: int) -> None:
        """Goes back to an earlier step, bit for bit: from a copy, with the steps since done again.

        Changes and records of later steps are forgotten.

        Args:
            step: the number of steps done there.
        """
        snapshot = self._snapshots.before(step)
        restore(self.state, snapshot)
        self._snapshots.forget_after(step)
        self._use(snapshot.recipe)
        self._last = None
        while True:
            for changes in self.journal.changes_at(self.state.step):
                self._use(with_changes(self.recipe, changes))
            if self.state.step >= step:
                break
            self._repeat()
        self.is_whole = True
        self._forget_after(step)

    def _repeat(self) -> None:
        """A step that was done before, without its records."""
        side = self.journal.side_of(self.state.step + 1)
        with np.errstate(all="ignore"):
            if side is None:
                self._last = self._stepper.step()  # type: ignore[assignment]
            else:
                self._one_side(side)
        self.state.step += 1

    def _forget_after(self, step: int) -> None:
        self.journal.cut(step)
        self.history.cut(step)
        self.values = None
        remove_pictures_after(self.folder, step)
        checkpoints = self.prepared.trainer.checkpoints
        if checkpoints.saved is not None:
            checkpoints.saved = min(checkpoints.saved, step)
        self._write_settings()

    # ------------------------------------------------------------------------------------------ changes

    def change(self, changes: Mapping[str, Any]) -> None:
        """Other settings from the next step on; noted, and kept for a run that is resumed.

        Raises:
            ConfigError: see `with_changes`; nothing has changed.
        """
        self._use(with_changes(self.recipe, changes))
        self._note("set", dict(changes))
        self._write_settings()
        self.save()

    def _use(self, recipe: AdversarialRecipe) -> None:
        self.recipe = recipe
        apply_settings(self.game, recipe)
        self._renew()

    def _note(self, kind: str, value: Any) -> None:
        self.journal.add(Note(self.state.step, kind, value))

    def _write_settings(self) -> None:
        """Lets config.toml and checkpoints have the settings in force, so that the run can be resumed with them."""
        state, settings = self.state, self.recipe.settings()
        if settings == self.config.settings:
            return
        self.config = replace(self.config, settings=settings)
        state.config = self.config.to_toml()
        known = state.model["settings"]
        state.model = {**state.model, "settings": {name: settings.get(name, value) for name, value in known.items()}}
        write_config(self.config, self.folder)

    def save(self) -> None:
        """Writes a checkpoint of the present step."""
        self._stepper.check()
        self.prepared.trainer.checkpoints.save_and_tell()

    def fork(self) -> "LiveRun":
        """A second run with this one's present, in a folder of its own.

        Raises:
            MiniganError: the folder cannot be made, or the data cannot be read.
        """
        self._stepper.check()
        twin = LiveRun(start_run(self.config, root=self.folder.parent), self._progress)
        snapshot = self._snapshots.add(self.state, self.recipe)
        restore(twin.state, snapshot)
        twin._use(self.recipe)
        twin._last, twin.history = self._last, self.history.copy()
        twin._note("begin", self.recipe.settings())
        twin._note("forked", str(self.folder))
        twin.save()
        return twin
