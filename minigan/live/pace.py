"""The rhythm of frames and of steps: how much of the time may be spent on being watched, and on how many threads."""

import statistics
from collections import deque

__all__ = ["FramePace", "StepPace", "ThreadChoice"]

FRAMES_PER_SECOND = 20
SHARE = 0.035  # of the time that training takes
LONGEST = 3.0  # seconds from frame to frame
REMEMBERED = 9
TRIAL, BETWEEN = 0.08, 1.5  # seconds of a trial, and from one to the next
TRIALS = 5  # the last ones count
FEWEST_STEPS = 16  # in a trial


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


class ThreadChoice:
    """Says whether a training that is watched is quicker on all threads, or on one.

    A browser needs a CPU for each frame. Threads that share a step of half a millisecond then wait for the one whose
    CPU it has taken, and can be slower together than one alone, which depends on the machine and what else runs there.
    So each way is tried now and then for a moment, and the training goes the quicker one.
    """

    def __init__(self) -> None:
        self._ratios: deque[float] = deque(maxlen=TRIALS)  # of the speeds: all threads' by one's
        self._speed = 0.0  # of the way that was tried first
        self._trial = 0  # 0 between trials, 1 and 2 in the first and the second half of one
        self._since: tuple[float, int] | None = None
        self.shares = True

    def look(self, now: float, step: int) -> bool:
        """Whether all threads are to share the next step; called before each."""
        if self._since is None or step < self._since[1]:
            self._trial, self._since, self.shares = 0, (now, step), self._is_quicker()
        began, first = self._since
        if now - began >= (TRIAL if self._trial else BETWEEN):
            self._turn((step - first) / (now - began), step - first)
            self._since = now, step
        return self.shares

    def pause(self) -> None:
        """It does not go at full speed now, so nothing can be told from it."""
        self._since = None

    def _turn(self, speed: float, steps: int) -> None:
        """The end of a trial's half, or of the time until the next one."""
        if self._trial == 0:
            self._trial = 1
        elif steps < FEWEST_STEPS:  # long steps share a CPU with a browser as well as anybody
            self._trial, self.shares = 0, True
        elif self._trial == 1:
            self._trial, self._speed, self.shares = 2, speed, not self.shares
        else:
            self._ratios.append(speed / self._speed if self.shares else self._speed / speed)
            self._trial, self.shares = 0, self._is_quicker()

    def _is_quicker(self) -> bool:
        return not self._ratios or statistics.median(self._ratios) >= 1
