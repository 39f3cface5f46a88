"""Arrays whose NumPy operations are noted, so that a recorded step can do them again, see `recording.py`.

NumPy asks an array's class how to do an operation (NEP 13 and 18). This one has it done on plain arrays, and notes the
call with the array that it filled. A view of a traced array is traced as well. An operation that NumPy does without
asking makes a new array, which `__array_finalize__` sees; one that gives a Python number to the host is seen as well.
Either ends the recording: the step is then never replayed.
"""

import operator
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from minigan.backends.base import Array

Call = Callable[[], object]


class Notes(Protocol):
    """The list of calls of a step."""

    @property
    def is_open(self) -> bool:
        """Whether calls are noted now."""

    def note(self, call: Call) -> None: ...

    def uncounted(self, value: Any) -> Any:
        """Arrays, also in tuples, lists and dictionaries, that a call may keep: they leave their memory to others."""

    def refuse(self, reason: str) -> None:
        """The step cannot be replayed."""


class Traced(np.ndarray):
    """A view of an array, whose operations are noted."""

    __module__ = "numpy"  # where `array_module` looks for the functions of such arrays

    notes: Notes

    def __array_finalize__(self, source: Any) -> None:
        if isinstance(source, Traced):
            self.notes = source.notes
            if self.base is None and self.size:
                self.notes.refuse("NumPy has copied an array unseen")

    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any, out: Any = (), **settings: Any) -> Any:
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        given, settings = plain(given), plain(settings)
        notes = self.notes
        if out:
            settings["out"] = plain(out)
        result = function(*given, **settings)
        if not notes.is_open:
            return result
        given, settings = notes.uncounted(given), notes.uncounted(settings)
        if out or result is None:  # `ufunc.at` returns None
            notes.note(lambda: function(*given, **settings))
            return out[0] if len(out) == 1 else (out or None)
        boxes = tuple(map(np.asarray, result)) if isinstance(result, tuple) else (np.asarray(result),)
        notes.note(lambda: function(*given, out=boxes, **settings))
        views = tuple(trace(box, notes) for box in boxes)
        return views if isinstance(result, tuple) else views[0]

    def __array_function__(self, function: Any, _types: Any, given: Any, settings: Any) -> Any:
        out = settings.get("out")
        given, settings = plain(given), plain(settings)
        result, notes = function(*given, **settings), self.notes
        if not notes.is_open:
            return result
        kept, named = notes.uncounted(given), notes.uncounted(settings)
        if out is not None or result is None:
            notes.note(lambda: function(*kept, **named))
            return out if out is not None else None
        if isinstance(result, np.ndarray | np.generic):
            if _is_view(result, given):
                return trace(result, notes)
            box = np.asarray(result)
            notes.note(lambda: np.copyto(box, function(*kept, **named)))
            return trace(box, notes)
        if isinstance(result, tuple | list) and all(_is_view(each, given) for each in result):
            return type(result)(trace(each, notes) for each in result)
        if not _is_about_shapes(result):
            notes.refuse(f"{function.__name__} has given a result of another kind than arrays")
        return result

    # ------------------------------------------------------------------------------------------ methods

    def __getitem__(self, key: Any) -> Any:
        key = plain(key)
        if isinstance(plain(self)[key], np.generic):  # a number would be none of the array's any more
            key = (*key, ...) if isinstance(key, tuple) else (key, ...)
        return self._derived(lambda own: own[key])

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._do(operator.setitem, plain(self), plain(key), plain(value))

    def fill(self, value: Any) -> None:
        self._do(np.ndarray.fill, plain(self), value)

    def _do(self, function: Callable[..., object], *given: Any) -> None:
        function(*given)
        if self.notes.is_open:
            kept = self.notes.uncounted(given)
            self.notes.note(lambda: function(*kept))

    def copy(self, order: Any = "C") -> Any:
        return self._derived(lambda own: own.copy(order))

    def astype(self, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: Any = True, copy: Any = True) -> Any:
        return self._derived(lambda own: own.astype(dtype, order=order, casting=casting, subok=subok, copy=copy))

    def reshape(self, *shape: Any, order: Any = "C") -> Any:  # type: ignore[override]
        return self._derived(lambda own: own.reshape(*shape, order=order))

    def ravel(self, order: Any = "C") -> Any:
        return self._derived(lambda own: own.ravel(order))

    def flatten(self, order: Any = "C") -> Any:
        return self._derived(lambda own: own.flatten(order))

    def repeat(self, repeats: Any, axis: Any = None) -> Any:
        return self._derived(lambda own: own.repeat(repeats, axis))

    def _derived(self, derive: Callable[[Array], Array]) -> Any:
        """A view of the array, or a copy of its numbers."""
        own = plain(self)
        result = derive(own)
        if not self.notes.is_open:
            return result
        if not _is_view(result, own):
            kept = self.notes.uncounted(own)
            self.notes.note(lambda: np.copyto(result, derive(kept)))
        return trace(result, self.notes)

    # ------------------------------------------------------------------------------------------ numbers on the host

    def _read(self) -> Array:
        self.notes.refuse("the host has read a number")
        return plain(self)

    def item(self, *index: Any) -> Any:
        return self._read().item(*index)

    def tolist(self) -> Any:
        return self._read().tolist()

    def __bool__(self) -> bool:
        return bool(self._read())

    def __float__(self) -> float:
        return float(self._read())

    def __int__(self) -> int:
        return int(self._read())

    def __index__(self) -> int:
        return operator.index(self._read())

    def __deepcopy__(self, memo: Any) -> Any:
        return self._read().copy()


def trace(array: Array, notes: Notes) -> Traced:
    """A view of the array, whose operations are noted there."""
    view: Traced = array.view(Traced)
    view.notes = notes
    return view


def plain(value: Any) -> Any:
    """The same with plain arrays, also in tuples, lists and dictionaries."""
    return mapped(value, lambda array: array.view(np.ndarray) if isinstance(array, Traced) else array)


def mapped(value: Any, change: Callable[[Array], Array]) -> Any:
    """The same with changed arrays, also in tuples, lists and dictionaries."""
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, dict):
        return {name: mapped(each, change) for name, each in value.items()}
    if isinstance(value, tuple | list):
        items = [mapped(each, change) for each in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _is_view(array: Array, of: Any) -> bool:
    """Whether it lies in the memory of an array, or of one in a tuple or list."""
    if isinstance(of, tuple | list):
        return any(_is_view(array, each) for each in of)
    return isinstance(of, np.ndarray) and isinstance(array, np.ndarray) and np.may_share_memory(array, of)


def _is_about_shapes(result: Any) -> bool:
    """Whether it is of shapes and dtypes, which are the same in each step."""
    if isinstance(result, tuple):
        return all(map(_is_about_shapes, result))
    return type(result) is int or isinstance(result, np.dtype)
