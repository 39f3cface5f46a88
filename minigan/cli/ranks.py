"""The command line on several processes that were started together: `mpiexec -n 4 minigan train`."""

import argparse
import contextlib
import sys
import time
import traceback
from types import TracebackType

from minigan.support.launch import RESUME, Launch, forget_launch
from minigan.support.output import Output

__all__ = ["end_together", "in_words", "is_needed", "silence"]

FIRST_SPEAKS = 1.0  # seconds: a launcher kills all when the first of them ends with an error


def silence() -> None:
    """Lets this process print nothing but the place of a bug: what it would say the first one says.

    Python takes None as a stream that was closed.
    """
    sys.stdout = sys.stderr = None
    sys.excepthook = _show_bug


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if sys.__stderr__ is not None:
        with contextlib.suppress(OSError, ValueError):
            traceback.print_exception(kind, error, trace, file=sys.__stderr__)


def is_needed(launch: Launch, options: argparse.Namespace) -> bool:
    """Whether this process has work to do: all have in a training, the first alone in any other command."""
    if launch.size == 1 or (options.command == "train" and not options.dry_run):
        return True
    if launch.is_first:
        forget_launch()
        others = "the other process ends" if launch.size == 2 else f"the other {launch.size - 1} processes end"
        Output.of(options).note(f"{options.command} runs on one process: {others} at once.")
    return launch.is_first


def end_together(launch: Launch, code: int, error: BaseException) -> int:
    """Ends all processes after an error on this one, if they train together by now; otherwise returns the code."""
    if launch.size > 1 and "minigan.distributed.launcher" in sys.modules:
        from minigan.distributed.launcher import end_all, has_begun

        if has_begun():
            end_all(code, error)
    if not launch.is_first:
        time.sleep(FIRST_SPEAKS)
    return code


def in_words(launch: Launch, text: str) -> str:
    """A message whose commands start as many processes as there are."""
    return text.replace(RESUME, launch.resume())
