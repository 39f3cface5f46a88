"""Quality of the modern systems' small presets beside dcgan's default, at equal time and at equal images.

    python -m benchmarks.modern --data digits --seconds 3600 --json modern.json
    python -m benchmarks.modern --data path/to/cifar10.zip --seconds 3600 --only r3gan dcgan

A short training of each tells the time of a step, and so the number of steps that fit into `--seconds`. Each is trained
for that number, at 32x32 pixels, and measured as `minigan evaluate` does. `dcgan`, which sees the most images in that
time, is trained once more for the images of the slowest. The figures stand in docs/modern.md.

On a machine that does other things as well, `--pilot-only` on a quiet one tells the numbers of steps, and `--steps`
takes them: what is trained does not depend on the time that it takes.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import minigan
from benchmarks import command, environment
from minigan.backends import get_backend
from minigan.cli.evaluate import evaluate_run
from minigan.training.listeners.base import Listener, Step

FIGURES = ("fid", "precision", "recall", "coverage")
SYSTEMS: Mapping[str, Mapping[str, Any]] = {
    "r3gan": {"preset": "small"},
    "stylegan2": {"preset": "small"},
    "dcgan": {"size": 32},
}
REFERENCE = "dcgan"
COMPILED = 20  # steps before the clock starts


class Trained(NamedTuple):
    """One training and its figures."""

    system: str
    steps: int
    images: int
    seconds: float  # of training alone
    figures: dict[str, float]


class Clock(Listener):
    """When each step was done, in seconds."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step(self, step: Step) -> None:  # noqa: ARG002
        self.times.append(time.monotonic())


def step_time(system: str, options: argparse.Namespace) -> float:
    """Mean seconds of a step."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        steps = COMPILED + options.pilot
        run_training(system, steps, Path(folder) / "run", options, listeners=[clock])
    later = clock.times[COMPILED - 1 :]
    return (later[-1] - later[0]) / options.pilot  # a mean, as lazy penalties make some steps longer


def planned(options: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, int]:
    """Number of steps of each system."""
    if options.steps:
        if len(options.steps) != len(options.only):
            parser.error(f"--steps: expected {len(options.only)} numbers, for {', '.join(options.only)}")
        return dict(zip(options.only, options.steps, strict=True))
    plans: dict[str, int] = {}
    for system in options.only:
        seconds = step_time(system, options)
        plans[system] = max(1, round(options.seconds / seconds))
        print(f"{system}: {seconds * 1000:.1f} ms a step, {plans[system]:,} steps in {options.seconds:g} s", flush=True)
    return plans


def run_training(
    system: str, steps: int, out: Path, options: argparse.Namespace, *, listeners: Sequence[Listener] = ()
) -> int:
    """Trains; returns the number of images in a step."""
    settings = {**SYSTEMS[system], "steps": steps}
    shared = {"seed": options.seed, "backend": options.backend, "out": out, "quiet": True}
    run = minigan.train(system, data=options.data, listeners=list(listeners), **shared, **settings)
    recipe = run.generator.recipe
    return recipe.batch_size * recipe.accumulate


def train(system: str, steps: int, options: argparse.Namespace) -> Trained:
    """Trains and measures one, in a folder that is removed unless `--keep` names one."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(options.keep or folder) / f"{system}-{steps}"
        clock = Clock()
        batch = run_training(system, steps, out, options, listeners=[clock])
        seconds = clock.times[-1] - clock.times[0]
        report = evaluate_run(out, count=options.count, backend=options.backend, say=ignore, note=ignore).report
        return Trained(system, steps, steps * batch, seconds, {name: report.value(name) for name in FIGURES})


def ignore(line: str) -> None:
    """Shows nothing."""


def row(each: Trained) -> str:
    """A line on one training."""
    figures = "".join(f"{each.figures[name]:12.2f}" for name in FIGURES)
    return f"{each.system:12}{each.steps:8,}{each.images:11,}{each.seconds:9.0f} s{figures}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="(default: all)")
    parser.add_argument("--data", default="digits", help="source of images (default digits)")
    parser.add_argument("--seconds", type=float, default=3600.0, help="of training for each (default an hour)")
    parser.add_argument("--steps", type=command.count, nargs="+", help="for each of --only, in place of --seconds")
    parser.add_argument("--pilot-only", action="store_true", help="only tell the numbers of steps")
    parser.add_argument("--pilot", type=command.count, default=64, help="steps that tell the time (default 64)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=command.count, default=10_000, help="samples to measure (default 10,000)")
    parser.add_argument("--keep", metavar="FOLDER", help="where to leave the run folders")
    parser.add_argument("--backend", choices=command.HOST, default="cpu")
    parser.add_argument("--json", metavar="FILE", help="the figures and what they were made with")
    options = parser.parse_args(arguments)
    setting = environment.describe(get_backend(options.backend))
    environment.show(setting)
    plans = planned(options, parser)
    if options.pilot_only:
        return
    print(f"{'':12}{'steps':>8}{'images':>11}{'time':>11}" + "".join(f"{name:>12}" for name in FIGURES), flush=True)
    found: list[Trained] = []

    def add(system: str, steps: int) -> None:
        found.append(train(system, steps, options))
        print(row(found[-1]), flush=True)
        command.write_json(
            options.json, {"setting": setting, "data": options.data, "runs": [each._asdict() for each in found]}
        )

    for system, steps in plans.items():
        add(system, steps)
    fewest = min(each.images for each in found)
    for each in [each for each in found if each.system == REFERENCE and each.images > fewest]:
        add(REFERENCE, max(1, fewest * each.steps // each.images))


if __name__ == "__main__":
    main()
