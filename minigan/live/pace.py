"""The rhythm of frames and of steps: how much of the time may be spent on being watched."""

from collections import deque

__all__ = ["FramePace", "StepPace"]

FRAMES_PER_SECOND = 20
SHARE = 0.035  # of the time that training takes
LONGEST = 3.0  # seconds from frame to frame
REMEMBERED = 9


class FramePace:
    """Says when the next frame is due: at most twenty a second, and fewer if they cost too much of the time."""

    def __init__(self) -> None:
        self._costs: deque[float] = deque(maxlen=REMEMBERED)
        self._next = 0.0

    def is_due(self, now: float) -> bool:
        """Whether it is time for a frame."""
        return now >= self._next

    def made(self, began: float, ended: float, *, free: bool) -> None:
        """Notes a frame.

        Args:
            began, ended: seconds of a clock.
            free: whether the time was not training's, since that waits anyway.
        """
        self._costs.append(ended - began)
        usual = sorted(self._costs)[len(self._costs) // 2]  # one that the system held up does not count
        wait = 0.0 if free else min(usual / SHARE, LONGEST)
        self._next = began + max(1 / FRAMES_PER_SECOND, wait)

    def soon(self) -> None:
        """The next frame is due at once."""
        self._next = 0.0


class StepPace:
    """Holds steps back to so many a second.

    Attributes:
        per_second: 0 for as many as possible.
    """

    def __init__(self) -> None:
        self.per_second = 0
        self._next = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next step may begin."""
        return max(0.0, self._next - now) if self.per_second else 0.0

    def stepped(self, now: float) -> None:
        """Notes a step."""
        if self.per_second:
            self._next = max(self._next, now - 1 / self.per_second) + 1 / self.per_second
