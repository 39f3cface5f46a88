"""The way back to the last whole step, for a step that fails half-way: after D's update, before G's."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.errors import DataError, DivergenceError
from minigan.nn.optimizers import Optimizer
from minigan.training.fake_pool import FakePool
from minigan.training.learner import Learner
from minigan.training.moving_average import MovingAverage
from minigan.training.remembered import RememberedBatches

__all__ = ["MOST", "Undo"]

LARGE = 2**25  # bytes
SHARE = 0.005  # of the time may be spent on copies
MOST = 32  # steps from copy to copy


class Undo:
    """Copies of what steps change. From a copy, the steps since are done again.

    A copy before each step would cost small networks a fifth of their time. So the next one is made when the last took
    less than a two-hundredth of the time since, and after 32 steps at the latest. Steps that are done again have their
    batches and their random numbers, and so their bits.

    Copied are the weights of all networks, the optimizers' memories and the averages; but not those of a generator for
    which they take more than 32 MiB: it is updated last, so that few errors can come after that, and the memory is
    needed. What was not copied can be kept if its update has not begun; then the rest is copied before each step. On a
    device nothing is copied.

    Args:
        learner, averages: are changed by a step.
        batches, rng: what a step draws from.
        each_step: copy before each step: somebody else may change something between them.
    """

    def __init__(
        self,
        learner: Learner,
        batches: RememberedBatches,
        rng: np.random.Generator,
        *,
        averages: Sequence[MovingAverage] = (),
        each_step: bool = False,
    ) -> None:
        self.learner, self.averages, self.batches, self.rng = learner, averages, batches, rng
        self._on_host = isinstance(learner.G.arena.flat, np.ndarray)
        self._each_step = each_step or bool(self.uncopied())
        self._has_company = learner.G.kernels.ranks.size > 1
        self._statistics = _copies(self._running_statistics()) if self._on_host else []
        self._rest = _copies(self.arrays()) if self._on_host else []
        self._copied: tuple[list[int], Any] = ([], None)  # counts and state of `rng` when all was copied
        self._begun: tuple[list[int], Any] = ([], None)  # and when the last step began
        self._since = -1  # whole steps since all was copied; before the first time -1
        self._copied_at, self._seconds = 0.0, 0.0  # when all was copied, and how long that took
        self._is_marked = False

    def counters(self) -> list[tuple[Any, str]]:
        """Objects with a counter in host memory, each with the counter's attribute."""
        memories = self.learner.memories.values()
        counters: list[tuple[Any, str]] = [(m, "count" if isinstance(m, FakePool) else "steps") for m in memories]
        return [*counters, *((average, "updates") for average in self.averages)]

    def read_counts(self) -> list[int]:
        """The counters' values."""
        return [getattr(counter, name) for counter, name in self.counters()]

    def write_counts(self, counts: list[int]) -> None:
        """Sets the counters to what `read_counts` returned before."""
        for (counter, name), count in zip(self.counters(), counts, strict=True):
            setattr(counter, name, count)

    def mark(self) -> None:
        """Remembers everything as it is now, before a step."""
        self._is_marked = False
        _copy(self._statistics)
        self._begun = self.read_counts(), self.rng.bit_generator.state
        self._since += 1
        if self._is_due():
            self.copy()
        self._is_marked = True

    def copy(self) -> None:
        """Copies all that steps change, as it is now: before a step that `mark` has begun."""
        start = time.perf_counter()
        _copy(self._rest)
        self._copied_at = time.perf_counter()
        self._seconds = self._copied_at - start
        self._copied, self._since = self._begun, 0
        self.batches.forget()

    def _is_due(self) -> bool:
        if self._each_step or self._since in (0, max(1, MOST // self.learner.accumulate)):  # their batches are kept
            return True
        if self._has_company:  # at the same steps on all ranks, which clocks do not tell
            return False
        return (time.perf_counter() - self._copied_at) * SHARE > self._seconds

    def back(self, error: BaseException, again: Callable[[], object]) -> int | None:
        """Goes back to where `mark` was called last.

        Args:
            error: ended the step.
            again: does a step.
        Returns:
            0 if everything is as it was then; a number of steps if steps could not be done again, and everything is
            as it was so many steps before; None if an update of what is not copied had begun.
        """
        if not self._is_marked:  # it failed while it was copied: nothing has changed since the last whole step
            return 0
        if not self._is_undone(error):
            return None
        lost = 0
        if self._has_changed():
            self.return_to_copy()
            # Other ranks do steps again only after an error that they have met, too.
            together = not self._has_company or isinstance(error, DivergenceError)
            lost = 0 if together and self._is_repeated(again) else self._since
        if lost:
            self._restore(self._rest, self._copied)
        else:
            self._restore(self._statistics, self._begun)
        return lost

    def return_to_copy(self) -> None:
        """Goes back to where all was copied last, with the same batches next."""
        self._restore(self._rest, self._copied)
        self.batches.rewind()

    def _is_undone(self, error: BaseException) -> bool:
        """Whether what is not copied is still as it was."""
        # On a device, running statistics are not copied either: but no batch, no pass.
        return not any(map(self._is_begun, self.uncopied())) and (self._on_host or isinstance(error, DataError))

    def _has_changed(self) -> bool:
        """Whether the step has changed more than running statistics. A pool of fakes does not tell."""
        pools = any(isinstance(memory, FakePool) for memory in self.learner.memories.values())
        return self._on_host and (pools or any(map(self._is_begun, self.learner.optimizers.values())))

    def _is_begun(self, optimizer: Optimizer) -> bool:
        """Whether the step has begun an update of the optimizer's network."""
        places = zip(self.counters(), self._begun[0], strict=True)
        before = next(count for (counter, _), count in places if counter is optimizer)
        return optimizer.is_updating or optimizer.steps != before

    def _is_repeated(self, again: Callable[[], object]) -> bool:
        """Whether the steps since the last copy could be done again."""
        try:
            for _ in range(self._since):
                again()
        except BaseException:  # the error that has ended the step may end these as well
            return False
        return (self.read_counts(), self.rng.bit_generator.state) == self._begun

    def _restore(self, copies: list[tuple[Array, Array]], place: tuple[list[int], Any]) -> None:
        for array, kept in copies:
            np.copyto(array, kept)
        counts, self.rng.bit_generator.state = place
        self.write_counts(counts)
        for network in self.learner.networks.values():
            network.arena.updated()
        for average in self.averages:
            average.network.arena.updated()
        for optimizer in self.learner.optimizers.values():
            optimizer.is_updating = False

    def uncopied(self) -> list[Optimizer]:
        """The optimizers whose memory and weights are not copied."""
        if not self._on_host:
            return list(self.learner.optimizers.values())
        generators = map(self.learner.optimizer_of, self.learner.generators)
        return [optimizer for optimizer in generators if _is_large(optimizer)]

    def _running_statistics(self) -> Iterator[Array]:
        """Arrays that a step may change before its first update. They are small."""
        for network in self.learner.networks.values():
            yield network.state.flat
        for average in self.averages:
            yield average.network.state.flat

    def arrays(self) -> Iterator[Array]:
        """Arrays that steps change, as far as they are copied."""
        uncopied = self.uncopied()
        yield from self._running_statistics()
        for memory in self.learner.memories.values():
            if isinstance(memory, FakePool):
                yield memory.fakes
            elif memory not in uncopied:
                yield from (memory.arena.flat, *memory.buffers.values())
        for average in self.averages if not uncopied else ():
            yield average.network.arena.flat


def _copies(arrays: Iterator[Array]) -> list[tuple[Array, Array]]:
    """Arrays, each with room for a copy."""
    return [(array, np.empty_like(array)) for array in arrays]


def _copy(copies: list[tuple[Array, Array]]) -> None:
    for array, kept in copies:
        np.copyto(kept, array)


def _is_large(optimizer: Optimizer) -> bool:
    """Whether an optimizer's memory and its weights take more memory than copies may."""
    return bool(optimizer.arena.flat.nbytes * (1 + len(optimizer.buffers)) > LARGE)
