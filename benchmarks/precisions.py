"""Training curves in bf16 next to float32's: is their distance that of two precisions, or that of two seeds?

    python -m benchmarks.precisions --recipe dcgan --recipe wgan-gp --steps 1000 --figure docs/precision-curves.svg

Each recipe is trained on the embedded digits three times: in fp32 and in --precision from the same seed, and in fp32
from another seed. GANs are chaotic: after some steps the last bits of a float decide which images are drawn, so that
one seed in two precisions is two games. The distance of two seeds is the measure of what is normal. For each value the
table has its mean over the last 200 steps of each training, and the distance of the smoothed curves.

Trainings are kept in --out. The same command reads those that are done, and goes on with one that was interrupted.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minigan
from benchmarks import command, environment
from benchmarks.curves_figure import figure
from minigan.backends import BACKENDS, get_backend
from minigan.backends.precision import PRECISIONS
from minigan.errors import MiniganError
from minigan.inspection.history import Curve, History, read_history
from minigan.inspection.plot import running_mean
from minigan.recipes import DCGAN
from minigan.runs.config import RunConfig

RECIPES: Mapping[str, DCGAN] = {
    "dcgan": DCGAN.from_settings({"preset": "paper"}),
    "wgan-gp": DCGAN.from_settings({"preset": "wgan-gp", "width": 32}),  # a step has five updates of D
}
EXACT = "fp32"
LAST = 200  # steps, of the means
AROUND = 25  # steps before and after each, of the smoothed curves


class Job(NamedTuple):
    """One training."""

    recipe: str
    precision: str
    seed: int

    def __str__(self) -> str:
        return f"{self.recipe}, {self.precision}, seed {self.seed}"

    @property
    def folder(self) -> str:
        """The name of its run folder."""
        return f"{self.recipe}-{self.precision}-seed{self.seed}"


class Distance(NamedTuple):
    """The distance of two curves: its mean over the steps, and the largest."""

    mean: float
    largest: float

    @classmethod
    def of(cls, one: Curve, other: Curve) -> "Distance":
        """The distance of curves that have the same steps."""
        apart = np.abs(one.values - other.values)
        return cls(float(apart.mean()), float(apart.max()))

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.largest:.3f})"


class Value(NamedTuple):
    """One value of a recipe's trainings: in float32, in the other precision, and in float32 from the other seed.

    Attributes:
        curves: as they are drawn and compared, smoothed if there is one for each step.
        means: over the last steps.
        apart, seeds: the distance of the second curve from the first, and that of the third.
    """

    name: str
    curves: tuple[Curve, Curve, Curve]
    means: tuple[float, float, float]
    apart: Distance
    seeds: Distance


# ------------------------------------------------------------------------------------------ training


def trained(job: Job, options: argparse.Namespace) -> History:
    """The history of a training, which is begun, resumed or only read."""
    folder, steps = Path(options.out) / job.folder, options.steps
    sizes = {"width": options.width, "batch_size": options.batch_size}
    recipe = RECIPES[job.recipe]
    settings = recipe.settings() | {name: size for name, size in sizes.items() if size}
    if (folder / "config.toml").exists():
        run = minigan.open_run(folder)
        expect_same(folder, run.config, job, settings)
        if run.step < steps:
            run.resume(steps=steps, quiet=True)
    else:
        every = {"log_every": 1, "evaluate_every": options.evaluate_every}
        asked = {"backend": options.backend, "precision": job.precision, "seed": job.seed}
        run = minigan.train(
            type(recipe), data="digits", out=folder, quiet=True, **asked, **every, **{**settings, "steps": steps}
        )
    if run.step < steps:
        sys.exit(f"{folder} has {run.step} of {steps} steps. The same command goes on from there.")
    return read_history(folder)


def expect_same(folder: Path, config: RunConfig, job: Job, settings: Mapping[str, Any]) -> None:
    """Ends the program if a folder holds another training than this one."""
    expected = {"precision": job.precision, "seed": job.seed, "data": "digits", "log_every": 1, **settings}
    own = {"precision": config.precision, "seed": config.seed, "data": config.data} | config.settings
    found = own | {"log_every": config.rhythm.log_every}
    for name, value in expected.items():
        if name != "steps" and found.get(name) != value:
            sys.exit(f"{folder}: expected {name} {value}, found {found.get(name)}. Name another --out.")


# ------------------------------------------------------------------------------------------ values


def logged(history: History) -> Iterator[tuple[str, np.ndarray]]:
    """The values of each step, by name."""
    given = {name: curve.values for name, curve in history.values.items()}
    if history.recipe.loss != "wasserstein":
        yield "D's loss", given["d_loss"]
        yield "G's loss", given["g_loss"]
        yield "D's verdict on real", given["d_real"]
        yield "D's verdict on fakes", given["d_fake"]
        return
    yield "D's loss, with the penalty", given["d_loss"] + given["d_penalty"]
    yield "G's loss", given["g_loss"]
    yield "critic's estimate of the distance", given["d_real"] - given["d_fake"]
    yield "slope's distance from 1, rms", np.sqrt(given["d_penalty"] / history.recipe.penalty_weight)


def compared(histories: Sequence[History], steps: int) -> Iterator[Value]:
    """All values of a recipe's three trainings, up to a step."""
    for all_three in zip(*(logged(history) for history in histories), strict=True):
        curves = [
            up_to(steps, Curve(history.values["d_loss"].steps, values))
            for history, (_, values) in zip(histories, all_three, strict=True)
        ]
        yield value(all_three[0][0], curves, [smoothed(curve) for curve in curves])
    if all("fid" in history.figures for history in histories):
        figures = [up_to(steps, history.figures["fid"]) for history in histories]
        yield value("Fréchet distance of samples", figures, figures)


