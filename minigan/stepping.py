"""Training steps one after the other, without waiting for a device that computes by itself.

On the CPU a step looks at its numbers before it changes the weights, and raises `DivergenceError` at once. A device
would have to finish all that it was told until then before the host could look, and would stand still while it does.
So there a guard on the device keeps all that training changes as it is once a number was not finite, and the host
looks when it has to wait anyway: when a step is logged, before a picture is drawn and before a checkpoint is saved.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigan.backends.base import StepGraphs
from minigan.ema import MovingAverage
from minigan.errors import DivergenceError
from minigan.learner import Learner, Values

__all__ = ["Stepper"]

Counts = tuple[list[int], int]  # the steps of each optimiser, the updates of the average


class Stepper:
    """Does a learner's steps, as fast as its backend can.

    Args:
        learner: trains.
        batches, rng: what `learner.step` takes.
        average: updated after each step.
    """

    def __init__(
        self,
        learner: Learner,
        batches: Iterator[Any],
        rng: np.random.Generator,
        *,
        average: MovingAverage | None = None,
    ) -> None:
        self.learner, self.average = learner, average
        self._batches, self._rng = batches, rng
        self._graphs = learner.G.kernels.step_graphs()
        self._counts: list[Counts] = []  # before each step since the last look

    def step(self) -> Values:
        """One step.

        Returns:
            What it measured. Where the backend captures steps the arrays are overwritten by later ones: read them
            before the next.
        Raises:
            DivergenceError: a number is not finite; on the CPU.
        """
        if self._graphs is None:
            return self._update()
        before = self._read_counts()
        try:
            values: Values = self._graphs.run(self.learner.kind(), self._update)
        except BaseException:  # the data's, say: the device was told nothing
            self._write_counts(before)
            raise
        self._counts.append(before)
        return values

    def look(self) -> None:
        """Waits for all steps until here.

        Raises:
            DivergenceError: in one of them a number was not finite. All that training changes is as it was before the
                update that this one would have been.
        """
        if self._graphs is None:
            return
        failed = self._graphs.look()
        counts, self._counts = self._counts, []
        if failed is None:
            return
        self._write_counts(counts[failed])
        raise DivergenceError(self._why(self._graphs, failed), steps_ago=len(counts) - 1 - failed)

    def _update(self) -> Values:
        values = self.learner.step(self._batches, self._rng)
        if self.average is not None:
            self.average.update()
        return values

    def _read_counts(self) -> Counts:
        optimizers = self.learner.optimizers.values()
        return [optimizer.steps for optimizer in optimizers], 0 if self.average is None else self.average.updates

    def _write_counts(self, counts: Counts) -> None:
        steps, updates = counts
        for optimizer, count in zip(self.learner.optimizers.values(), steps, strict=True):
            optimizer.steps = count
        if self.average is not None:
            self.average.updates = updates

    def _why(self, graphs: StepGraphs, failed: int) -> str:
        """What is not finite in that step: it is done once more, with an eye on each number."""
        before = self.learner.to_dict()
        try:
            graphs.again(failed, lambda: self.learner.step(self._batches, self._rng))
        except DivergenceError as error:
            return str(error)
        finally:
            self.learner.load_dict(before)
        return "a number is not finite."
