"""The loop around a learner's steps. What is logged, drawn, measured and saved on the way is done by listeners."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigan.checkpoints.folder import resume_from
from minigan.errors import DataError, DivergenceError, ListenerError, OutputError
from minigan.support.interruption import Interruption
from minigan.support.progress import Progress
from minigan.training.learner import Values
from minigan.training.listeners.base import AnyListener, Clock, Everyone, Listener, Step, Training, as_listener
from minigan.training.listeners.checkpoints import Checkpoints
from minigan.training.listeners.evaluation import Evaluation, Measure
from minigan.training.listeners.log import Log
from minigan.training.listeners.pictures import Pictures
from minigan.training.listeners.progress import ShowProgress
from minigan.training.out_of_memory import out_of_memory
from minigan.training.sampling import Exhibit
from minigan.training.state import TrainingState
from minigan.training.stepper import Stepper

__all__ = ["Keep", "Rhythm", "Trainer"]


@dataclass(frozen=True)
class Rhythm:
    """The steps from one to the next: records of the log, pictures, checkpoints; 0 is never.

    Attributes:
        log_every, sample_every, checkpoint_every: from 1 up.
        evaluate_every: figures, which take time.
        log_gradients: records with the norm of each layer's gradients.
    """

    log_every: int = 20
    sample_every: int = 250
    checkpoint_every: int = 500
    evaluate_every: int = 0
    log_gradients: int = 0


@dataclass(frozen=True)
class Keep:
    """Which checkpoints stay: the last few, and the best by a figure of the evaluation, "" for its first."""

    last: int = 3
    best: str = ""


class Trainer:
    """Trains until all steps are done, and leaves a run folder.

    Args:
        state: networks, data, random numbers, folder; the folder exists when training begins.
        prepare: from the loader's batch, and the state's `rng`, to what the learner's step takes.
        exhibit: what the sample pictures are drawn from.
        to_images: from G's output to [-1, 1].
        rhythm: when to log, draw and save.
        measure: looks at what is drawn, and returns figures for the log.
        keep: which checkpoints stay.
        listeners: a user's own, or functions that are called with each record of the log.
    """

    def __init__(
        self,
        state: TrainingState,
        *,
        prepare: Callable[[Any, np.random.Generator], Any],
        exhibit: Exhibit,
        to_images: Callable[[np.ndarray], np.ndarray],
        rhythm: Rhythm = Rhythm(),
        measure: Measure | None = None,
        keep: Keep = Keep(),
        listeners: Sequence[AnyListener] = (),
    ) -> None:
        self.state = state
        self.prepare = prepare
        self.checkpoints = Checkpoints(state, every=rhythm.checkpoint_every, keep=keep.last)
        self._log = Log(every=rhythm.log_every, gradients=rhythm.log_gradients)
        others: list[Listener] = [Pictures(every=rhythm.sample_every, exhibit=exhibit, to_images=to_images)]
        if measure is not None:
            every = rhythm.evaluate_every
            others.append(Evaluation(measure, every=every, checkpoints=self.checkpoints, best=keep.best))
        self._others = [*others, *map(as_listener, listeners), self.checkpoints]

    def run(self, progress: Progress, interruption: Interruption) -> None:
        """Trains from where it stands to the last step, or until interrupted; leaves a checkpoint either way.

        Raises:
            DataError: an item cannot be read; a checkpoint was saved.
            ListenerError: a user's listener failed; a checkpoint was saved.
            DivergenceError: a number became NaN or infinite; names the step, the place and the last good checkpoint.
            OutputError: the run folder cannot be written; names the checkpoint that is left.
        """
        everyone = Everyone([self._log, ShowProgress(progress), *self._others])
        training = Training(self.state, everyone, progress.message, self._clock())
        try:
            self._tell_start(training)
            while not self._finished(training, interruption):
                training.clock = self._clock()  # the run's folder was removed, and is there again
        except BaseException:
            with contextlib.suppress(ListenerError):  # the first error is the one to know of
                everyone.on_end()
            raise
        everyone.on_end()

    def _finished(self, training: Training, interruption: Interruption) -> bool:
        """Trains; False if what was to be written had no folder any more, and now has."""
        try:
            self._train(training, interruption)
        except OutputError as error:
            if self.checkpoints.put_back(training.say):
                return False
            left = self.checkpoints.files.last_step()
            text = str(error) if left is None else f"{error} {resume_from(self.state.folder, left)}"
            raise OutputError(text) from None
        return True

    def _train(self, training: Training, interruption: Interruption) -> None:
        state, everyone = self.state, training.everyone
        batches = (self.prepare(item, state.rng) for item in state.loader)
        stepper = Stepper(state.learner, batches, state.rng, average=state.average)
        try:
            while state.step < state.steps and not interruption.requested:
                values = self._one_step(stepper)
                state.step += 1
                step = Step(state.step, values, last=state.step == state.steps)
                if everyone.is_due(step):
                    self._settle(stepper, training)
                everyone.on_step(step)
            if self.checkpoints.saved != state.step:
                self._settle(stepper, training)
                self.checkpoints.at_end()
        except (DataError, ListenerError) as error:
            self._look(stepper)
            raise self._saved_before(error) from error.__cause__

    def _one_step(self, stepper: Stepper) -> Values:
        try:
            # Overflow and NaN are looked for, and explained, by the learner.
            with np.errstate(all="ignore"):
                return stepper.step()
        except MemoryError as error:
            batch_size = self.state.loader.batch_size
            raise out_of_memory(error, self.state.learner.networks, batch_size=batch_size) from None
        except DivergenceError as error:
            raise self._diverged(error, step=self.state.step + 1) from None

    def _settle(self, stepper: Stepper, training: Training) -> None:
        """All steps until here are done and sound, and the folder is there for what is written of them."""
        self._look(stepper)
        self.checkpoints.put_back(training.say)

    def _look(self, stepper: Stepper) -> None:
        """Waits until all steps are done, and makes sure that they were sound."""
        try:
            stepper.look()
        except DivergenceError as error:
            raise self._diverged(error, step=self.state.step - error.steps_ago) from None

    def _diverged(self, error: DivergenceError, *, step: int) -> DivergenceError:
        paths = self.checkpoints.files.paths()
        kept = f"The last good checkpoint is {paths[-1]}." if paths else "No checkpoint was written yet."
        return DivergenceError(
            f"training diverged at step {step}: {error} {kept} Try a lower learning rate (`lr=...`)."
        )

    def _tell_start(self, training: Training) -> None:
        try:
            training.everyone.on_start(training)
        except ListenerError as error:
            raise self._saved_before(error) from error.__cause__

    def _saved_before(self, error: DataError | ListenerError) -> DataError | ListenerError:
        """The error, after what was trained until then is safe."""
        self.checkpoints.save()
        is_data = isinstance(error, DataError)
        kind, remedy = (DataError, "replace or remove what is named there") if is_data else (ListenerError, "mend it")
        return kind(
            f"{error} Step {self.state.step} is saved: {remedy}, then resume with: "
            f"`minigan.open_run({str(self.state.folder)!r}).resume()`"
        )

    def _clock(self) -> Clock:
        images_per_step = self.state.loader.batch_size * self.state.learner.n_critic
        return Clock(self.state.step, images_per_step=images_per_step)
