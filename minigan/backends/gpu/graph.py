"""A whole training step as one CUDA graph, which the host launches without waiting for it.

CUDA's rules, and how they are kept: what is captured is not executed; nothing is copied from the host, so that all
arrays that the host makes are fed (`Backend.feed`) and their block is copied before the graph runs; no memory is
taken but from a pool that is the graphs' own, which nothing else can take it from; nobody asks for a number. A graph
remembers addresses, so what a kernel or a layer keeps between calls must stay where it is once a step was captured.

Source: CUDA C++ Programming Guide, section 3.2.8.7, "CUDA Graphs", on stream capture.
"""

import os
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from types import ModuleType
from typing import Any

import numpy as np

from minigan.backends.base import Array, Backend, NotCaptured
from minigan.backends.gpu.device import first_line
from minigan.backends.gpu.feeds import Action, Again, Draw, Mode, Recording, Survey
from minigan.errors import BackendError

Step = Callable[[], Any]


class DeviceGuard:
    """See `minigan.backends.base.Guard`.

    Attributes:
        done: how many steps ended sound since it was last set to 0, int64, of shape ().
    """

    def __init__(self, backend: Backend) -> None:
        self._backend, xp = backend, backend.xp
        self.sound = xp.ones((), dtype=np.bool_)
        self.done = xp.zeros((), dtype=np.int64)

    def demand_below(self, array: Array, limit: float) -> None:
        self._backend.clear_unless_below(self.sound, array, limit=limit)

    def keep(self, array: Array, before: Array) -> None:
        xp = self._backend.xp
        xp.copyto(array, before, where=xp.logical_not(self.sound))

    def count(self) -> None:
        """At the end of each step."""
        self.done += self.sound

    def reset(self) -> None:
        self.sound.fill(True)
        self.done.fill(0)


class GraphSteps(Backend):
    """The part of a backend that feeds and guards the training steps which `StepGraphs` runs."""

    _mode: Mode | None = None
    is_capturing = False

    @cached_property
    def all_graphs(self) -> "weakref.WeakSet[StepGraphs]":
        """The step graphs in use."""
        return weakref.WeakSet()

    def step_graphs(self) -> "StepGraphs | None":
        return None if os.environ.get("MINIGAN_GRAPHS") == "0" else StepGraphs(self)

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()

    def feed(self, draw: Draw, *, dtype: np.dtype[Any] | None = None) -> Any:
        return super().feed(draw, dtype=dtype) if self._mode is None else self._mode.feed(draw, dtype)

    def numbers(self, draw: Callable[[], tuple[float, ...]]) -> tuple[Any, ...]:
        if self._mode is None:
            return draw()
        numbers = self.feed(lambda: np.array(draw(), np.float64))
        return tuple(numbers[index] for index in range(len(numbers)))

    def each_step(self, action: Callable[[], None]) -> None:
        if self._mode is None:
            action()
        else:
            self._mode.each_step(action)

    @contextmanager
    def only_if_sound(self, *arrays: Array) -> Iterator[None]:
        guard = self.guard
        before = [] if guard is None else [array.copy() for array in arrays]
        yield
        if guard is not None:
            for array, kept in zip(arrays, before, strict=True):
                guard.keep(array, kept)

    @contextmanager
    def running(self, mode: Mode | None, guard: DeviceGuard | None) -> Iterator[None]:
        """While a step runs."""
        self._mode, self.guard = mode, guard
        try:
            yield
        finally:
            self._mode, self.guard = None, None

    def refuse_host_array(self, array: Any) -> None:
        """While a step is captured, a copy from the host would repeat its present numbers forever.

        Raises:
            BackendError: it is one.
        """
        if self.is_capturing and not isinstance(array, self.xp.ndarray):
            raise BackendError(
                "a host array cannot be copied to the GPU while a training step is captured. Give it through "
                "backend.feed(...), or train with MINIGAN_GRAPHS=0."
            )


class StepGraphs:
    """The training steps of one learner, of which each kind becomes a graph.

    Graphs run one after the other on one stream, so they share a pool: the scratch memory of one is that of another.
    """

    def __init__(self, backend: GraphSteps) -> None:
        cuda = backend.xp.cuda
        self.backend = backend
        self.guard = DeviceGuard(backend)
        self.pool = lasting_pool(cuda)
        self.capturing = cuda.Stream(non_blocking=True)
        self.copying = cuda.Stream(non_blocking=True)
        self.is_eager = False
        self._graphs: dict[Hashable, StepGraph] = {}
        self._given: list[list[Any] | None] = []  # what each step since the last look was given, where it is kept
        backend.all_graphs.add(self)

    def run(self, kind: Hashable, step: Step) -> Any:
        """Runs one step: the first time eagerly, then captured, then replayed.

        Args:
            kind: of steps that differ in nothing but what they are fed; None is not captured.
            step: keeps CUDA's rules, see above; ends sound or changes nothing.
        Returns:
            What the step did. Of a captured one the arrays are the graph's own: the next one of its kind overwrites
            them.
        """

        def counted() -> Any:
            values = step()
            self.guard.count()
            return values

        graph = self._graphs.get(kind) or StepGraph(self)
        if kind is not None:
            self._graphs[kind] = graph
        self.is_eager = graph.is_eager
        values = graph.run(counted)
        self._given.append(None if kind is None else graph.given)
        return values

    def look(self) -> int | None:
        """Waits for the steps since the last look.

        Returns:
            The index, among these, of the first that was not sound; None if all were.
        """
        done = int(self.backend.to_numpy(self.guard.done))
        if done < len(self._given):
            return done
        self._given.clear()
        self.guard.done.fill(0)
        return None

    def again(self, index: int, step: Step) -> Any:
        """Repeats the step of that index, on its former inputs if they are kept, and looks at every number."""
        given = self._given[index]
        self._given.clear()
        self.guard.reset()
        with self.backend.running(None if given is None else Again(given), None):
            return step()


