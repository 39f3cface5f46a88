"""The time that a training takes, and its speed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Clock"]


class Clock:
    """The time that a training takes, and its speed in the last lap.

    A lap reaches from one record of the log to the next. The first lap includes compiling; pauses do not count.

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
        """Leaves the time spent inside out of the speed."""
        began = time.monotonic()
        yield
        self._marked += time.monotonic() - began
