"""The training loop around a learner's steps. Listeners log, draw, evaluate and save."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minigan.errors import DataError, DivergenceError, ListenerError, OutputError
from minigan.support.interruption import Interruption
from minigan.support.progress import Progress
from minigan.training.exhibit import Exhibit
from minigan.training.failures import diverged, saved_before, without_folder
from minigan.training.learner import Values
from minigan.training.listeners.base import AnyListener, Listener, Step, Training
from minigan.training.listeners.checkpoints import Checkpoints
from minigan.training.listeners.clock import Clock
from minigan.training.listeners.evaluation import Evaluation, Measure
from minigan.training.listeners.everyone import Everyone
from minigan.training.listeners.log import Log
from minigan.training.listeners.pictures import Pictures
from minigan.training.listeners.progress import ShowProgress
from minigan.training.listeners.users import as_listener
from minigan.training.out_of_memory import out_of_memory
from minigan.training.rhythm import Keep, Rhythm
from minigan.training.state import TrainingState
from minigan.training.stepper import Stepper

__all__ = ["Trainer"]


class Trainer:
    """Trains until all steps are done, and leaves a run folder.

    Args:
        state: networks, data, random numbers, folder; the folder exists when training begins.
        prepare: maps the loader's batch, and the state's `rng`, to the input of the learner's step.
        exhibit: the inputs of the sample pictures.
        to_images: maps G's output to images in [-1, 1].
        rhythm: when to log, draw, save and evaluate; None has the defaults.
        measure: evaluates samples, and returns figures for the log.
        keep: the checkpoints to keep; None has the defaults.
        listeners: a user's own, or functions that are called with each record of the log.
    Raises:
        ConfigError: a listener is neither a `Listener` nor a function.
    """

    def __init__(
        self,
        state: TrainingState,
        *,
        prepare: Callable[[Any, np.random.Generator], Any],
        exhibit: Exhibit,
        to_images: Callable[[np.ndarray], np.ndarray],
        rhythm: Rhythm | None = None,
        measure: Measure | None = None,
        keep: Keep | None = None,
        listeners: Sequence[AnyListener] = (),
    ) -> None:
        rhythm, keep = rhythm or Rhythm(), keep or Keep()
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
        """Trains from the present step to the last, or until interrupted; leaves a checkpoint either way.

        Raises:
            DataError: an item cannot be read; a checkpoint was saved.
            ListenerError: a user's listener failed; a checkpoint was saved.
            DivergenceError: a number became NaN or infinite; names the step, the place and the last good checkpoint.
            OutOfMemoryError: a step needs more memory than there is; names the largest arrays.
            OutputError: the run folder cannot be written; names the newest checkpoint.
        """
        everyone = Everyone([self._log, ShowProgress(progress), *self._others])
        training = Training(self.state, everyone, progress.message, self._clock())
        try:
            with self._saved_on_failure():
                everyone.on_start(training)
            while not self._finished(training, interruption):
                training.clock = self._clock()  # the run's folder was removed, and is there again
        except BaseException:
            with contextlib.suppress(ListenerError):  # the first error is the one to know of
                everyone.on_end()
            raise
        everyone.on_end()

    def _finished(self, training: Training, interruption: Interruption) -> bool:
        """Trains; False if the run's folder had been removed and was made anew."""
        try:
            self._train(training, interruption)
        except OutputError as error:
            if self.checkpoints.put_back(training.say):
                return False
            raise without_folder(error, self.state, checkpoints=self.checkpoints.files) from None
        return True

    def _train(self, training: Training, interruption: Interruption) -> None:
        state, everyone = self.state, training.everyone
        batches = (self.prepare(item, state.rng) for item in state.loader)
        stepper = Stepper(state.learner, batches, state.rng, average=state.average)
        with self._saved_on_failure(stepper):
            while state.step < state.steps and not interruption.requested:
                values = self._step(stepper)
                state.step += 1
                step = Step(state.step, values, last=state.step == state.steps)
                if everyone.is_due(step):
                    self._settle(stepper, training)
                everyone.on_step(step)
            if self.checkpoints.saved != state.step:
                self._settle(stepper, training)
                self.checkpoints.save_and_tell()

    def _step(self, stepper: Stepper) -> Values:
        try:
            # The learner finds and explains overflow and NaN.
            with np.errstate(all="ignore"):
                return stepper.step()
        except MemoryError as error:
            batch_size = self.state.loader.batch_size
            raise out_of_memory(error, self.state.learner.networks, batch_size=batch_size) from None
        except DivergenceError as error:
            raise self._diverged(error, step=self.state.step + 1) from None

    def _settle(self, stepper: Stepper, training: Training) -> None:
        """Makes sure that all steps until here are done and sound, and that the run's folder exists."""
        self._check(stepper)
        self.checkpoints.put_back(training.say)

    def _check(self, stepper: Stepper) -> None:
        """Waits until all steps are done, and makes sure that they were sound."""
        try:
            stepper.check()
        except DivergenceError as error:
            raise self._diverged(error, step=self.state.step - error.steps_ago) from None

    def _diverged(self, error: DivergenceError, *, step: int) -> DivergenceError:
        return diverged(error, step=step, checkpoints=self.checkpoints.files)

    @contextlib.contextmanager
    def _saved_on_failure(self, stepper: Stepper | None = None) -> Iterator[None]:
        """Saves a checkpoint if the data or a user's listener fails inside, and says so."""
        try:
            yield
        except (DataError, ListenerError) as error:
            if stepper is not None:
                self._check(stepper)
            self.checkpoints.save()
            raise saved_before(error, self.state) from error.__cause__

    def _clock(self) -> Clock:
        images_per_step = self.state.loader.batch_size * self.state.learner.n_critic
        return Clock(self.state.step, images_per_step=images_per_step)
