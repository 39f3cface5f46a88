"""Ctrl-C and SIGTERM, held back until the running step is done."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from minigan.support.threads import start_thread

__all__ = ["Interruption"]


class Interruption:
    """A context in which Ctrl-C and SIGTERM set the flag `requested` instead of interrupting a step.

    A second Ctrl-C interrupts at once.

    Args:
        announce: called with a line on what the first Ctrl-C does, in a thread of its own if one can be started.
        pass_on: deliver a SIGTERM again at the end, to the handler from before: by default it ends the process. For
            training inside another program, which must not miss that it is asked to end.
    """

    def __init__(self, announce: Callable[[str], None] | None = None, *, pass_on: bool = False) -> None:
        self.requested = False
        self._pass_on, self._terminated = pass_on, False
        self._announce = announce
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)
        except ValueError:  # not the main thread: a program that embeds training handles its signals itself
            pass
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._pass_on and self._terminated:
            signal.raise_signal(signal.SIGTERM)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (a handler's signature)
        self._terminated |= number == signal.SIGTERM
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if self._announce is not None:
            # Not here: the signal may have come in the middle of a print, which cannot be entered twice.
            text = "saving after this step" + "; Ctrl-C again stops at once" * (number == signal.SIGINT)
            start_thread(threading.Thread(target=self._announce, args=(text,), daemon=True))
