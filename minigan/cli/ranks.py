"""The command line on several processes that were started together: `mpiexec -n 4 minigan train`."""

import argparse
import contextlib
import sys

from minigan.support.launch import Launch, forget_launch
from minigan.support.output import Output

__all__ = ["end_together", "is_needed", "silence"]

NOT_SHARED = "works on one process: {others} {were} not needed."


def silence() -> None:
    """Lets this process print nothing: what it would say the first one says. Python takes None as a closed stream."""
    sys.stdout = sys.stderr = None  # type: ignore[assignment]


def is_needed(launch: Launch, options: argparse.Namespace) -> bool:
    """Whether this process has work to do: all have in a training, and the first alone in any other command."""
    if launch.size == 1 or (options.command == "train" and not options.dry_run):
        return True
    if launch.is_first:
        forget_launch()
        others = launch.size - 1
        Output.of(options).note(
            f"{options.command} runs on one process: {others} other{'s' if others > 1 else ''} end at once."
        )
    return launch.is_first


def end_together(launch: Launch, code: int, error: BaseException) -> int:
    """Ends all processes after an error on this one, if they train together by now; otherwise returns the code."""
    if launch.size > 1 and "minigan.distributed.launcher" in sys.modules:
        from minigan.distributed.launcher import end_all, has_begun

        if has_begun():
            end_all(code, error)
    return code
