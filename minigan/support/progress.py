"""Progress of a long training: a bar on a terminal, plain lines elsewhere."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, Protocol, Self, TextIO

from minigan.errors import printable
from minigan.support.output import Output, print_line, writable
from minigan.support.threads import can_start_threads

__all__ = ["JsonProgress", "PlainProgress", "Progress", "RichProgress", "open_progress"]

Values = Mapping[str, float]


class Progress(Protocol):
    """Shows how training advances; a context manager.

    If it can no longer be shown (a closed pipe, a full disk), training continues without it.
    """

    def advance(self, step: int, *, images_per_second: float) -> None:
        """Counts a finished step.

        Args:
            step: steps done so far.
        """

    def values(self, values: Values, *, word: str = "") -> None:
        """Shows new measurements, such as losses, by name, and a word on how it goes."""

    def message(self, text: str) -> None:
        """Prints a line that stays."""

    def record(self, record: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Takes a record that was written to the log; most kinds ignore it."""
        return

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def open_progress(
    *, start: int, total: int, stream: TextIO | None = None, output: Output | None = None, unit: str = "step"
) -> Progress:
    """A bar if rich is installed and the stream is a terminal that can show one, otherwise plain lines.

    Args:
        start: steps done before.
        total: steps in the whole training.
        unit: the name of a step in plain lines.
        stream: where to print; standard output by default.
        output: its flags `json` and `quiet` replace both by lines of JSON or by nothing.
    """
    if output is not None and output.json:
        return JsonProgress(output)
    if output is not None and output.quiet:
        return PlainProgress(start=start, total=total, stream=None, unit=unit)
    stream, words = stream or sys.stdout, str if output is None else output.words
    terminal = stream is not None and not stream.closed and stream.isatty() and os.environ.get("TERM") != "dumb"
    if terminal and find_spec("rich") is not None and can_start_threads():  # one redraws the bar
        return RichProgress(start=start, total=total, stream=stream, words=words)
    return PlainProgress(start=start, total=total, stream=stream, words=words, unit=unit)


def format_values(values: Values) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in values.items())


def format_seconds(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class JsonProgress(Progress):
    """Prints a line of JSON for each record of the log; messages are remarks."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def advance(self, step: int, *, images_per_second: float) -> None:
        pass

    def values(self, values: Values, *, word: str = "") -> None:
        pass

    def message(self, text: str) -> None:
        self.output.say(text)

    def record(self, record: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # OutputError is one
            self.output.record(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class PlainProgress(Progress):
    """Prints a line for new values, at most one every few seconds."""

    INTERVAL = 5.0  # seconds between lines

    def __init__(
        self,
        *,
        start: int,
        total: int,
        stream: TextIO | None,
        words: Callable[[str], str] = str,
        unit: str = "step",
    ) -> None:
        self.step, self.total, self.stream, self.words, self.unit = start, total, stream, words, unit
        self.broken = stream is None  # started with standard output closed
        self.last_step, self.last_line = start, time.monotonic()
        self.silent = True  # until the first line
        self.images_per_second = 0.0

    def advance(self, step: int, *, images_per_second: float) -> None:
        self.step, self.images_per_second = step, images_per_second

    def values(self, values: Values, *, word: str = "") -> None:
        now = time.monotonic()
        if not self.silent and now - self.last_line < self.INTERVAL and self.step < self.total:
            return
        # Measured since the last line: the first step compiles, and is no measure of the others.
        shown = "".join(f"{text}  " for text in (format_values(values), word) if text)
        left = (now - self.last_line) / max(self.step - self.last_step, 1) * (self.total - self.step)
        self.last_step, self.last_line, self.silent = self.step, now, False
        self.message(
            f"{self.unit} {self.step:>{len(str(self.total))}}/{self.total}  {shown}"
            f"{self.images_per_second:,.0f} images/s  {format_seconds(left)} left"
        )

    def message(self, text: str) -> None:
        if self.broken:
            return
        try:
            print_line(printable(self.words(text)), self.stream)
        except OSError:
            self.broken = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class RichProgress(Progress):
    """Keeps one live line with a bar, steps, losses, images/s and the time left."""

    def __init__(self, *, start: int, total: int, stream: TextIO, words: Callable[[str], str] = str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.words = words
        self.bar: Any = Bar(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("[bold]{task.fields[values]}"),
            TextColumn("[cyan]{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            console=Console(file=stream),
        )
        self.task = self.bar.add_task("", total=total, completed=start, values="", speed="")

    def advance(self, step: int, *, images_per_second: float) -> None:
        self.bar.update(self.task, completed=step, speed=f"{images_per_second:,.0f} images/s")

    def values(self, values: Values, *, word: str = "") -> None:
        self.bar.update(self.task, values="  ".join(text for text in (format_values(values), word) if text))

    def message(self, text: str) -> None:
        with contextlib.suppress(OSError):
            line = writable(printable(self.words(text)), self.bar.console.file)
            self.bar.console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self.bar.stop()
