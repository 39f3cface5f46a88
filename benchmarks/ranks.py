"""Training on several processes of this machine: images/s, the parts of a step, and what they let expect of many hosts.

    python -m benchmarks.ranks --model dcgan64 --batch-size 64 --ranks 1 2 4 --threads 2

The first row is one process without `mpiexec`; the others share the same batch, and as many threads in all. All of them
are started at once and measured in turns, while the others wait. A step's parts are the exchanges of gradients, those
of BatchNorm's statistics, each with the time in which a rank waits for the others, and the rest.

The second table is a model, not a measurement: hosts of this machine's speed, with a batch of their own each, on
networks of a given latency and bandwidth. An exchange among N hosts goes up and down a tree, 2 log2(N) messages; one of
gradients moves them twice. Every host draws the random numbers of all. Nothing overlaps with anything.
"""

import argparse
import contextlib
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import command, environment
from minigan.backends import get_backend
from minigan.cli.measurements import MODELS, random_images, training_step
from minigan.distributed import find_ranks

LARGE = 1 << 16  # bytes: an exchange of gradients, not of statistics
PARTS = ("gradients", "statistics")


class Network(NamedTuple):
    """A network between hosts: seconds from host to host, and bytes a second."""

    latency: float
    bandwidth: float


NETWORKS = {
    "25 Gb Ethernet": Network(25e-6, 3.1e9),
    "100 Gb InfiniBand": Network(2e-6, 12e9),
    "8x400 Gb InfiniBand": Network(2e-6, 390e9),
}


class Figures(NamedTuple):
    """Seconds and bytes of one row in a turn, or medians of all turns.

    Attributes:
        step: seconds of a whole step.
        gradients, statistics: those spent in exchanges of either kind, on the first rank.
        counts, moved: exchanges of either kind in a step, and their bytes.
        memory: bytes of the largest rank.
    """

    step: float
    gradients: float
    statistics: float
    counts: tuple[int, int]
    moved: tuple[int, int]
    memory: int


# ---------------------------------------------------------------------------------------- a rank


class Exchanges:
    """Times the exchanges of a process with others."""

    def __init__(self, ranks: Any) -> None:
        self.clear()
        if ranks.size > 1:
            ranks.sum = partial(self._timed, ranks.sum)

    def clear(self) -> None:
        self.seconds, self.counts, self.moved = [0.0, 0.0], [0, 0], [0, 0]

    def _timed(self, function: Any, array: Any) -> Any:
        nbytes = np.asarray(array).nbytes
        kind = 0 if nbytes >= LARGE else 1
        began = time.perf_counter()
        result = function(array)
        self.seconds[kind] += time.perf_counter() - began
        self.counts[kind] += 1
        self.moved[kind] += nbytes
        return result


