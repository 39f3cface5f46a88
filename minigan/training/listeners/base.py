"""What a listener of the trainer is, and how all of them are told."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigan.errors import ConfigError, ListenerError
from minigan.training.learner import Values
from minigan.training.state import TrainingState

__all__ = ["AnyListener", "Clock", "Everyone", "Listener", "Record", "Step", "Training", "as_listener"]

Record = dict[str, Any]  # a line of the log: JSON can hold it


class Step(NamedTuple):
    """A step that was just done.

    Attributes:
        number: counts from 1.
        values: the losses and the like. On a GPU they may not be there before `is_due` has asked for them.
        last: whether training is done with it.
    """

    number: int
    values: Values
    last: bool

    def is_multiple(self, every: int) -> bool:
        """Whether the step is one of every so many; never with 0."""
        return every > 0 and self.number % every == 0


class Listener:
    """Told what happens in a training. A listener of your own overrides what it wants to hear of.

    The log, the progress bar, pictures, evaluation and checkpoints are listeners themselves, in the files next to this
    one. At a step they come in this order: log, progress, pictures, evaluation, listeners of your own, checkpoints.
    """

    def on_start(self, training: "Training") -> None:
        """Training begins, or is resumed; networks and the run's folder are in `training.state`."""

    def is_due(self, step: Step) -> bool:  # noqa: ARG002
        """Whether `on_step` wants to read the step's numbers: then the trainer waits for a GPU first."""
        return False

    def on_step(self, step: Step) -> None:
        """A step was done."""

    def on_record(self, record: Record) -> None:
        """A line was added to the log: losses and rates, or the figures of an evaluation, with their `step`."""

    def on_picture(self, step: int, picture: np.ndarray) -> None:
        """A sample picture was drawn: (H, W, C) uint8."""

    def on_checkpoint(self, step: int, path: Path) -> None:
        """A checkpoint was written."""

    def on_end(self) -> None:
        """Training is over: done, interrupted, or stopped by an error."""


class Clock:
    """The time that a training takes, and its speed since the last lap.

    The first lap's speed includes compiling, no other's does; pauses are no part of the speed.

    Attributes:
        images_per_second: in the last lap.
        seconds: from the beginning to the end of the last lap.
        lap_step: the step at its end.
    """

    def __init__(self, step: int, *, images_per_step: int) -> None:
        self.images_per_step = images_per_step
        self.images_per_second, self.seconds, self.lap_step = 0.0, 0.0, step
        self._began = self._marked = time.monotonic()

    def lap(self, step: int) -> None:
        """Ends a lap."""
        now = time.monotonic()
        images = (step - self.lap_step) * self.images_per_step
        self.images_per_second = images / max(now - self._marked, 1e-9)
        self.seconds, self.lap_step, self._marked = now - self._began, step, now

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Whatever is done inside is no part of the speed."""
        began = time.monotonic()
        yield
        self._marked += time.monotonic() - began


@dataclass
class Training:
    """What listeners are given.

    Attributes:
        state: networks, step, folder.
        everyone: all listeners; for one that has news of its own.
        say: shows a line to the user.
        clock: the speed.
    """

    state: TrainingState
    everyone: Listener
    say: Callable[[str], None]
    clock: Clock


class Everyone(Listener):
    """All listeners as one, told in order."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners = tuple(listeners)

    def on_start(self, training: Training) -> None:
        for listener in self.listeners:
            listener.on_start(training)

    def is_due(self, step: Step) -> bool:
        asked = [listener.is_due(step) for listener in self.listeners]  # each at each step
        return any(asked)

    def on_step(self, step: Step) -> None:
        for listener in self.listeners:
            listener.on_step(step)

    def on_record(self, record: Record) -> None:
        for listener in self.listeners:
            listener.on_record(record)

    def on_picture(self, step: int, picture: np.ndarray) -> None:
        for listener in self.listeners:
            listener.on_picture(step, picture)

    def on_checkpoint(self, step: int, path: Path) -> None:
        for listener in self.listeners:
            listener.on_checkpoint(step, path)

    def on_end(self) -> None:
        for listener in self.listeners:
            listener.on_end()


class UsersListener(Listener):
    """A user's own: an error in it names it and the step, and it gets copies, so that it cannot change the log."""

    def __init__(self, listener: Listener, name: str) -> None:
        self.listener, self.name = listener, name
        self._state: TrainingState | None = None

    def on_start(self, training: Training) -> None:
        self._state = training.state
        with self._named("on_start"):
            self.listener.on_start(training)

    def is_due(self, step: Step) -> bool:
        with self._named("is_due"):
            return self.listener.is_due(step)

    def on_step(self, step: Step) -> None:
        with self._named("on_step"):
            self.listener.on_step(step)

    def on_record(self, record: Record) -> None:
        with self._named("on_record"):
            self.listener.on_record(dict(record))

    def on_picture(self, step: int, picture: np.ndarray) -> None:
        with self._named("on_picture"):
            self.listener.on_picture(step, picture.copy())

    def on_checkpoint(self, step: int, path: Path) -> None:
        with self._named("on_checkpoint"):
            self.listener.on_checkpoint(step, path)

    def on_end(self) -> None:
        with self._named("on_end"):
            self.listener.on_end()

    def _named(self, method: str) -> "_Named":
        at = 0 if self._state is None else self._state.step
        where = self.name if isinstance(self.listener, RecordFunction) else f"{self.name}.{method}"
        return _Named(f"the listener {where} failed at step {at}")


class _Named:
    """Turns an error inside it into a `ListenerError` that says where it was."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception):
            text = str(error).rstrip(". ")
            raise ListenerError(f"{self.where}: {type(error).__name__}{f': {text}' if text else ''}.") from error


class RecordFunction(Listener):
    """A function that is called with each record of the log."""

    def __init__(self, function: Callable[[Record], object]) -> None:
        self.function = function

    def on_record(self, record: Record) -> None:
        self.function(record)


AnyListener = Listener | Callable[[Record], object]  # an object, or a function that is called with each record


def as_listener(given: AnyListener) -> Listener:
    """A user's own listener, or a function to be called with each record, as the trainer takes it.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(given, type) and issubclass(given, Listener):
        raise ConfigError(f"listeners: expected an object, got the class {given.__name__}. Write {given.__name__}().")
    if isinstance(given, Listener):
        return UsersListener(given, type(given).__name__)
    if callable(given) and not isinstance(given, type):
        return UsersListener(RecordFunction(given), getattr(given, "__name__", type(given).__name__))
    raise ConfigError(
        f"listeners: expected a Listener, or a function that takes a record of the log, got {given!r}. "
        "See minigan.training.Listener."
    )
