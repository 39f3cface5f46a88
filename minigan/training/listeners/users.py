"""Listeners that a user has written, as the trainer calls them."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from minigan.errors import ConfigError, ListenerError
from minigan.support.arguments import kind_of, nearest_name
from minigan.training.listeners.base import AnyListener, Listener, Record, Step, Training
from minigan.training.state import TrainingState

__all__ = ["as_listener", "listener_list"]

T = TypeVar("T")
EVENTS = tuple(name for name in vars(Listener) if not name.startswith("_"))


class UsersListener(Listener):
    """A user's own listener. Its errors name it and the step; it gets copies, so that it cannot change the log."""

    def __init__(self, listener: Listener, name: str) -> None:
        self.listener, self.name = listener, name
        self._state: TrainingState | None = None

    def on_start(self, training: Training) -> None:
        self._state = training.state
        self._call("on_start", self.listener.on_start, training)

    def is_due(self, step: Step) -> bool:
        return self._call("is_due", self.listener.is_due, step)

    def on_step(self, step: Step) -> None:
        self._call("on_step", self.listener.on_step, step)

    def on_record(self, record: Record) -> None:
        self._call("on_record", self.listener.on_record, dict(record))

    def on_picture(self, step: int, picture: np.ndarray) -> None:
        self._call("on_picture", self.listener.on_picture, step, picture.copy())

    def on_checkpoint(self, step: int, path: Path) -> None:
        self._call("on_checkpoint", self.listener.on_checkpoint, step, path)

    def on_end(self) -> None:
        self._call("on_end", self.listener.on_end)

    def _call(self, event: str, method: Callable[..., T], *arguments: Any) -> T:
        """Calls a method; its error becomes a `ListenerError` that names the listener and the step."""
        try:
            return method(*arguments)
        except Exception as error:
            step = 0 if self._state is None else self._state.step
            where = self.name if isinstance(self.listener, RecordFunction) else f"{self.name}.{event}"
            text = ""
            with contextlib.suppress(Exception):  # an exception's text may fail in turn
                text = str(error).rstrip(". ")
            what = f"{type(error).__name__}{f': {text}' if text else ''}"
            raise ListenerError(f"the listener {where} failed at step {step}: {what}.") from error


class RecordFunction(Listener):
    """A function that is called with each record of the log."""

    def __init__(self, function: Callable[[Record], object]) -> None:
        self.function = function

    def on_record(self, record: Record) -> None:
        self.function(record)


def listener_list(given: Sequence[AnyListener]) -> tuple[AnyListener, ...]:
    """The argument `listeners` as a tuple; an iterator is used up here, and once.

    Raises:
        ConfigError: it is a single listener, or no sequence.
    """
    if isinstance(given, Listener | str) or not hasattr(given, "__iter__"):
        named = kind_of(given).removeprefix("the function ").removeprefix("the class ")
        example = f"{type(given).__name__}()" if isinstance(given, Listener) else named
        remedy = f"listeners=[{example}]" if callable(given) or isinstance(given, Listener) else "listeners=[print]"
        raise ConfigError(f"listeners must be a list, got {kind_of(given)}. Write {remedy}.")
    return tuple(given)


def as_listener(given: AnyListener) -> Listener:
    """A user's listener, or a function to be called with each record, as a listener for the trainer.

    Raises:
        ConfigError: `given` is neither.
    """
    if isinstance(given, type) and issubclass(given, Listener):
        raise ConfigError(f"listeners: expected an object, got the class {given.__name__}. Write {given.__name__}().")
    if isinstance(given, Listener):
        _expect_events(given)
        return UsersListener(given, type(given).__name__)
    if callable(given) and not isinstance(given, type):
        return UsersListener(RecordFunction(given), getattr(given, "__name__", type(given).__name__))
    raise ConfigError(
        f"listeners: expected a Listener, or a function that takes a record of the log, got {kind_of(given)}. "
        "See minigan.training.Listener."
    )


def _expect_events(listener: Listener) -> None:
    """Refuses a method that is meant for an event, but has no event's name: it would never be called.

    Raises:
        ConfigError: there is one.
    """
    own = [name for name in dir(listener) if name not in EVENTS and not name.startswith("_")]
    for name in own:
        likely = nearest_name(name, EVENTS, likeness=0.8)
        if (likely or name.startswith("on_")) and callable(getattr(type(listener), name, None)):
            remedy = f"Did you mean {likely}?" if likely else f"The events are {', '.join(EVENTS)}."
            raise ConfigError(f"listeners: {type(listener).__name__} has {name}, which is no event. {remedy}")
