"""Quality of generated digits: how much does each of dcgan's differences from the paper help, alone and together?

    python -m benchmarks.digits --only paper default --seeds 0 1 2 --json digits.json

Each variant of the recipe `dcgan` is trained as `minigan train` does and measured as `minigan evaluate` does. `--data`
takes other labeled images, such as Fashion-MNIST. The figures stand in docs/digits.md.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import minigan
from benchmarks import command, environment
from minigan.backends import get_backend
from minigan.cli.evaluate import evaluate_run

FIGURES = ("fid", "precision", "recall", "coverage")
PAPER: Mapping[str, Any] = {"preset": "paper"}
TOLD: Mapping[str, Any] = {"condition": "concatenation"}
UNTOLD: Mapping[str, Any] = {"condition": "none"}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "paper": PAPER,
    "ema": {**PAPER, "ema": 0.998},
    "rate": {**PAPER, "ema": 0.998, "lr": 4e-4},
    "mapping": {**PAPER, "mapping": 128},
    "head": {**PAPER, "head": 128},
    "layers": {**PAPER, "mapping": 128, "head": 128},
    "classes": {**PAPER, **TOLD},
    "width": {**PAPER, "width": 16},  # the default's at 28x28
    "untold": UNTOLD,  # the default on data without classes
    "default": {},
    "projection": {"condition": "projection"},
}


class Trained(NamedTuple):
    """One training and its figures."""

    variant: str
    seed: int
    steps: int
    seconds: float  # of training alone
    figures: dict[str, float]


def train(variant: str, seed: int, options: argparse.Namespace) -> Trained:
    """Trains and measures one variant, in a folder that is removed."""
    settings = dict(VARIANTS[variant])
    if options.steps:
        settings["steps"] = options.steps
    if options.width:
        settings["width"] = options.width
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        began = time.monotonic()
        run = minigan.train(
            "dcgan", data=options.data, seed=seed, backend=options.backend, out=out, quiet=True, **settings
        )
        seconds = time.monotonic() - began
        report = evaluate_run(out, count=options.count, backend=options.backend, say=ignore, note=ignore).report
        return Trained(variant, seed, run.steps, seconds, {name: report.value(name) for name in FIGURES})


def ignore(line: str) -> None:
    """Shows nothing."""


def row(trained: Sequence[Trained]) -> str:
    """A line on the trainings of one variant: means, and where there are several the largest distance from them."""
    cells = []
    for name in FIGURES:
        values = [each.figures[name] for each in trained]
        mean = statistics.mean(values)
        spread = f" ±{max(abs(value - mean) for value in values):.2f}" if len(values) > 1 else ""
        cells.append(f"{mean:.2f}{spread}")
    seconds = statistics.mean(each.seconds for each in trained)
    return f"{trained[0].variant:12}{trained[0].steps:6,}{seconds:9.0f} s" + "".join(f"{cell:>14}" for cell in cells)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="(default: all)")
    parser.add_argument("--data", default="digits", help="source of labeled images (default digits)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=command.count, help="(default: the variant's own)")
    parser.add_argument("--width", type=command.count, help="(default: the recipe's)")
    parser.add_argument("--count", type=command.count, default=10_000, help="samples to measure (default 10,000)")
    parser.add_argument("--backend", choices=command.HOST, default="cpu")
    parser.add_argument("--json", metavar="FILE", help="the figures and what they were made with")
    options = parser.parse_args(arguments)
    setting = environment.describe(get_backend(options.backend))
    environment.show(setting)
    print(f"{'':12}{'steps':>6}{'time':>11}" + "".join(f"{name:>14}" for name in FIGURES), flush=True)
    found: list[Trained] = []
    for variant in options.only:
        found += [train(variant, seed, options) for seed in options.seeds]
        print(row(found[-len(options.seeds) :]), flush=True)
        runs = [{**each._asdict(), "settings": dict(VARIANTS[each.variant])} for each in found]
        command.write_json(options.json, {"setting": setting, "data": options.data, "runs": runs})


if __name__ == "__main__":
    main()
