"""The command line in a process that kills itself at a chosen operation on the files of one folder.

`benchmarks.kills` starts it as `python -m benchmarks.mortal OPERATION FOLDER train ...`. Opening, renaming or
removing a file and making a folder count, each before it is done; operation 0 never comes. At its end it prints how
many there were.
"""

import os
import signal
import sys
from typing import Any

from minigan.cli.command_line import main

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir")


class Countdown:
    """An audit hook that kills the process at an operation."""

    def __init__(self, operation: int, folder: str) -> None:
        self.operation, self.folder = operation, folder
        self.count = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and isinstance(arguments[0], str | os.PathLike) and self._is_inside(arguments[0]):
            self.count += 1
            if self.count == self.operation:
                os.kill(os.getpid(), signal.SIGKILL)

    def _is_inside(self, path: str | os.PathLike[str]) -> bool:
        return os.fspath(path).startswith(self.folder)


if __name__ == "__main__":
    if hasattr(signal, "SIGHUP"):  # ignored under nohup, which is meant for the benchmark
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    countdown = Countdown(int(sys.argv[1]), sys.argv[2])
    sys.addaudithook(countdown)
    code = main(sys.argv[3:])
    print(f"operations {countdown.count}")
    sys.exit(code)
