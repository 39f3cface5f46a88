"""Training under the live page: slowed by nothing while the page is closed, and by how little while it is open.

    python -m benchmarks.live --data ring --rounds 5 --seconds 4

In turns, in one process: `minigan train`'s own loop; a live session that nobody watches; and one whose page is open,
read by another process as a browser reads it. Each begins anew, and is warm before it is timed. Prints steps and frames
a second, and the processor time of a step, which other programs on the machine disturb less; medians and best over the
rounds, and by how much each is more than training alone.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import command
from benchmarks.environment import describe, show
from minigan.backends import get_backend
from minigan.cli import command_line
from minigan.cli.live import _config
from minigan.live import Command, LiveRun, Session
from minigan.live.hub import Hub
from minigan.live.page import live_page
from minigan.live.server import LiveServer
from minigan.runs.session import start_run
from minigan.support.output import Output
from minigan.support.progress import open_progress

WARM = 1.0  # seconds before a measurement
VARIANTS = ("train", "closed", "open")
READER = """
import sys, time, urllib.request
times = []
try:
    for line in urllib.request.urlopen(sys.argv[1] + "events", timeout=30):
        if line.startswith(b"event: frame"):
            times.append(time.monotonic())
        if line.startswith(b"event: end"):
            break
except OSError:
    pass
print((len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0)
"""


class Deadline:
    """Asks for the end of a training after so many seconds, those before it is warm aside."""

    def __init__(self, seconds: float, state: Any) -> None:
        self._state, self._seconds = state, seconds
        self._at = time.perf_counter()
        self._began: tuple[float, float, int] | None = None
        self.speed, self.work = 0.0, 0.0

    @property
    def requested(self) -> bool:
        """Whether the time is up."""
        now = time.perf_counter()
        if self._began is None and now - self._at > WARM:
            self._began = now, time.process_time(), self._state.step
        if self._began is None or now - self._began[0] < self._seconds:
            return False
        if not self.speed:
            steps = self._state.step - self._began[2]
            self.speed, self.work = steps / (now - self._began[0]), (time.process_time() - self._began[1]) / steps
        return True

    @contextmanager
    def held_back(self):  # as an interruption has it
        yield


def measured(variant: str, options: argparse.Namespace, folder: Path) -> tuple[float, float, float]:
    """Steps a second, processor seconds of a step, frames a second."""
    words = ["live", "--data", options.data, "--backend", options.backend, "--seed", "0"]
    config = _config(command_line._parse(words))
    prepared, progress = start_run(config, folder), open_progress(start=0, total=1, output=Output(quiet=True))
    deadline: Any = Deadline(options.seconds, prepared.trainer.state)
    if variant == "train":
        owner = prepared.trainer.state.owner
        with owner or ExitStack(), closing(prepared.dataset), prepared.trainer.state.loader:
            prepared.trainer.run(progress, deadline)
        return deadline.speed, deadline.work, 0.0
    with ExitStack() as stack:
        run = stack.enter_context(LiveRun(prepared, progress))
        session = Session([run], Hub(), say=print)
        reader = None
        if variant == "open":
            server = stack.enter_context(closing(LiveServer(live_page())))
            stack.enter_context(server.serving(session))
            call = [sys.executable, "-c", READER, server.address]
            reader = stack.enter_context(subprocess.Popen(call, stdout=subprocess.PIPE, text=True))
        session.submit(Command("play", {}))
        session.run(deadline)
        frames = 0.0 if reader is None or reader.stdout is None else float(reader.stdout.read())
    return deadline.speed, deadline.work, frames


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ring", help="as for minigan live (default ring)")
    parser.add_argument("--backend", choices=command.HOST, default="cpu", help="default cpu")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a measurement (default 4)")
    options = parser.parse_args(arguments)
    backend = get_backend(options.backend)
    backend.compile_ahead()
    show(describe(backend))
    speeds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    works: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    frames = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(options.rounds):
            for variant in VARIANTS[number % 3 :] + VARIANTS[: number % 3]:
                speed, work, seen = measured(variant, options, Path(scratch) / f"{variant}-{number}")
                speeds[variant].append(speed)
                works[variant].append(1e6 * work)
                frames += [seen] if variant == "open" else []
    base = statistics.median(works["train"]), min(works["train"])
    print("training     steps/s: median   best   us of work a step: median   best   more by: median   best   frames/s")
    for variant in VARIANTS:
        middle, best = statistics.median(works[variant]), min(works[variant])
        speed = f"{statistics.median(speeds[variant]):15,.0f} {max(speeds[variant]):6,.0f}"
        shown = f"{statistics.median(frames):10.1f}" if variant == "open" else ""
        more = f"{middle / base[0] - 1:17.1%} {best / base[1] - 1:6.1%}"
        print(f"{variant:12} {speed} {middle:27,.0f} {best:6,.0f} {more} {shown}".rstrip())


if __name__ == "__main__":
    main()
