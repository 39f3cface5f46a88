"""The way back to the last whole step, for a step that fails half-way: after D's update, before G's."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minigan.backends import Array
from minigan.errors import DataError
from minigan.nn.optimizers import Optimizer
from minigan.training.fake_pool import FakePool
from minigan.training.learner import Learner
from minigan.training.moving_average import MovingAverage

__all__ = ["Undo"]

LARGE = 2**26  # bytes


class Undo:
    """Copies of what a step changes, made before each.

    Copied are the weights of all networks, the optimizers' memories and the average; but not those of a G for which
    they take more than 64 MiB: it is updated last, so that few errors can come after that, and a U-Net with its 54
    million weights would cost a fifth of a small step's time. On a device nothing is copied. What was not copied can be
    kept if its update has not begun.

    Args:
        learner, average: are changed by a step.
        rng: the generator that a step draws from.
    """

    def __init__(self, learner: Learner, rng: np.random.Generator, *, average: MovingAverage | None = None) -> None:
        self.learner, self.average, self.rng = learner, average, rng
        self._on_host = isinstance(learner.G.arena.flat, np.ndarray)
        self._kept = [(array, np.empty_like(array)) for array in self._arrays()] if self._on_host else []
        self._counts: list[int] = []
        self._draws: Any = None
        self._is_marked = False

    def counters(self) -> list[tuple[Any, str]]:
        """Objects with a counter in host memory, each with the counter's attribute."""
        memories = self.learner.memories.values()
        counters: list[tuple[Any, str]] = [(m, "count" if isinstance(m, FakePool) else "steps") for m in memories]
        return counters if self.average is None else [*counters, (self.average, "updates")]

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
        for array, kept in self._kept:
            np.copyto(kept, array)
        self._counts, self._draws = self.read_counts(), self.rng.bit_generator.state
        self._is_marked = True

    def back(self, error: BaseException) -> bool:
        """Goes back to where `mark` was called last.

        Args:
            error: ended the step.
        Returns:
            Whether everything is as it was then; False if an update of what is not copied had begun.
        """
        if not self._is_marked:  # it failed while it was copied: nothing has changed since the last whole step
            return True
        if not self._is_undone(error):
            return False
        for array, kept in self._kept:
            np.copyto(array, kept)
        self.write_counts(self._counts)
        self.rng.bit_generator.state = self._draws
        for network in self.learner.networks.values():
            network.arena.updated()
        if self.average is not None:
            self.average.network.arena.updated()
        for optimizer in self.learner.optimizers.values():
            optimizer.is_updating = False
        return True

    def _is_undone(self, error: BaseException) -> bool:
        """Whether what is not copied is still as it was."""
        changed = [
            optimizer
            for optimizer in self._uncopied()
            if optimizer.is_updating or optimizer.steps != self._steps_before(optimizer)
        ]
        # On a device, running statistics are not copied either: but no batch, no pass.
        return not changed and (self._on_host or isinstance(error, DataError))

    def _steps_before(self, optimizer: Optimizer) -> int:
        places = zip(self.counters(), self._counts, strict=True)
        return next(count for (counter, _), count in places if counter is optimizer)

    def _uncopied(self) -> list[Optimizer]:
        if not self._on_host:
            return list(self.learner.optimizers.values())
        return [o for o in self.learner.optimizers.values() if o.arena is self.learner.G.arena and _is_large(o)]

    def _arrays(self) -> Iterator[Array]:
        uncopied = self._uncopied()
        for network in self.learner.networks.values():
            yield network.state.flat
        for memory in self.learner.memories.values():
            if isinstance(memory, FakePool):
                yield memory.fakes
            elif memory not in uncopied:
                yield from (memory.arena.flat, *memory.buffers.values())
        if self.average is not None:
            yield self.average.network.state.flat
            if not uncopied:
                yield self.average.network.arena.flat


def _is_large(optimizer: Optimizer) -> bool:
    """Whether copies of an optimizer's memory and its weights cost more than a small part of a step."""
    return bool(optimizer.arena.flat.nbytes * (1 + len(optimizer.buffers)) > LARGE)
