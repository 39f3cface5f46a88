"""A training step that is recorded once and then done again, with few calls from Python.

In a small network the layers, tapes and launches of a step take as long as a third of its kernels. A recorded step is
a list of calls in their order: compiled kernels, of which neighbors run without Python in between (`launch.replay`),
NumPy's operations (`traced.py`), and what the host does anew each time: batches and noise are drawn into the arrays
that the step was fed first, optimizers step with their present rate. All else is as in a CUDA graph: arrays stay where
they are, and have memory of their own.
"""

import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from minigan.backends.base import Array, Backend, Shape
from minigan.backends.cpu.engine import Engine, flat
from minigan.backends.cpu.optim import count_beyond
from minigan.backends.cpu.threads import Team
from minigan.backends.cpu.traced import Call, mapped, plain, trace
from minigan.backends.recycler import Recycler

# Bytes of the activations of all recorded steps: each has memory of its own, and Python's share of the time is small in
# larger ones.
MOST_BYTES = 1 << 28
ROOM = 1024  # words of 8 bytes for the arguments of a kernel
MOST_COUNTS = 4096


class Halted(Exception):
    """A replay cannot go on: a number is not sound, or an array that it is fed has another shape."""


class OpenNotes:
    """A recording as the arrays that it traces know it: nothing any more once it is complete.

    Its calls keep arrays, and some of these are views of traced ones, of which Python's garbage collector does not
    hear. With the recording itself in each, none would ever be collected.
    """

    def __init__(self, recording: "Recording") -> None:
        self.recording: Recording | None = recording

    @property
    def is_open(self) -> bool:
        return self.recording is not None and self.recording.is_open

    def note(self, call: Call) -> None:
        if self.recording is not None:
            self.recording.note(call)

    def uncounted(self, value: Any) -> Any:
        return value if self.recording is None else self.recording.uncounted(value)

    def refuse(self, reason: str) -> None:
        if self.recording is not None:
            self.recording.refuse(reason)


