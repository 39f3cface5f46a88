"""Steps of small networks on the CPU, recorded once and then replayed without Python's layers and tapes.

A step of each kind is first done in Python, the second is recorded, and the third is done twice: replayed, and from the
same beginning in Python. If one bit of what it has changed differs, steps of that kind are done in Python for ever.
Nothing is replayed that others may change between steps, that belongs to classes of the user's own, or that is large:
there Python's share of the time is small, and the memory that a recorded step keeps is not.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from minigan.backends.base import RecordedStep
from minigan.errors import DivergenceError
from minigan.training.learner import Learner, Values
from minigan.training.remembered import RememberedBatches
from minigan.training.undo import Undo

__all__ = ["Replays", "replays_of"]

DRAWN = ("noise", "schedule")  # attributes that are called anew at each replay
MOST_KINDS = 8  # that are recorded; each has memory of its own


class Known(NamedTuple):
    """A kind of step that was recorded.

    Attributes:
        values: what the step returned, in arrays that each replay overwrites.
    """

    recorded: RecordedStep
    values: Any


class Replays:
    """Does a learner's steps, replayed where that gives the same bits.

    Args:
        learner, batches, rng, undo: the stepper's.
        again: does a step in Python, with all that belongs to it.
    """

    def __init__(
        self,
        learner: Learner,
        batches: RememberedBatches,
        rng: np.random.Generator,
        undo: Undo,
        *,
        again: Callable[[], object],
    ) -> None:
        self.learner, self.batches, self.rng, self.undo, self.again = learner, batches, rng, undo, again
        self._seen: set[Hashable] = set()
        self._unproven: dict[Hashable, Known] = {}
        self._known: dict[Hashable, Known | None] = {}  # None: done in Python for ever

    def step(self) -> Values:
        """One step, after `undo.mark`.

        Raises:
            DivergenceError: as `learner.step`, which then has done the step anew.
        """
        kind = None if self.learner.is_observed else self.learner.kind()
        if (known := self._known.get(kind)) is not None:
            given = self.batches.given
            return _values(known) if known.recorded.replay() else self._done_anew(given)
        if kind is None or kind in self._known or not self._has_seen(kind):
            return self._in_python()
        if (unproven := self._unproven.pop(kind, None)) is not None:
            return self._prove(kind, unproven)
        return self._record(kind)

    def _in_python(self) -> Values:
        return self.learner.step(self.batches, self.rng)

    def _has_seen(self, kind: Hashable) -> bool:
        seen = kind in self._seen
        self._seen.add(kind)
        return seen

    def _record(self, kind: Hashable) -> Values:
        self._known[kind] = None  # whatever happens
        recorded = self.learner.G.kernels.recording() if len(self._known) <= MOST_KINDS else None
        if recorded is None:
            return self._in_python()
        with ExitStack() as stack:
            for network in self.learner.networks.values():
                stack.enter_context(network.arena.seen_as(recorded.trace))
                stack.enter_context(network.state.seen_as(recorded.trace))
            stack.enter_context(recorded.open())
            values: Any = self._in_python()
        if recorded.refused is None:
            self._unproven[kind] = Known(recorded, type(values)(*map(np.asarray, values)))
            del self._known[kind]
        result: Values = type(values)(*(np.array(value)[()] for value in values))
        return result

    def _prove(self, kind: Hashable, known: Known) -> Values:
        """Does a step both ways; the kind is known if that makes no difference."""
        self._known[kind] = None
        self.undo.copy()
        whole = known.recorded.replay()
        replayed = self._digest(_values(known))
        self.undo.return_to_copy()
        values: Values = known.recorded.beside(self._in_python)
        if whole and replayed == self._digest(values) and known.recorded.refused is None:
            self._known[kind] = known
        return values

    def _done_anew(self, given: int) -> Values:
        """Does a step in Python that was replayed in part: it tells which number is not finite."""
        error = DivergenceError("a number is not finite.")
        lost = self.undo.back(error, self.again)
        if lost:
            raise DivergenceError(str(error), steps_ago=lost)
        self.batches.rewind(given)
        return self._in_python()

    def _digest(self, values: Any) -> tuple[bytes, Any]:
        """Stands for all bits that a step changes, and those of its values."""
        digest = hashlib.sha256()
        grads = [grads.flat for grads in self.learner.grads.values()]
        for array in [*self.undo.arrays(), *grads, *map(np.asarray, values)]:
            digest.update(memoryview(array.reshape(-1)).cast("B") if array.size else b"")
        return digest.digest(), (self.undo.read_counts(), self.rng.bit_generator.state)


def replays_of(
    learner: Learner, batches: RememberedBatches, rng: np.random.Generator, undo: Undo, *, again: Callable[[], object]
) -> Replays | None:
    """The replays of a learner's steps; None where none would be replayed: neither are exchanges with other ranks."""
    if learner.G.kernels.ranks.size > 1:
        return None
    if undo.uncopied() or learner.G.kernels.recording() is None or not all(map(_is_own, _parts(learner))):
        return None
    return Replays(learner, batches, rng, undo, again=again)


def _parts(learner: Learner) -> Iterator[Any]:
    """The objects that a step calls in Python while it is recorded, and what is in them."""
    yield from (learner, learner.G.kernels, *learner.optimizers.values())
    for network in learner.networks.values():
        yield from (layer for _, layer in network.walk())
    for name, value in vars(learner).items():
        for part in value if isinstance(value, tuple | list) else (value,):
            inner = dict(enumerate(part)) if isinstance(part, tuple) else getattr(part, "__dict__", {})
            yield from (each for key, each in {name: part, **inner}.items() if key not in DRAWN)


def _is_own(part: Any) -> bool:
    """Whether its code is minigan's: another's may count steps, or decide by numbers."""
    code = part if isinstance(part, FunctionType | type) else type(part)
    return code.__module__.partition(".")[0] in ("minigan", "builtins", "numpy", "weakref", "collections")


def _values(known: Known) -> Any:
    """The values of a replayed step, which stay."""
    return type(known.values)(*(value[()] for value in known.values))