def up_to(steps: int, curve: Curve) -> Curve:
    """The part of a curve that was asked for: a run may have been trained further."""
    count = np.searchsorted(curve.steps, steps, side="right")
    return Curve(curve.steps[:count], curve.values[:count])


def smoothed(curve: Curve) -> Curve:
    """The curve's running mean: of each value, and of those around it."""
    return Curve(curve.steps, running_mean(curve.values, AROUND))


def value(name: str, curves: Sequence[Curve], drawn: Sequence[Curve]) -> Value:
    """Means of curves as they were logged, and distances of them as they are drawn."""
    exact, other, seed = drawn
    means = [float(np.mean(curve.values[curve.steps > curve.steps[-1] - LAST])) for curve in curves]
    apart, seeds = Distance.of(exact, other), Distance.of(exact, seed)
    return Value(name, (exact, other, seed), (means[0], means[1], means[2]), apart, seeds)


def table(jobs: Sequence[Job], values: Sequence[Value]) -> Iterator[str]:
    """The lines on one recipe."""
    exact, other, seed = (f"{job.precision}, {job.seed}" for job in jobs)
    yield f"{jobs[0].recipe:34} {f'mean of the last {LAST} steps':>29}   {'distance: mean (largest)':>33}"
    yield f"{'precision, seed':34} {exact:>9} {other:>9} {seed:>9}   {'precisions':>16} {'seeds':>16}"
    for name, _, means, apart, seeds in values:
        yield f"{name:34} {' '.join(f'{mean:9.3f}' for mean in means)}   {apart!s:>16} {seeds!s:>16}"
    yield ""


# ------------------------------------------------------------------------------------------ the command


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, action="append", help="repeat for several (default all)")
    parser.add_argument("--steps", type=command.count, default=1000)
    others = [precision for precision in PRECISIONS if precision != EXACT]
    parser.add_argument("--precision", choices=others, default="bf16", help=f"next to {EXACT} (default bf16)")
    parser.add_argument("--seed", type=from_zero, default=0, help="the other seed is the next one (default 0)")
    parser.add_argument("--backend", choices=BACKENDS, default="cpu")
    parser.add_argument("--width", type=command.count, help="channels (default 64, and 32 for wgan-gp)")
    parser.add_argument("--batch-size", type=command.count, help="default the recipe's")
    parser.add_argument("--evaluate-every", type=from_zero, default=250, help="steps (default 250); 0 is never")
    parser.add_argument("--out", metavar="DIR", default="runs/precisions", help="of the runs (default runs/precisions)")
    parser.add_argument("--figure", metavar="FILE.svg", help="the curves")
    parser.add_argument("--json", metavar="FILE", help="the numbers and what they were measured with")
    options = parser.parse_args(arguments)
    try:
        setting = environment.describe(get_backend(options.backend, precision=options.precision))
    except MiniganError as error:
        parser.error(str(error))
    environment.show(setting)
    try:
        results = dict(measured(options))
    except MiniganError as error:
        sys.exit(str(error))
    rows = {
        name: [value._asdict() | {"curves": [curve.values.tolist() for curve in value.curves]} for value in values]
        for name, values in results.items()
    }
    command.write_json(options.json, {"setting": setting, "steps": options.steps, "values": rows})
    if options.figure:
        names = tuple(f"{job.precision}, seed {job.seed}" for job in jobs_of("", options))
        drawn = {recipe: [(value.name, value.curves) for value in values] for recipe, values in results.items()}
        Path(options.figure).write_text(figure(drawn, names), encoding="utf-8")


def from_zero(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {text!r}")
    return int(text)


def jobs_of(recipe: str, options: argparse.Namespace) -> tuple[Job, Job, Job]:
    """The three trainings of a recipe, in the order of a `Value`."""
    first = Job(recipe, EXACT, options.seed)
    return first, first._replace(precision=options.precision), first._replace(seed=options.seed + 1)


def measured(options: argparse.Namespace) -> Iterator[tuple[str, list[Value]]]:
    """Trains, and prints a table for each recipe."""
    for recipe in dict.fromkeys(options.recipe or RECIPES):
        jobs, histories = jobs_of(recipe, options), []
        for job in jobs:
            print(f"{job} ...", flush=True)
            began = time.monotonic()
            histories.append(trained(job, options))
            print(f"{job}: step {options.steps:,} after {time.monotonic() - began:.0f} s", flush=True)
        values = list(compared(histories, options.steps))
        print("\n".join(["", *table(jobs, values)]), flush=True)
        yield recipe, values


if __name__ == "__main__":
    main()
