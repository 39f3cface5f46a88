"""Copies of a training in memory, from which any earlier step is reached by doing the steps since again."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigan.recipes.bases.adversarial import AdversarialRecipe
from minigan.training import TrainingState

__all__ = ["Snapshot", "Snapshots", "restore"]

MOST_BYTES = 256_000_000
MOST = 64
LEAST_STEPS = 16  # from copy to copy
SHARE = 0.001  # of the time may be spent on copies


@dataclass(frozen=True)
class Snapshot:
    """A training between two steps.

    Attributes:
        step: the number of steps done.
        arrays: copies of all that steps change.
        rng: the state of the random numbers.
        loader: the place in the data.
        recipe: with the settings in force.
    """

    step: int
    arrays: Mapping[str, np.ndarray]
    rng: Any
    loader: dict[str, int]
    recipe: AdversarialRecipe

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return sum(int(array.nbytes) for array in self.arrays.values())


def take(state: TrainingState, recipe: AdversarialRecipe) -> Snapshot:
    """A snapshot of the present."""
    arrays = {name: np.array(array) for name, array in state.arrays().items()}
    return Snapshot(state.step, arrays, state.rng.bit_generator.state, state.loader.state(), recipe)


def restore(state: TrainingState, snapshot: Snapshot) -> None:
    """Brings a training back to a snapshot; its settings are the caller's to apply."""
    arrays = dict(snapshot.arrays)
    state.learner.load_dict(arrays)
    for average in state.averages.values():
        average.load_dict(arrays)
    state.rng.bit_generator.state = snapshot.rng
    state.loader.restore(snapshot.loader)
    state.step = snapshot.step


class Snapshots:
    """The beginning, and copies that are the denser the nearer they are to the present.

    The next one is made when the last took less than a thousandth of the time since. When there are too many, the
    one goes whose neighbors are nearest to each other, measured by how long ago they are.
    """

    def __init__(self) -> None:
        self._taken: list[Snapshot] = []
        self._cost, self._at, self._next = 0.0, 0.0, 0

    def consider(self, state: TrainingState, recipe: AdversarialRecipe) -> None:
        """Takes a snapshot if it is time; called after every step."""
        if state.step >= self._next and time.monotonic() - self._at > self._cost / SHARE:
            self.add(state, recipe)

    def add(self, state: TrainingState, recipe: AdversarialRecipe) -> Snapshot:
        """Takes a snapshot now, in place of one of the same step, and returns it."""
        began = time.monotonic()
        taken = take(state, recipe)
        self._taken = [*(one for one in self._taken if one.step < state.step), taken]
        most = max(3, min(MOST, MOST_BYTES // max(taken.nbytes, 1)))
        while len(self._taken) > most:
            del self._taken[self._least_useful()]
        self._at = time.monotonic()
        self._cost, self._next = self._at - began, state.step + LEAST_STEPS
        return taken

    def before(self, step: int) -> Snapshot:
        """The nearest one that is not after a step."""
        for one in reversed(self._taken):
            if one.step <= step:
                return one
        return self._taken[0]

    def forget_after(self, step: int) -> None:
        """Forgets the snapshots of later steps; the beginning stays."""
        first = self._taken[:1]
        self._taken = [one for one in self._taken if one.step <= step] or first
        self._next = min(self._next, step + LEAST_STEPS)

    def _least_useful(self) -> int:
        steps = [one.step for one in self._taken]
        gaps = [(steps[i + 1] - steps[i - 1]) / (steps[-1] - steps[i - 1]) for i in range(1, len(steps) - 1)]
        return 1 + int(np.argmin(gaps))
