"""Training under the live page: slowed by nothing while the page is closed, and by how little while it is open.

    python -m benchmarks.live --data ring --rounds 10 [--browser chromium]

Two ways to train are compared in one process, in short blocks by turns, a-b-b-a, so that a machine that is quicker or
slower for some seconds is so for both:

    closed   a live session that nobody watches, against `minigan train`'s own loop
    stream   a session whose events another process reads and throws away, against one that nobody watches: the
             training's own share of being watched
    page     a session whose page is open in a headless browser, against the same page in the background, which hangs
             up: with the drawing, for which a browser without a GPU needs the processor, too

"Slower by", and by how much "more work" a step is for the training's own process in processor time, are medians over
the pairs of neighboring blocks; an interval about them holds the true median in 95 % of such measurements, by the
order of the pairs alone (sign test). Processor time is in cores: the training process's own, that of those who watch,
and that of all other programs. Where these took more than an eighth of a core, a pair is taken again, as long as there
is time for it. "Frames" is the share of the training's time that making them took. With NUMBA_NUM_THREADS=1 no thread
waits for another: work a step is then work alone.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import command
from benchmarks.browser import BROWSER, Browser
from benchmarks.environment import describe, show
from minigan.backends import get_backend
from minigan.cli import command_line
from minigan.cli.live import _config
from minigan.live import Command, LiveRun, Session
from minigan.live.hub import Hub
from minigan.live.page import live_page
from minigan.live.server import LiveServer
from minigan.runs.prepare import PreparedRun
from minigan.runs.session import start_run
from minigan.support.output import Output
from minigan.support.progress import open_progress

SETTLE = 0.4  # seconds before a block is timed
LEVEL = 0.95
MOST_BY_OTHERS = 0.125  # of a core, beside which a pair counts
READER = """
import json, sys, urllib.request
sys.stdin.readline()
for line in urllib.request.urlopen(sys.argv[1] + "events", timeout=30):
    if line.startswith(b"data: "):
        json.loads(line[6:])
