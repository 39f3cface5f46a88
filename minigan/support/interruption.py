"""Ctrl-C, SIGTERM and other requests to end, held back until the running step is done."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self

from minigan.support.threads import start_thread

__all__ = ["Interruption"]

# Besides Ctrl-C: an end that is asked for, a terminal that is closed (SIGBREAK on Windows), the last of the time that a
# limit grants. A system has some of them.
REQUESTS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK", "SIGXCPU")


class Interruption:
    """A context in which Ctrl-C, SIGTERM, SIGHUP and SIGXCPU set the flag `requested` instead of interrupting a step.

    A second Ctrl-C interrupts at once. A SIGHUP that the process ignores, as under nohup, stays ignored.

    Args:
        announce: called with a line on what the first Ctrl-C does, in a thread of its own if one can be started.
        pass_on: deliver all but a Ctrl-C again at the end, to the handler from before: by default it ends the process.
            For training inside another program, which must not miss that it is asked to end.
    """

    def __init__(self, announce: Callable[[str], None] | None = None, *, pass_on: bool = False) -> None:
        self.requested = False
        self._pass_on, self._received = pass_on, 0  # the last signal that asked for the end
        self._held = 0  # how many `held_back` are around
        self._announce = announce
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        try:
            for number in self._handled():
                self._previous[number] = signal.signal(number, self._on_signal)
        except ValueError:  # not the main thread: a program that embeds training handles its signals itself
            pass
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._pass_on and self._received:
            signal.raise_signal(self._received)

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """A context in which a second Ctrl-C does not interrupt either: what is done inside must be whole."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    @staticmethod
    def _handled() -> Iterator[int]:
        """The signals to handle; not those whose handler is no Python function, which could not be put back."""
        for name in REQUESTS:
            number = getattr(signal, name, None)
            handler = None if number is None else signal.getsignal(number)
            ignored = name == "SIGHUP" and handler == signal.SIG_IGN
            if number is not None and handler is not None and not ignored:
                yield number

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (a handler's signature)
        if number != signal.SIGINT:
            self._received = number
        if self.requested:
            if number == signal.SIGINT and not self._held:
                raise KeyboardInterrupt
            return
        self.requested = True
        if self._announce is not None:
            # Not here: the signal may have come in the middle of a print, which cannot be entered twice.
            text = "saving after this step" + "; Ctrl-C again stops at once" * (number == signal.SIGINT)
            start_thread(threading.Thread(target=self._announce, args=(text,), daemon=True))
