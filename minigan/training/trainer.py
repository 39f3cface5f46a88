"""The training loop around a learner's steps. Listeners log, draw, evaluate and save."""

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigan.distributed import dealt
from minigan.errors import DivergenceError, ListenerError, OutputError
from minigan.support.interruption import Interruption
from minigan.support.progress import Progress
from minigan.training.exhibit import Exhibit, Shown
from minigan.training.failures import add_line, at_step, how_to_go_on, release_memory
from minigan.training.listeners.base import AnyListener, Listener, Step, Training
from minigan.training.listeners.checkpoints import Checkpoints
from minigan.training.listeners.clock import Clock
from minigan.training.listeners.evaluation import Evaluation, Measure
from minigan.training.listeners.everyone import Everyone
from minigan.training.listeners.log import Log
from minigan.training.listeners.logs import open_logs
from minigan.training.listeners.pictures import Pictures
from minigan.training.listeners.progress import ShowProgress
from minigan.training.listeners.users import as_listener
from minigan.training.out_of_memory import out_of_memory
from minigan.training.rhythm import Keep, Rhythm
from minigan.training.state import TrainingState
from minigan.training.stepper import Stepper
from minigan.training.undo import MOST

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
        listeners: a user's own, or functions that are called with each record of the log. On several ranks functions
            are called on the first alone, and so are `on_picture` and `on_checkpoint`.
        logs: for other programs, by name: csv, tensorboard.
    Raises:
        ConfigError: a listener is neither a `Listener` nor a function.
        MissingExtraError: a log needs a package that is not installed.
    """

    def __init__(
        self,
        state: TrainingState,
        *,
        prepare: Callable[[Any, np.random.Generator], Any],
        exhibit: Shown,
        to_images: Callable[[np.ndarray], np.ndarray],
        rhythm: Rhythm | None = None,
        measure: Measure | None = None,
        keep: Keep | None = None,
        listeners: Sequence[AnyListener] = (),
        logs: Sequence[str] = (),
    ) -> None:
        rhythm, keep = rhythm or Rhythm(), keep or Keep()
        self.state = state
        self.prepare = prepare
        self.checkpoints = Checkpoints(state, every=rhythm.checkpoint_every, keep=keep.last)
        self._log = Log(every=rhythm.log_every, gradients=rhythm.log_gradients)
        is_first = state.ranks.is_first
        pictures = Pictures(every=rhythm.sample_every, exhibit=exhibit, to_images=to_images)
        self._repeatable: list[Pictures | Evaluation] = [pictures]
        if measure is not None:
            every = rhythm.evaluate_every
            as_in_training = exhibit.batch_size if isinstance(exhibit, Exhibit) and exhibit.as_in_training else 0
            evaluation = Evaluation(
                measure, every=every, checkpoints=self.checkpoints, best=keep.best, as_in_training=as_in_training
            )
            self._repeatable.append(evaluation)
        given = [listener for listener in listeners if is_first or isinstance(listener, Listener)]
        users, more = map(as_listener, given), open_logs(logs if is_first else ())
        self._shown: ShowProgress | None = None
        self._others: list[Listener] = [*self._repeatable, *users, *more, self.checkpoints]
        self._places: deque[dict[str, int]] = deque(maxlen=MOST + 1)  # of the loader, before each of the last steps
        self._is_alone = not any(isinstance(given, Listener) for given in listeners)  # a function sees records only
        self._is_whole = True  # False once a step has failed half-way, and there was no way back

    @property
    def word(self) -> str:
        """The verdict on the last records of the log; "" before any, or while there are too few."""
        return "" if self._shown is None else self._shown.word

    def run(self, progress: Progress, interruption: Interruption) -> None:
        """Trains from the present step to the last, or until interrupted; leaves a checkpoint either way.

        So does whatever else ends it after a whole step: the error says, in its message or in a note, at which step,
        and how to resume. A step that fails half-way is undone first, see `minigan.training.undo`.

        Raises:
            DataError: an item cannot be read.
            ListenerError: a user's listener failed.
            DivergenceError: a number became NaN or infinite; names the step, the place and the last good checkpoint.
            OutOfMemoryError: a step needs more memory than there is; names the largest arrays.
            OutputError: the run folder cannot be written, or belongs to another training by now.
        """
        training = self.listening(progress)
        everyone = training.everyone
        try:
            everyone.on_start(training)
            for listener in self._repeatable:
                listener.make_up()
            while not self._finished(training, interruption):
                training.clock = self._clock()  # the run's folder was removed, and is there again
        except BaseException as error:
            with interruption.held_back():
                release_memory(error)
                is_first = self.state.ranks.is_first
                line = how_to_go_on(error, self.checkpoints, is_whole=self._is_whole) if is_first else ""
                add_line(error, line)
                if line and isinstance(error, SystemExit):  # Python prints no notes below it
                    progress.message(line)
                with contextlib.suppress(ListenerError):  # the first error is the one to know of
                    everyone.on_end()
            raise
        everyone.on_end()

    def listening(self, progress: Progress) -> Training:
        """The training with all its listeners, for a loop that does the steps in its own order; not started yet."""
        self._shown = ShowProgress(progress)
        everyone = Everyone([self._log, self._shown, *self._others])
        return Training(self.state, everyone, progress.message, self._clock())

    def _finished(self, training: Training, interruption: Interruption) -> bool:
        """Trains; False if the run's folder had been removed and was made anew.

        Several ranks end then, with all saved: the others are elsewhere by now, and wait for what the first left out.
        """
        try:
            self._train(training, interruption)
        except OutputError:
            if self._is_whole and self.checkpoints.put_back(training.say) and self.state.ranks.size == 1:
                return False
            raise
        return True

    def _train(self, training: Training, interruption: Interruption) -> None:
        state, everyone = self.state, training.everyone
        rng = dealt(state.rng, state.learner.G.kernels.ranks)
        batches = (self.prepare(item, rng) for item in state.loader)
        stepper = Stepper(state.learner, batches, rng, averages=state.averages.values(), is_alone=self._is_alone)
        try:
            while state.step < state.steps and not self._is_asked_to_end(training, interruption):
                step = self._step(stepper, interruption)
                if everyone.is_due(step):
                    self._settle(stepper, training)
                everyone.on_step(step)
            # The first rank says so for all: it alone saves when it makes a removed folder anew.
            if state.ranks.from_first(self.checkpoints.saved != state.step):
                self._settle(stepper, training)
                with interruption.held_back():
                    self.checkpoints.save_and_tell()
            state.ranks.barrier()  # no rank's program ends, and with it the others, before all is saved
        except DivergenceError:
            raise
        except BaseException:
            if self._is_whole:
                self._check(stepper)  # so that what is saved is sound
            raise

    def _is_asked_to_end(self, training: Training, interruption: Interruption) -> bool:
        """Whether a signal has asked one of the ranks to end: then all do, after the same step."""
        asked = interruption.requested  # once: the signal may come in between
        stop = self.state.ranks.any(asked)
        if stop and not asked:
            training.say("another rank was asked to end: saving after this step")
        return stop

    def _step(self, stepper: Stepper, interruption: Interruption) -> Step:
        """One step, or none if it fails: then everything is as before, if there is a way back."""
        state, before = self.state, self.state.step
        self._places.append(state.loader.state())
        try:
            # The learner finds and explains overflow and NaN.
            with np.errstate(all="ignore"):
                values = stepper.step()
            state.step += 1
        except BaseException as error:
            with interruption.held_back():
                if state.step == before:
                    self._is_whole = self._back(stepper, error)
                if (explained := self._explained(error, before + 1)) is not error:
                    raise explained from None
            raise
        return Step(state.step, values, last=state.step == state.steps)

    def _back(self, stepper: Stepper, error: BaseException) -> bool:
        """Undoes a step that failed. Returns whether that was possible, without going back behind a checkpoint."""
        state = self.state
        release_memory(error)
        lost = stepper.back(error)
        if lost is None or (lost and (self.checkpoints.saved or 0) >= state.step - lost):
            return False
        state.step -= lost
        place = self._places[-1 - lost]
        if state.loader.state() != place:
            state.loader.restore(place)
        return True

    def _explained(self, error: BaseException, step: int) -> BaseException:
        """The error of a step, with what the trainer knows of it."""
        state = self.state
        if isinstance(error, DivergenceError):
            return at_step(error, step)
        if isinstance(error, MemoryError):
            return out_of_memory(error, state.learner.networks, batch_size=state.loader.batch_size)
        return error

    def _settle(self, stepper: Stepper, training: Training) -> None:
        """Makes sure that all steps until here are done and sound, and that the run's folder exists."""
        self._check(stepper)
        self.checkpoints.put_back(training.say)

    def _check(self, stepper: Stepper) -> None:
        """Waits until all steps are done, and makes sure that they were sound."""
        try:
            stepper.check()
        except DivergenceError as error:
            self._is_whole = False  # on a device, half of a step may be done
            raise at_step(error, self.state.step - error.steps_ago) from None

    def _clock(self) -> Clock:
        images_per_step = self.state.loader.batch_size * self.state.learner.batches_per_step
        return Clock(self.state.step, images_per_step=images_per_step)
