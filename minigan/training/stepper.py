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
from minigan.errors import DivergenceError
from minigan.training.fake_pool import FakePool
from minigan.training.learner import Learner, Values
from minigan.training.moving_average import MovingAverage

__all__ = ["Stepper"]


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
        self._counts: list[list[int]] = []  # before each step since the last look

    def __repr__(self) -> str:
        average = "" if self.average is None else f"\n  {self.average!r}"
        return f"Stepper of {self.learner!r}{average}"

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
        # An observer is told nothing by a replayed step, and may want to read numbers.
        kind = None if self.learner.is_observed else self.learner.kind()
        try:
            values: Values = self._graphs.run(kind, self._update)
        except BaseException:  # the data's, say: the device was told nothing
            self._write_counts(before)
            raise
        self._counts.append(before)
        return values

    def look(self) -> None:
        """Waits for all steps until here.

        Raises:
            DivergenceError: in one of them a number was not finite. All arrays are as they were before the update that
                it would have spoilt; what the host counts is as before that step.
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

    def _read_counts(self) -> list[int]:
        return [getattr(counter, name) for counter, name in self._counters()]

    def _write_counts(self, counts: list[int]) -> None:
        for (counter, name), count in zip(self._counters(), counts, strict=True):
            setattr(counter, name, count)

    def _counters(self) -> list[tuple[Any, str]]:
        """What counts in host memory, and the attribute that it counts with."""
        memories = self.learner.memories.values()
        counters: list[tuple[Any, str]] = [(m, "count" if isinstance(m, FakePool) else "steps") for m in memories]
        return counters if self.average is None else [*counters, (self.average, "updates")]

    def _why(self, graphs: StepGraphs, failed: int) -> str:
        """What is not finite in that step: it is done once more, with an eye on each number."""
        before = self.learner.to_dict()
        try:
            with np.errstate(all="ignore"), self.learner.searched():
                graphs.again(failed, lambda: self.learner.step(self._batches, self._rng))
        except DivergenceError as error:
            return str(error)
        finally:
            self.learner.load_dict(before)
        return "a number is not finite."