class Recording:
    """The calls of one step, noted while it runs in Python.

    Attributes:
        refused: why the step cannot be replayed; None if it can.
        is_open: whether calls are noted now.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine, self.team = engine, engine.team
        self.recycler = Recycler(forgets=False)
        self.refused: str | None = None
        self._notes = OpenNotes(self)
        self._is_open, self._thread = False, threading.get_ident()
        self._calls: list[Call | int] = []  # a number is a row of the table
        self._rows: list[list[int]] = []
        self._counts = np.zeros(MOST_COUNTS, np.int64)
        self._counted = 0
        self._kept: list[Any] = []  # arguments of rows
        self._program: list[Call] = []
        self._table = np.zeros((0, 6), np.int64)

    @property
    def is_open(self) -> bool:
        return self._is_open and threading.get_ident() == self._thread

    @contextmanager
    def open(self) -> Iterator[None]:
        """Notes calls within this context; at its end the list is complete."""
        self._is_open, self.team.recording = True, self
        try:
            yield
        finally:
            self._is_open, self.team.recording, self._notes.recording = False, None, None
        self._finish()

    @contextmanager
    def _paused(self) -> Iterator[None]:
        self._is_open = False
        try:
            yield
        finally:
            self._is_open = True

    # ------------------------------------------------------------------------------------------ what is noted

    def note(self, call: Call) -> None:
        self._calls.append(call)

    def uncounted(self, value: Any) -> Any:
        """Arrays that a call may keep: what lies in the step's memory makes room for others when the step is done with
        it, as it did while it was recorded.
        """
        return mapped(value, self.recycler.uncounted)

    def refuse(self, reason: str) -> None:
        if self._is_open and self.refused is None:
            self.refused = reason

    def trace(self, array: Array) -> Array:
        """The array, with its NumPy operations noted."""
        return trace(array, self._notes)

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        return trace(self.recycler.empty(shape, dtype), self._notes)

    def perform(self, action: Call) -> None:
        """Does what is to be done in Python each time."""
        with self._paused():
            action()
        self.note(action)

    def feed(self, draw: Callable[[], Any], dtype: np.dtype[Any] | None) -> Any:
        """See `Backend.feed`: arrays that each replay fills anew."""
        with self._paused():
            drawn = draw()
        first = drawn if isinstance(drawn, tuple) else (drawn,)
        arrays = tuple(None if each is None else np.array(each, dtype, order="C") for each in first)

        def refill() -> None:
            again = draw()
            for array, new in zip(arrays, again if isinstance(again, tuple) else (again,), strict=True):
                if getattr(array, "shape", None) != getattr(new, "shape", None):
                    raise Halted
                if array is not None:
                    np.copyto(array, new, casting="unsafe")

        self.note(refill)
        views = tuple(None if array is None else self.trace(array) for array in arrays)
        return views if isinstance(drawn, tuple) else views[0]

    def run(self, team: Team, kernel: Any, arguments: tuple[Any, ...], parts: int, *, counts: int = 0) -> None:
        """Runs a kernel and notes the call.

        Args:
            counts: how many of the last counts are to be 0 after it.
        """
        arguments = self.uncounted(plain(arguments))
        if not hasattr(kernel, "addresses") or any(map(_holds_arrays, arguments)):
            self.perform(partial(team.run, kernel, *arguments, parts=parts))
            return
        room = np.zeros(ROOM, np.int64)
        team.kept(kernel, arguments, parts, room)
        words = room.item(2)
        if words + 3 > ROOM:
            self.note(partial(team.run, kernel, *arguments, parts=parts))
            return
        place = room[3 : 3 + words].copy()
        self._kept += [kernel, place, arguments]
        self._calls.append(len(self._rows))
        self._rows.append([room.item(0), place.ctypes.data, room.item(1), parts, self._counted - counts, self._counted])

    def is_below(self, array: Array, limit: float, parts: int) -> bool:
        """See `OptimKernels.is_below`: a replay halts where this was not so."""
        if not isinstance(array, np.ndarray):
            self.refuse("a number that is checked is no array")
            return bool(abs(array) < limit)
        first, self._counted = self._counted, self._counted + parts
        counts = self._counts[first : self._counted]
        if len(counts) < parts:
            self.refuse("there are too many checks")
            return True
        self.run(self.team, count_beyond, (flat(array), array.dtype.type(limit), counts), parts, counts=parts)
        return not counts.any()

    # ------------------------------------------------------------------------------------------ doing it again

    def _finish(self) -> None:
        self._table = np.array(self._rows, np.int64).reshape(-1, 6)
        for call in self._calls:
            if not isinstance(call, int):
                self._program.append(call)
            elif self._program and isinstance(last := self._program[-1], Stretch) and last.last == call:
                last.last += 1
            else:
                self._program.append(Stretch(self.team, self._table, self._counts, call))
        self._calls, self._rows = [], []

    def replay(self) -> bool:
        """Does the step again; False if it has halted on the way."""
        if threading.get_ident() != self._thread:
            return False
        try:
            for call in self._program:
                call()
        except Halted:
            return False
        return True

    def beside(self, step: Callable[[], Any]) -> Any:
        """Does a step in Python, in the memory of this one, which is idle between replays."""
        own, in_use = self.engine.recycler, self.recycler.in_use
        self.engine.recycler = self.recycler
        try:
            result = step()
        finally:
            self.engine.recycler = own
        if self.recycler.in_use > in_use:  # a replay would overwrite it
            self.refused = "something of a step remains when it is over"
        return result


class Stretch:
    """Neighboring rows of the table."""

    def __init__(self, team: Team, table: np.ndarray, counts: np.ndarray, row: int) -> None:
        self.team, self.table, self.counts = team, table, counts
        self.first, self.last = row, row + 1

    def __call__(self) -> None:
        if not self.team.replay(self.table, self.counts, self.first, self.last):
            raise Halted


def _holds_arrays(argument: Any) -> bool:
    return isinstance(argument, tuple) and any(isinstance(each, np.ndarray | tuple) for each in argument)


class StepRecording(Engine, Backend):
    """The part of a backend that records steps, and feeds those that are recorded.

    Attributes:
        recordings: those that somebody still has.
    """

    recordings: "weakref.WeakSet[Recording]"

    def recording(self) -> Recording | None:
        if os.environ.get("MINIGAN_GRAPHS") == "0" or not self._has_room():
            return None
        self.recycler.clear()  # what the step had until now: a recorded one has memory of its own
        recording = Recording(self)
        self.recordings.add(recording)
        return recording

    def _has_room(self) -> bool:
        """Whether another step may be recorded, once those of learners that are gone are gone, too."""
        own = self.recycler.nbytes
        if self.recordings and own + self._recorded_bytes() > MOST_BYTES >= own:
            gc.collect()
        return own + self._recorded_bytes() <= MOST_BYTES

    def _recorded_bytes(self) -> int:
        return sum(each.recycler.nbytes for each in self.recordings)

    def _open_recording(self) -> Recording | None:
        recording: Recording | None = self.team.recording
        return recording if recording is not None and recording.is_open else None

    def feed(self, draw: Callable[[], Any], *, dtype: np.dtype[Any] | None = None) -> Any:
        recording = self._open_recording()
        return super().feed(draw, dtype=dtype) if recording is None else recording.feed(draw, dtype)

    def perform(self, action: Callable[[], None]) -> None:
        recording = self._open_recording()
        super().perform(action) if recording is None else recording.perform(action)

    def each_step(self, action: Callable[[], None]) -> None:
        self.perform(action)
