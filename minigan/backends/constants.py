"""Arrays that stay as they are while a network draws, and what kernels have made of them."""

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Array = Any  # as in `base.py`, which needs this file


class Constants:
    """Weights that do not change, and each packed form that a kernel has made of them, to be made only once.

    Threads may share one: at worst two make the same form at once, and one of them is dropped.

    Args:
        arrays: known again by identity, not by their numbers. Whoever changes one makes other constants.
    """

    def __init__(self, arrays: Iterable[Array] = ()) -> None:
        self._arrays = {id(array): array for array in arrays}
        self._forms: dict[tuple[int, Hashable], Array] = {}

    def __contains__(self, array: Array) -> bool:
        return id(array) in self._arrays

    def form(self, array: Array, kind: Hashable, make: Callable[[], Array]) -> Array:
        """The form of that kind of one of the arrays."""
        found = self._forms.get((id(array), kind))
        if found is None:
            found = self._forms.setdefault((id(array), kind), make())
        return found

    def arrays_of(self, other: "Constants") -> bool:
        """Whether the arrays are exactly those of another."""
        return self._arrays.keys() == other._arrays.keys()

    @property
    def nbytes(self) -> int:
        """Bytes of all forms."""
        return sum(form.nbytes for form in self._forms.values())


class Held(threading.local):
    """The constants of the calling thread."""

    constants: Constants = Constants()

    @contextmanager
    def hold(self, constants: Constants) -> Iterator[None]:
        """Within an outer context of the same arrays the outer one goes on."""
        if constants.arrays_of(self.constants):
            yield
            return
        before, self.constants = self.constants, constants
        try:
            yield
        finally:
            self.constants = before