def lasting_pool(cuda: Any) -> Any:
    """A pool of memory that it keeps as long as it lives itself.

    CuPy's own give back what no array uses when memory runs out; but graphs go on to write to it.
    """
    kept: list[Any] = []

    def taken(nbytes: int) -> Any:
        kept.append(cuda.Memory(nbytes))
        return cuda.MemoryPointer(kept[-1], 0)

    return cuda.MemoryPool(taken)


class StepGraph:
    """One kind of step.

    Attributes:
        given: what the last step was fed; the arrays of a captured one stay as they are once a step was not sound.
    """

    def __init__(self, graphs: StepGraphs) -> None:
        self.backend, self.guard, self.pool = graphs.backend, graphs.guard, graphs.pool
        self.capturing, self.copying = graphs.capturing, graphs.copying
        self._survey: Survey | None = None
        self._graph: Any = None
        self._gives_up = False  # it could not be captured
        self.given: list[Any] | None = None
        self._actions: list[Action] = []
        self._turn = 0

    @property
    def is_eager(self) -> bool:
        """Whether the next step's kernels are launched one by one, between the draws of what they are fed."""
        return self._graph is None and not (self._survey is not None and self._survey.capturable)

    def run(self, step: Step) -> Any:
        if self._graph is not None:
            slot = self._next_slot()
            slot.copied.synchronize()  # the copy of two steps ago, so that its bytes may be overwritten
            for action in self._actions:
                action(slot.host)
            self._launch(slot)
        elif self._survey is not None and self._survey.capturable:
            self._try_to_capture(step, self._survey)
        else:
            self._survey = Survey(partial(Backend.feed, self.backend), self.backend.xp.ndarray)
            self._survey.capturable = not self._gives_up
            with self.backend.running(self._survey, self.guard):
                self._values = step()
            self.given = self._survey.given if self._survey.capturable else None
        return self._values

    def _try_to_capture(self, step: Step, survey: Survey) -> None:
        """Captures the step, or gives up for good.

        Raises:
            NotCaptured: a kernel or a library does what CUDA does not capture.
        """
        try:
            self._capture(step, survey)
        except (RuntimeError, BackendError) as error:  # CuPy's errors of CUDA are RuntimeErrors
            survey.capturable, self._gives_up = False, True
            raise NotCaptured(
                f"a kind of training step cannot be captured ({first_line(error)}), so its kernels are launched one by "
                "one. MINIGAN_GRAPHS=0 does so from the start."
            ) from error

    def _capture(self, step: Step, survey: Survey) -> None:
        """Runs the step while nothing is executed, and then for the first time."""
        xp = self.backend.xp
        self._block = xp.zeros(survey.nbytes, dtype=np.uint8)
        self._slots = tuple(Slot(xp, survey.nbytes) for _ in range(2))
        xp.get_default_memory_pool().free_all_blocks()  # what the first run had: the graph takes its own
        slot = self._next_slot()
        recording = Recording(survey.feeds, self._block, slot.host)
        with self.backend.running(recording, self.guard):
            graph, self._values = self._captured(step)
        self._graph, self._actions, self.given = graph, recording.actions, recording.given
        self._survey = None  # and what it was given
        self._launch(slot)

    def _captured(self, step: Step) -> tuple[Any, Any]:
        """The graph, and what the step returned, which is on the graph's memory."""
        with self.backend.xp.cuda.using_allocator(self.pool.malloc), self.capturing:
            self.capturing.begin_capture()
            self.backend.is_capturing = True
            try:
                values = step()
            except BaseException:
                with suppress(Exception):  # raise the error that broke the capture, not the one that it is broken
                    self.capturing.end_capture()
                raise
            finally:
                self.backend.is_capturing = False
            return self.capturing.end_capture(), values

    def _next_slot(self) -> "Slot":
        self._turn += 1
        return self._slots[self._turn % 2]

    def _launch(self, slot: "Slot") -> None:
        """Copies the inputs, on a separate stream, during the previous step; then runs the graph.

        Once a step was not sound the block stays as it was in that step.
        """
        xp = self.backend.xp
        stream = xp.cuda.get_current_stream()
        self.copying.wait_event(slot.taken)
        slot.staged.set(slot.host, stream=self.copying)
        self.copying.record(slot.copied)
        stream.wait_event(slot.copied)
        xp.copyto(self._block.view(np.int64), slot.staged.view(np.int64), where=self.guard.sound)
        stream.record(slot.taken)
        self._graph.launch(stream)


class Slot:
    """Memory for a step's bytes until its turn: in host memory that the device reads by itself, then on the device.

    Attributes:
        host, staged: bytes in pinned memory and on the device.
        copied: an event, after the copy from one to the other.
        taken: an event, after the copy of `staged` to the block.
    """

    def __init__(self, xp: ModuleType, nbytes: int) -> None:
        self.host = np.frombuffer(xp.cuda.alloc_pinned_memory(nbytes), np.uint8, nbytes)
        self.staged = xp.zeros(nbytes, dtype=np.uint8)
        self.copied = xp.cuda.Event(disable_timing=True)
        self.taken = xp.cuda.Event(disable_timing=True)
        xp.cuda.get_current_stream().record(self.taken)  # after the zeros
