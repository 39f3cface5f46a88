"""Making of the trained generators that come with minigan: digits, fashion and ring.

    python -m benchmarks.pretrained --only digits ring --out minigan/runs/pretrained
    python -m benchmarks.pretrained --only fashion --fashion path/to/fashion-mnist --out minigan/runs/pretrained

Each is trained from the seed that is written here, stored in fewer bits, and measured twice: as it was trained, and as
it is stored. With the same backend, version and number of threads the files come out the same bit for bit.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import minigan
from benchmarks import command, environment
from minigan.backends import get_backend
from minigan.cli.evaluate import evaluate_run
from minigan.evaluation import Report

FIGURES = ("fid", "precision", "recall", "coverage", "modes", "high_quality")


class Maker(NamedTuple):
    """Everything that makes one of the generators."""

    recipe: str
    data: str  # "" is the argument --fashion
    settings: Mapping[str, Any]
    stored: Literal["float16", "int8"]


MAKERS: Mapping[str, Maker] = {
    "digits": Maker("dcgan", "digits", {"width": 16, "mapping": 64, "steps": 4000}, "int8"),
    "fashion": Maker("dcgan", "", {"width": 16, "mapping": 64, "steps": 4000}, "int8"),
    "ring": Maker(
        "mlp",
        "ring",
        {"loss": "non-saturating", "mse_weight": 0, "lr": 1e-3, "instance_noise": 0, "latent": 16, "hidden": 64}
        | {"steps": 20000, "ema": 0.999},
        "float16",
    ),
}


def make(name: str, data: str, options: argparse.Namespace) -> tuple[Report, Report]:
    """Trains one and writes it; returns the figures of the trained and of the stored one."""
    maker = MAKERS[name]
    settings = {**maker.settings, **({"steps": options.steps} if options.steps else {})}
    file = options.out / f"{name}.safetensors"
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        engine = {"backend": options.backend, "precision": options.precision}
        trained = minigan.train(
            maker.recipe, data=data, seed=options.seed, out=run, quiet=True, **engine, **settings
        ).generator
        kept = {"step": trained.step, "extent": trained.extent, "classes": list(trained.classes)}
        minigan.save_generator(file, trained.G, trained.recipe, stored=maker.stored, **kept)
        return tuple(  # type: ignore[return-value]
            evaluate_run(path, data=data, count=options.count, backend=options.backend, say=ignore, note=ignore).report
            for path in (run, file)
        )


def ignore(line: str) -> None:
    """Shows nothing."""


def figures(report: Report) -> dict[str, float]:
    """The figures named in FIGURES that the report has."""
    return {figure.name: figure.value for figure in report.figures if figure.name in FIGURES}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=MAKERS, default=list(MAKERS), help="(default: all)")
    parser.add_argument("--out", type=Path, default=Path("pretrained"), help="folder to write to (default pretrained)")
    parser.add_argument("--fashion", metavar="SOURCE", help="where Fashion-MNIST is")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=command.count, help="(default: each one's own)")
    parser.add_argument("--count", type=command.count, help="samples to measure (default: as minigan evaluate)")
    parser.add_argument("--backend", choices=command.HOST, default="cpu")
    command.add_precision(parser)
    parser.add_argument("--json", metavar="FILE", help="the figures and what they were made with")
    options = parser.parse_args(arguments)
    if "fashion" in options.only and not options.fashion:
        parser.error("fashion needs --fashion SOURCE, or choose others with --only")
    options.out.mkdir(parents=True, exist_ok=True)
    setting = environment.describe(get_backend(options.backend))
    environment.show(setting)
    found = {}
    for name in options.only:
        before, after = (figures(report) for report in make(name, MAKERS[name].data or options.fashion, options))
        size = (options.out / f"{name}.safetensors").stat().st_size
        shown = ", ".join(f"{figure} {before[figure]:.4g} -> {after[figure]:.4g}" for figure in before)
        print(f"{name}: {size / 1e6:.2f} MB as {MAKERS[name].stored}; {shown}", flush=True)
        found[name] = {"bytes": size, "trained": before, "stored": after}
        command.write_json(options.json, {"setting": setting, "generators": found})


if __name__ == "__main__":
    main()
