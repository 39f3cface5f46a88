"""Marks in a real step: where each pass, kernel and update begins and ends.

First a step is run to learn its structure, a tree of spans between numbered marks. Each later repetition then only
writes a reading at each mark, of a clock or of memory, into an array that is there already: so little happens that what
is measured stays as it is. Outside of `marked` nothing is left of it, and training costs nothing more.
"""

import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from minigan.backends import Backend
from minigan.backends.base import KERNELS
from minigan.nn.layers import Layer
from minigan.nn.network import Observer, Pass
from minigan.training.alternating import AlternatingOptimizer
from minigan.training.learner import Learner

__all__ = ["Marks", "Readings", "Span", "Structure", "clock_of", "marked", "memory_of", "replaced", "seconds_of_a_mark"]


class Marks(Protocol):
    """Listeners that are told of each beginning and each end."""

    def begin(self, kind: str, name: str, now: Pass | None = None) -> None: ...

    def end(self, now: Pass | None = None) -> None: ...


@dataclass
class Span:
    """A part of a step between two marks; it refers to no array.

    Attributes:
        kind: "step", "batch", "update", "optimizer", "penalty", "average", "pass" or "kernel".
        name: of the networks, the optimizer's letter, or the kernel; the kind of a pass.
        first, last: numbers of its marks.
        inside: the spans in it, in order.
        network: of a pass.
        layers: of a pass: one, or two that run as one.
        examples: the length of what a pass is given.
        with_grads, with_result, curved: see `Pass`.
        shapes: of what a pass is given and of its result.
    """

    kind: str
    name: str
    first: int
    last: int = 0
    inside: list["Span"] = field(default_factory=list)
    network: Any = None
    layers: tuple[Layer, ...] = ()
    with_grads: bool = False
    with_result: bool = False
    curved: bool = False
    shapes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())


class Structure:
    """Learns the tree of spans.

    Attributes:
        count: the number of marks so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self.root: Span | None = None
        self._open: list[Span] = []

    def begin(self, kind: str, name: str, now: Pass | None = None) -> None:
        span = Span(kind, name, self.count)
        if now is not None:
            span.network, span.layers, span.with_grads = now.network, now.layers, now.grads is not None
        if self._open:
            self._open[-1].inside.append(span)
        else:
            self.root = span
        self._open.append(span)
        self.count += 1

    def end(self, now: Pass | None = None) -> None:
        span = self._open.pop()
        span.last = self.count
        self.count += 1
        if now is not None:
            span.with_result, span.curved = now.result is not None, now.curvature is not None
            span.shapes = tuple(now.given.shape), () if now.result is None else tuple(now.result.shape)


class Readings:
    """Readings at the marks of a step whose structure is known.

    Args:
        count: of the marks.
        read: gives one or two whole numbers.
    """

    def __init__(self, count: int, read: Callable[[], Any], *, width: int = 1) -> None:
        self.values: np.ndarray = np.zeros((count, width) if width > 1 else count, np.int64)
        self.read, self.count = read, 0

    def begin(self, kind: str, name: str, now: Pass | None = None) -> None:  # noqa: ARG002
        self.values[self.count] = self.read()
        self.count += 1

    def end(self, now: Pass | None = None) -> None:  # noqa: ARG002
        self.values[self.count] = self.read()
        self.count += 1


def clock_of(backend: Backend) -> Callable[[], int]:
    """Nanoseconds; on a device, when all that was asked for is computed."""
    if backend.memory() is None:
        return time.perf_counter_ns

    def read() -> int:
        backend.synchronize()
        return time.perf_counter_ns()

    return read


def seconds_of_a_mark(read: Callable[[], int]) -> float:
    """Half of what a kernel's two marks cost, with the call around it; the best of some rounds."""
    calls, best = 1000, float("inf")
    for _ in range(5):
        marked_call = _named(Readings(2 * calls, read), "kernel", "none", int)
        began = time.perf_counter()
        for _ in range(calls):
            marked_call()
        best = min(best, time.perf_counter() - began)
    return best / (2 * calls)


@contextmanager
def memory_of(backend: Backend) -> Iterator[Callable[[], tuple[int, int]]]:
    """A reading of memory: bytes alive, and their peak since the last reading; differences are what counts.

    On the CPU these are all arrays of Python's process, and no array takes a former one's place, so that each is there
    as long as something refers to it and no longer. On a device it is the memory in use, and its peak is not known
    within a kernel.
    """
    if backend.memory() is not None:

        def device() -> tuple[int, int]:
            backend.synchronize()
            use = backend.memory()
            now = use.used if use else 0
            return now, now

        yield device
        return
    already = tracemalloc.is_tracing()
    with replaced(backend, "empty", lambda shape, dtype: Backend.empty(backend, shape, dtype)):
        if not already:
            tracemalloc.start(1)
        try:

            def host() -> tuple[int, int]:
                use = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
                return use

            yield host
        finally:
            if not already:
                tracemalloc.stop()


@contextmanager
def marked(learner: Learner, marks: Marks) -> Iterator[None]:
    """Within this context the learner's steps tell the marks of all that they do."""
    backends = {id(network.kernels): network.kernels for network in learner.networks.values()}
    with ExitStack() as stack:
        for backend in backends.values():
            for kernel in KERNELS:
                stack.enter_context(
                    replaced(backend, kernel, _named(marks, "kernel", kernel, getattr(backend, kernel)))
                )
        stack.enter_context(replaced(learner, "update", _update(learner, marks)))
        for letter, optimizer in learner.optimizers.items():
            stack.enter_context(replaced(optimizer, "step", _named(marks, "optimizer", letter, optimizer.step)))
        if isinstance(learner, AlternatingOptimizer) and (penalty := learner.penalty) is not None:
            adds = _named(marks, "penalty", "D", penalty.add_gradients)
            stack.enter_context(replaced(penalty, "add_gradients", adds))
        stack.enter_context(learner.observed(_Passes(marks)))
        yield


@contextmanager
def replaced(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Within this context an object has that function in place of its class's method."""
    before = vars(owner).get(name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


class _Passes(Observer):
    narrow: ClassVar[bool] = True  # a copy would take time and memory that the step does not take

    def __init__(self, marks: Marks) -> None:
        self._marks = marks

    def before(self, now: Pass) -> None:
        self._marks.begin("pass", now.kind, now)

    def after(self, now: Pass) -> None:
        self._marks.end(now)


class _Spanned(ContextDecorator):
    """Marks around each call of a function."""

    def __init__(self, marks: Marks, kind: str, name: str) -> None:
        self._marks, self._kind, self._name = marks, kind, name

    def __enter__(self) -> None:
        self._marks.begin(self._kind, self._name)

    def __exit__(self, *error: object) -> None:
        self._marks.end()


def _named(marks: Marks, kind: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with marks around it."""
    return _Spanned(marks, kind, name)(function)


def _update(learner: Learner, marks: Marks) -> Callable[..., Any]:
    """The learner's update with marks around it."""
    update = learner.update

    def spanned(*names: str, gradients: Callable[[], Any], rng: np.random.Generator) -> Any:
        marks.begin("update", " ".join(names))
        result = update(*names, gradients=gradients, rng=rng)
        marks.end()
        return result

    return spanned