"""
# A tab that goes into the background, or comes back.
TAB = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
TAB += "document.dispatchEvent(new Event('visibilitychange'))"


class Block(NamedTuple):
    """A stretch of training that was timed.

    Attributes:
        speed: steps a second.
        own, theirs, others: processor seconds in a second, of the training's process, of those that watch, and of all
            other programs.
        making: seconds in a second that the training's thread spent on frames.
        sent, drawn: frames a second, sent by the training and drawn by the page.
    """

    speed: float
    own: float
    theirs: float
    others: float
    making: float
    sent: float
    drawn: float


class Watched(Session):
    """A session that knows what its frames have cost.

    Attributes:
        sent: frames so far.
        making: seconds that they took.
    """

    sent, making = 0, 0.0

    def frame(self) -> dict[str, Any]:
        self.sent += 1
        return super().frame()

    def _show(self) -> None:
        began, sent = time.perf_counter(), self.sent
        super()._show()
        if self.sent > sent:
            self.making += time.perf_counter() - began


class Viewer:
    """A watcher, or nobody.

    Args:
        process: the first of its processes; None for nobody.
    """

    def __init__(self, process: int | None = None) -> None:
        self._process = process

    def watch(self, on: bool) -> None:
        """Begins or ends watching."""

    def drawn(self) -> int:
        """Frames drawn so far."""
        return 0

    def seconds(self) -> float:
        """Processor time so far, as far as the system tells it (Linux)."""
        return 0.0 if self._process is None else _processor_seconds(self._process)


class Reader(Viewer):
    """Processes that read the events, one for each time that somebody watches."""

    def __init__(self, address: str) -> None:
        super().__init__(os.getpid())
        self._address = address
        self._current = self._next = self._start()

    def watch(self, on: bool) -> None:
        if on:
            self._current = self._next
            self._current.stdin.write(b"\n")  # type: ignore[union-attr]
            self._current.stdin.flush()  # type: ignore[union-attr]
            self._next = self._start()  # its start is no part of a block in which it reads: it waits for the next
        else:
            self._current.terminate()
            self._current.communicate()

    def seconds(self) -> float:
        return _processor_seconds(self._current.pid)

    def close(self) -> None:
        for process in (self._current, self._next):
            process.kill()
            process.communicate()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", READER, self._address], stdin=subprocess.PIPE)


class Tab(Viewer):
    """A tab of a browser."""

    def __init__(self, browser: Browser, address: str) -> None:
        super().__init__(browser.pid)
        self._browser = browser
        browser.open(address)
        browser.call("Network.disable")  # it would report each event

    def watch(self, on: bool) -> None:
        self._browser.run(TAB % json.dumps(not on))

    def drawn(self) -> int:
        return int(self._browser.run("miniganLive.drawn"))


class Timer:
    """Asks for the end of a training after one block; begins to count once it has settled."""

    def __init__(self, seconds: float, state: Any, count: Callable[[], tuple[float, ...]]) -> None:
        self._seconds, self._state, self._count = seconds, state, count
        self._settled = time.perf_counter() + SETTLE
        self._before: tuple[float, ...] | None = None
        self.block: Block | None = None

    @property
    def requested(self) -> bool:
        """Whether the block is over."""
        now = time.perf_counter()
        if now < self._settled or self.block is not None:
            return self.block is not None
        if self._before is None:  # what it costs to count is in no block
            counts = self._count()
            self._before = self._clocks() + counts
        elif now >= self._before[0] + self._seconds:
            after = self._clocks() + self._count()
            seconds, *gained = [late - early for late, early in zip(after, self._before, strict=True)]
            steps, own, everybody, theirs, *rest = (gain / seconds for gain in gained)
            self.block = Block(steps, own, theirs, max(everybody - own - theirs, 0.0), *rest)
        return self.block is not None

    def _clocks(self) -> tuple[float, ...]:
        return time.perf_counter(), self._state.step, time.process_time(), _busy_seconds()

    @contextmanager
    def held_back(self) -> Iterator[None]:  # as an interruption has it
        yield


def pairs(
    options: argparse.Namespace, kinds: tuple[str, str], block: Callable[[str], Block]
) -> list[tuple[Block, Block]]:
    """Neighboring blocks of two kinds, in the order a-b-b-a: those beside which other programs did least."""
    found: list[tuple[Block, Block]] = []
    for kind in kinds:
        block(kind)  # compiles
    end, number = time.monotonic() + options.patience, 0
    while number < options.rounds or (_disturbed(found, options.rounds) and time.monotonic() < end):
        first, second = kinds if number % 2 == 0 else kinds[::-1]
        done = {first: block(first), second: block(second)}
        found.append((done[kinds[0]], done[kinds[1]]))
        number += 1
    return sorted(found, key=_by_others)[: options.rounds]


def _by_others(pair: tuple[Block, Block]) -> float:
    return max(block.others for block in pair)


def _disturbed(found: list[tuple[Block, Block]], rounds: int) -> bool:
    """Whether there are fewer pairs than rounds beside which other programs did nearly nothing."""
    return sum(_by_others(pair) <= MOST_BY_OTHERS for pair in found) < rounds


def interval(values: list[float]) -> str:
    """The median, and an interval about it by the sign test."""
    ordered, count = sorted(values), len(values)
    rank, below = 0, 0.0
    while rank < (count + 1) // 2 and (below := below + math.comb(count, rank) / 2**count) <= (1 - LEVEL) / 2:
        rank += 1
    lowest = max(rank - 1, 0)
    return f"{statistics.median(values):.1%} ({ordered[lowest]:.1%} to {ordered[count - 1 - lowest]:.1%})"


# ---------------------------------------------------------------------------------------------------- the comparisons


def prepared_run(options: argparse.Namespace, folder: Path) -> PreparedRun:
    """A run of `minigan live`, that has not begun."""
    words = ["live", "--data", options.data, "--backend", options.backend, "--seed", "0"]
    return start_run(_config(command_line._parse(words)), folder)


def closed(options: argparse.Namespace, folder: Path) -> list[tuple[Block, Block]]:
    """`minigan train`'s loop, and a session that nobody watches."""
    plain, progress = prepared_run(options, folder / "plain"), silent()
    owner = plain.trainer.state.owner
    with ExitStack() as stack:
        stack.enter_context(owner or nullcontext())
        stack.enter_context(closing(plain.dataset))
        stack.enter_context(plain.trainer.state.loader)
        run = stack.enter_context(LiveRun(prepared_run(options, folder / "live"), progress))
        session, _ = stack.enter_context(served(run))

        def block(kind: str) -> Block:
            if kind == "closed":
                return session_block(session, run, Viewer(), options.seconds)
            timer: Any = Timer(options.seconds, plain.trainer.state, lambda: (0, 0, 0, 0))
            plain.trainer.run(progress, timer)
            return timer.block

        return pairs(options, ("train", "closed"), block)


