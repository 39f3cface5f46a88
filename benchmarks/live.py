"""Training under the live page: slowed by nothing while the page is closed, and by how little while it is open.

    python -m benchmarks.live --data ring --rounds 5 --seconds 4 [--browser chromium]

In turns, in one process: `minigan train`'s own loop; a live session that nobody watches; one whose page is open, read
by another process as a browser reads it; and with `--browser` one in a headless browser, which draws, and has to share
the processor. Each begins anew, and is warm before it is timed. Prints steps and frames a second, and processor time of
a step in the training's own process, frames included and the browser's excluded: other programs disturb it less.
"More" is the median over the rounds of a round's own ratio to training alone, and the ratio of the best.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
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
READER = """
import json, sys, urllib.request
for line in urllib.request.urlopen(sys.argv[1] + "events", timeout=30):
    if line.startswith(b"data: "):
        json.loads(line[6:])
"""


class CountingHub(Hub):
    """Remembers when frames were sent."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def send(self, kind: str, *rest: Any, **more: Any) -> None:
        if kind == "frame":
            self.times.append(time.monotonic())
        super().send(kind, *rest, **more)

    @property
    def per_second(self) -> float:
        """Frames a second, those before it is warm aside."""
        times = [at for at in self.times if at > self.times[0] + WARM]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0


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
        hub = CountingHub()
        session = Session([run], hub, say=print)
        if variant != "closed":
            server = stack.enter_context(closing(LiveServer(live_page())))
            stack.enter_context(server.serving(session))
            stack.enter_context(watching(server.address, options.browser if variant == "browser" else None, folder))
            while not hub.is_watched:
                time.sleep(0.01)
            deadline = Deadline(options.seconds, prepared.trainer.state)
        session.submit(Command("play", {}))
        session.run(deadline)
    return deadline.speed, deadline.work, hub.per_second


@contextmanager
def watching(address: str, browser: str | None, folder: Path) -> Iterator[None]:
    """A context in which another process reads the page."""
    call = [sys.executable, "-c", READER, address]
    if browser is not None:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        call = [browser, *flags, f"--user-data-dir={folder}-profile", address]
    with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ring", help="as for minigan live (default ring)")
    parser.add_argument("--backend", choices=command.HOST, default="cpu", help="default cpu")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a measurement (default 4)")
    parser.add_argument("--browser", metavar="PROGRAM", help="of the Chromium family; measure with it, too")
    options = parser.parse_args(arguments)
    variants = ("train", "closed", "open", *(["browser"] if options.browser else []))
    backend = get_backend(options.backend)
    backend.compile_ahead()
    show(describe(backend))
    speeds: dict[str, list[float]] = {variant: [] for variant in variants}
    works: dict[str, list[float]] = {variant: [] for variant in variants}
    frames: dict[str, list[float]] = {variant: [] for variant in variants}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(options.rounds):
            turn = number % len(variants)
            for variant in variants[turn:] + variants[:turn]:
                speed, work, seen = measured(variant, options, Path(scratch) / f"{variant}-{number}")
                speeds[variant].append(speed)
                works[variant].append(1e6 * work)
                frames[variant].append(seen)
    print("training     steps/s: median   best   us of work a step: median   best   more by: median   best   frames/s")
    for variant in variants:
        ratio = statistics.median(one / alone for one, alone in zip(works[variant], works["train"], strict=True))
        middle, best = statistics.median(works[variant]), min(works[variant])
        speed = f"{statistics.median(speeds[variant]):15,.0f} {max(speeds[variant]):6,.0f}"
        shown = f"{statistics.median(frames[variant]):10.1f}" if any(frames[variant]) else ""
        more = f"{ratio - 1:17.1%} {best / min(works['train']) - 1:6.1%}"
        print(f"{variant:12} {speed} {middle:27,.0f} {best:6,.0f} {more} {shown}".rstrip())


if __name__ == "__main__":
    main()
