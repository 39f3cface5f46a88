"""Training steps one after the other, without waiting for a device that computes by itself.

On the CPU a step checks its numbers before it changes the weights, and raises `DivergenceError` at once. With a device,
the host would have to wait until all queued work is done before it could check, and the device would then be idle. So a
guard on the device leaves everything that training changes as it is once a number was not finite, and the host checks
when it has to wait anyway: when a step is logged, before a picture is drawn and before a checkpoint is saved.
"""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from minigan.backends.base import StepGraphs
from minigan.errors import DivergenceError
from minigan.training.learner import Learner, Values
from minigan.training.moving_average import MovingAverage
from minigan.training.remembered import RememberedBatches
from minigan.training.replays import replays_of
from minigan.training.undo import Undo

__all__ = ["Stepper"]


class Stepper:
    """Does a learner's steps, as fast as its backend can.

    Args:
        learner: does each step.
        batches, rng: the arguments of `learner.step`.
        averages: updated after each step.
        is_alone: whether nobody else changes weights, rates or anything else between the steps; see `Undo`.
    """

    def __init__(
        self,
        learner: Learner,
        batches: Iterator[Any],
        rng: np.random.Generator,
        *,
        averages: Collection[MovingAverage] = (),
        is_alone: bool = True,
    ) -> None:
        self.learner, self.averages = learner, tuple(averages)
        self._batches, self._rng = RememberedBatches(batches, rng), rng
        self._undo = Undo(learner, self._batches, rng, averages=self.averages, each_step=not is_alone)
        kernels = learner.G.kernels
        self._graphs = kernels.step_graphs() if kernels.ranks.size == 1 or kernels.ranks.capturable else None
        self._replays = replays_of(learner, self._batches, rng, self._undo, again=self._update) if is_alone else None
        self._counts: list[list[int]] = []  # before each step since the last check

    def __repr__(self) -> str:
        averages = "".join(f"\n  {average!r}" for average in self.averages)
        return f"Stepper of {self.learner!r}{averages}"

    def step(self) -> Values:
        """One step. If it fails, `back` leads to where it began.

        Returns:
            The values measured. A backend that captures steps overwrites these arrays in later ones: read them before
            the next step.
        Raises:
            DivergenceError: a number is not finite. Only on the CPU; on a device `check` raises it.
        """
        self._undo.mark()
        if self._graphs is None:
            return self._update() if self._replays is None else self._averaged(self._replays.step())
        before = self._undo.read_counts()
        # A replayed step calls no observer, and an observer may want to read numbers.
        kind = None if self.learner.is_observed else self.learner.kind()
        try:
            values: Values = self._graphs.run(kind, self._update)
        except BaseException:
            if not self._graphs.is_eager:  # of the data, for example: nothing was sent to the device
                self._undo.write_counts(before)
            raise
        self._counts.append(before)
        return values

    def back(self, error: BaseException) -> int | None:
        """Goes back to the beginning of the last step, which this error has ended.

        Returns:
            0 if everything is as it was then, or so many steps before if more cannot be saved; None if there is no way
            back. See `Undo`.
        """
        with np.errstate(all="ignore"):
            return self._undo.back(error, self._update)

    def check(self) -> None:
        """Waits for all steps until here.

        Raises:
            DivergenceError: in one of them a number was not finite. All arrays are as they were before the update that
                it would have spoilt, and the counters in host memory as before that step.
        """
        if self._graphs is None:
            return
        failed = self._graphs.look()
        counts, self._counts = self._counts, []
        if failed is None:
            return
        self._undo.write_counts(counts[failed])
        raise DivergenceError(self._why(self._graphs, failed), steps_ago=len(counts) - 1 - failed)

    def _update(self) -> Values:
        return self._averaged(self.learner.step(self._batches, self._rng))

    def _averaged(self, values: Values) -> Values:
        for average in self.averages:
            average.update()
        return values

    def _why(self, graphs: StepGraphs, failed: int) -> str:
        """Name of the first number that is not finite in that step, found by repeating it and checking each number."""
        before = self.learner.to_dict()
        try:
            with np.errstate(all="ignore"), self.learner.searched():
                graphs.again(failed, lambda: self.learner.step(self._batches, self._rng))
        except DivergenceError as error:
            return str(error)
        finally:
            self.learner.load_dict(before)
        return "a number is not finite."