def work(options: argparse.Namespace) -> None:
    """One rank: a turn for each line on the first rank's standard input."""
    ranks = find_ranks()
    backend = get_backend(options.backend)
    backend.ranks = ranks
    ranks.deal(options.batch_size)
    images, step = ranks.own(random_images(options.model, options.batch_size)), training_step(options.model, backend)
    exchanges = Exchanges(ranks)
    began = time.perf_counter()
    for turn in range(3):  # the first compiles
        if turn == 2:
            ranks.barrier()
            began = time.perf_counter()
        step(images)
    steps = ranks.from_first(max(1, round(options.seconds / (time.perf_counter() - began))))
    if ranks.is_first:
        print("ready", flush=True)
    while ranks.from_first(bool(sys.stdin.readline()) if ranks.is_first else None):
        step(images)
        exchanges.clear()
        ranks.barrier()
        began = time.perf_counter()
        for _ in range(steps):
            step(images)
        seconds = (time.perf_counter() - began) / steps
        memory = max(ranks.gather(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
        if ranks.is_first:
            found = Figures(
                seconds,
                *(part / steps for part in exchanges.seconds),
                counts=tuple(n // steps for n in exchanges.counts),
                moved=tuple(n // steps for n in exchanges.moved),
                memory=memory,
            )
            print(json.dumps(found), flush=True)


# ---------------------------------------------------------------------------------------- all rows


class Row:
    """A number of ranks with their threads, as a program that waits for its turns."""

    def __init__(self, ranks: int, threads: int, options: argparse.Namespace) -> None:
        self.ranks, self.threads = ranks, threads
        self.turns: list[Figures] = []
        line = [sys.executable, "-m", "benchmarks.ranks", "--work", "--model", options.model]
        line += ["--batch-size", str(options.batch_size), "--backend", options.backend]
        line += ["--seconds", str(options.seconds)]
        launcher = [str(Path(sys.executable).with_name("mpiexec")), "-n", str(ranks)] if ranks else []
        counts = dict.fromkeys(("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        self.process = subprocess.Popen(
            launcher + line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **counts}
        )
        self._read()

    @property
    def name(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        if not self.ranks:
            return f"one process of {threads}"
        return f"{self.ranks} rank{'s' * (self.ranks > 1)} of {threads}"

    def turn(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.turns.append(Figures(*json.loads(self._read())))

    def figures(self) -> Figures:
        """Medians of all turns."""
        last = self.turns[-1]
        seconds = [statistics.median(turn[n] for turn in self.turns) for n in range(3)]
        return Figures(*seconds, last.counts, last.moved, last.memory)

    def end(self) -> None:
        self.process.communicate(timeout=60)  # without a next turn it ends

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} has ended with {self.process.wait()}")
        return line


@contextlib.contextmanager
def rows(options: argparse.Namespace) -> Iterator[list[Row]]:
    """One process, then each number of ranks; all started."""
    started: list[Row] = []
    try:
        started += (Row(ranks, max(1, options.threads // max(1, ranks)), options) for ranks in (0, *options.ranks))
        yield started
    finally:
        for row in started:
            row.end()


def table(measured: Mapping[str, Figures], batch_size: int) -> Iterator[str]:
    """The rows of the first table; the speed is also that over the first row's."""
    first = next(iter(measured.values()))
    yield f"{'':28}{'images/s':>9}{'ratio':>7}{'ms/step':>9}{'gradients':>10}{'statistics':>11}{'rest':>8}{'MiB':>7}"
    for name, found in measured.items():
        rest = found.step - found.gradients - found.statistics
        yield (
            f"{name:28}{batch_size / found.step:9.1f}{first.step / found.step:7.3f}{1e3 * found.step:9.2f}"
            f"{1e3 * found.gradients:10.2f}{1e3 * found.statistics:11.2f}{1e3 * rest:8.2f}{found.memory / 2**20:7.0f}"
        )


# ---------------------------------------------------------------------------------------- many hosts


class Work(NamedTuple):
    """A host's part of a step.

    Attributes:
        step: seconds that it computes.
        images: of its part of the batch.
        numbers: random numbers for an image.
        drawing: seconds for one of them.
        counts, moved: exchanges of gradients and of statistics in a step, and their bytes.
    """

    step: float
    images: int
    numbers: int
    drawing: float
    counts: tuple[int, int]
    moved: tuple[int, int]


def predicted(work: Work, hosts: int, network: Network) -> tuple[float, float, float]:
    """Seconds of a step of so many hosts: exchanges, drawing what the others need, and all."""
    messages = 2 * math.ceil(math.log2(hosts)) if hosts > 1 else 0
    exchanges = sum(work.counts) * messages * network.latency
    exchanges += 2 * (1 - 1 / hosts) * sum(work.moved) / network.bandwidth
    drawing = (hosts - 1) * work.images * work.numbers * work.drawing
    return exchanges, drawing, work.step + exchanges + drawing


def model_table(work: Work, hosts: Sequence[int]) -> Iterator[str]:
    """The rows of the second table."""
    yield f"{'':22}{'hosts':>6}{'exchanges':>11}{'drawing':>9}{'ms/step':>9}{'efficiency':>12}{'images/s':>11}"
    for name, network in NETWORKS.items():
        for count in hosts:
            exchanges, drawing, step = predicted(work, count, network)
            speed = count * work.images / step
            yield (
                f"{name:22}{count:6}{1e3 * exchanges:11.2f}{1e3 * drawing:9.2f}{1e3 * step:9.1f}"
                f"{work.step / step:12.1%}{speed:11,.0f}"
            )


def seconds_a_number() -> float:
    """Seconds in which NumPy draws a normal number."""
    rng, count = np.random.default_rng(0), 200_000
    began = time.perf_counter()
    rng.standard_normal(count, dtype=np.float32)
    return (time.perf_counter() - began) / count


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="dcgan64")
    parser.add_argument("--batch-size", type=command.count, default=64, help="of all ranks together (default 64)")
    parser.add_argument("--backend", choices=command.HOST, default="cpu", help="default cpu")
    parser.add_argument("--ranks", type=command.count, nargs="+", default=[1, 2, 4], metavar="N")
    parser.add_argument("--threads", type=command.count, default=2, help="of all ranks together (default 2)")
    parser.add_argument("--hosts", type=command.count, nargs="*", default=[64, 1024], metavar="N", help="of the model")
    parser.add_argument("--rounds", type=command.count, default=5, help="medians of so many turns (default 5)")
    parser.add_argument("--seconds", type=command.duration, default=1.0, help="about, of each turn (default 1)")
    parser.add_argument("--json", metavar="FILE", help="the figures and what they were measured with")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        work(options)
        return
    setting = environment.describe(get_backend(options.backend))
    environment.show(setting)
    with rows(options) as started:
        for _ in range(options.rounds):
            for row in started:
                row.turn()
        measured = {row.name: row.figures() for row in started}
    print("\n".join(table(measured, options.batch_size)), flush=True)
    alone, shared = next(iter(measured.values())), list(measured.values())[-1]
    recipe = MODELS[options.model].recipe
    part = Work(
        alone.step, options.batch_size, int(recipe.settings().get("latent", 0)), seconds_a_number(), shared.counts,
        shared.moved,
    )  # fmt: skip
    if options.hosts:
        print(f"\na model: {options.batch_size} images on each host, {1e3 * part.step:.1f} ms to compute them")
        print("\n".join(model_table(part, options.hosts)), flush=True)
    command.write_json(
        options.json,
        {
            "setting": setting,
            "batch_size": options.batch_size,
            "rows": {name: found._asdict() for name, found in measured.items()},
            "host": part._asdict(),
        },
    )


if __name__ == "__main__":
    main()