def watching(kind: str, options: argparse.Namespace, folder: Path) -> list[tuple[Block, Block]]:
    """A session that nobody watches, and the same with a viewer."""
    with ExitStack() as stack:
        run = stack.enter_context(LiveRun(prepared_run(options, folder / "live"), silent()))
        session, address = stack.enter_context(served(run))
        if kind == "page":
            browser = stack.enter_context(closing(Browser(folder / "profile", program=options.browser)))
            viewer: Viewer = Tab(browser, address)
            viewer.watch(False)
        else:
            viewer = stack.enter_context(closing(Reader(address)))

        def block(which: str) -> Block:
            if which != kind:
                return session_block(session, run, viewer, options.seconds)
            viewer.watch(True)
            try:
                return session_block(session, run, viewer, options.seconds)
            finally:
                viewer.watch(False)

        return pairs(options, ("closed", kind), block)


def session_block(session: Watched, run: LiveRun, viewer: Viewer, seconds: float) -> Block:
    """A block of a session."""
    timer: Any = Timer(seconds, run.state, lambda: (viewer.seconds(), session.making, session.sent, viewer.drawn()))
    session.run(timer)
    return timer.block


@contextmanager
def served(run: LiveRun) -> Iterator[tuple[Watched, str]]:
    """A session that plays, and the address of its page."""
    session = Watched([run], Unending(), say=print)
    with closing(LiveServer(live_page())) as server, server.serving(session):
        session.submit(Command("play", {}))
        yield session, server.address


class Unending(Hub):
    """Pages that are not told of the end of a block."""

    def send(self, kind: str, *rest: Any, **more: Any) -> None:
        if kind != "end":
            super().send(kind, *rest, **more)


def silent() -> Any:
    """A progress that shows nothing."""
    return open_progress(start=0, total=1, output=Output(quiet=True))


def _busy_seconds() -> float:
    """Processor time of all programs; 0 where the system does not tell (Linux does)."""
    try:
        words = Path("/proc/stat").read_text().split(None, 9)
    except OSError:
        return 0.0
    user, nice, system, _, _, interrupts, soft = map(int, words[1:8])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def _processor_seconds(process: int) -> float:
    """Processor time of a process and those that it has started."""
    parents, times = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)], times[int(folder.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    family, size = {process}, 0
    while len(family) > size:
        size = len(family)
        family |= {child for child, parent in parents.items() if parent in family}
    return sum(times.get(one, 0) for one in family) / os.sysconf("SC_CLK_TCK")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ring", help="as for minigan live (default ring)")
    parser.add_argument("--backend", choices=command.HOST, default="cpu", help="default cpu")
    parser.add_argument("--rounds", type=command.count, default=10, help="pairs of blocks (default 10)")
    parser.add_argument("--seconds", type=command.duration, default=0.6, help="length of a block (default 0.6)")
    parser.add_argument("--patience", type=command.duration, default=30.0, help="seconds for pairs again (default 30)")
    parser.add_argument("--only", choices=("closed", "stream", "page"), action="append", help="repeat for several")
    parser.add_argument("--browser", metavar="PROGRAM", default=BROWSER, help="of the Chromium family")
    options = parser.parse_args(arguments)
    backend = get_backend(options.backend)
    backend.compile_ahead()
    show(describe(backend))
    print(
        f"{'':8}{'steps/s':>9}{'against':>9}{'slower by (95 %)':>26}{'more work (95 %)':>26}"
        f"{'own':>8}{'theirs':>8}{'others':>8}{'frames':>8}{'sent/s':>8}{'drawn/s':>9}"
    )
    for kind in options.only or ("closed", "stream", *(["page"] if options.browser else [])):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # a browser may still write
            folder = Path(scratch)
            found = closed(options, folder) if kind == "closed" else watching(kind, options, folder)
        print(line(kind, found), flush=True)


def line(kind: str, found: list[tuple[Block, Block]]) -> str:
    """A comparison in figures: medians of the blocks."""
    before, after = (Block(*map(statistics.median, zip(*side, strict=True))) for side in zip(*found, strict=True))
    slower = interval([1 - second.speed / first.speed for first, second in found])
    more = interval([second.own / second.speed * first.speed / first.own - 1 for first, second in found])
    shares = f"{after.own:>8.2f}{after.theirs:>8.2f}{after.others:>8.2f}{after.making:>8.1%}"
    frames = f"{after.sent:>8.1f}{after.drawn:>9.1f}"
    return f"{kind:8}{after.speed:>9,.0f}{before.speed:>9,.0f}{slower:>26}{more:>26}{shares}{frames}"


if __name__ == "__main__":
    main()
