"""The growth of a training step's cost with the batch and with the images: it should grow as the work does.

    python -m benchmarks.scaling --batch-size 32 64 128 256 --size 32 64 128 --peer torch --json result.json

The first table has images/s for each batch size. The second has DCGANs for larger and larger images, all with the same
batch, and their images/s, pixels/s and operations/s: a DCGAN for larger images has more layers, so that its operations
grow faster than its pixels. (Counted are those of one forward pass of G and of D for each image; a training step has
five or six times as many.) A row's spread is max / min - 1: 0.00 where the cost grows exactly as the work.

With an empty `--batch-size` or `--size` the table is left out.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from benchmarks import command, environment
from benchmarks.train_step import peer_steps
from minigan.cli.measurements import MODELS, Step, measure, medians, random_images, training_step

DCGANS = {shape[0]: name for name, (_, shape) in MODELS.items() if name.startswith("dcgan")}


class Point(NamedTuple):
    """One measurement: whose, of what."""

    engine: str
    model: str
    batch_size: int


def measured(options: argparse.Namespace, models: list[str], batch_sizes: list[int]) -> dict[Point, float]:
    """Images/s of all engines, models and batch sizes, all of them in turns."""
    calls = {}
    for model in models:
        steps: dict[str, Step] = {f"minigan {options.backend.name}": training_step(model, options.backend)}
        if options.peer:
            steps |= peer_steps(MODELS[model], random_images(model, max(batch_sizes)), bf16=False, eager=True)
        for n in batch_sizes:
            images = random_images(model, n)
            calls |= {Point(engine, model, n): partial(step, images) for engine, step in steps.items()}
    seconds = medians(measure(calls, rounds=options.rounds, seconds=options.seconds))
    return {point: point.batch_size / t for point, t in seconds.items()}


def operations(model: str) -> int:
    """Operations of G's and D's forward passes for one image."""
    recipe, shape = MODELS[model]
    G, D = recipe.generator(shape), recipe.discriminator(shape)
    G.setup((recipe.latent,), "G")
    D.setup(shape, "D")
    return G.flops + D.flops


def title(text: str, heads: Sequence[int]) -> str:
    return f"{text:44}" + "".join(f"{head:10}" for head in heads) + f"{'spread':>9}"


def row(label: str, values: Sequence[float], *, spread: bool = True) -> str:
    digits = 0 if min(values) >= 100 else 1 if min(values) >= 10 else 2
    cells = "".join(f"{value:10,.{digits}f}" for value in values)
    return f"  {label:42}{cells}" + (f"{max(values) / min(values) - 1:9.2f}" if spread else "")


def batches(options: argparse.Namespace) -> dict[Point, float]:
    """The first table."""
    speeds = measured(options, [options.model], options.batch_size)
    print(title(f"{options.model}, images/s by batch size", options.batch_size))
    for engine in dict.fromkeys(point.engine for point in speeds):
        print(row(engine, [speeds[Point(engine, options.model, n)] for n in options.batch_size]))
    print(flush=True)
    return speeds


def sizes(options: argparse.Namespace) -> dict[Point, float]:
    """The second table."""
    n, models = options.fixed_batch, [DCGANS[size] for size in options.size]
    speeds = measured(options, models, [n])
    pixels = [1e-6 * size * size for size in options.size]
    flops = [1e-9 * operations(model) for model in models]
    print(title(f"dcgan at batch {n}, by image size", options.size))
    for engine in dict.fromkeys(point.engine for point in speeds):
        images = [speeds[Point(engine, model, n)] for model in models]
        print(row(f"{engine}, images/s", images, spread=False))
        print(row(f"{engine}, million pixels/s", [i * p for i, p in zip(images, pixels, strict=True)]))
        print(row(f"{engine}, GFLOP/s", [i * f for i, f in zip(images, flops, strict=True)]))
    print(flush=True)
    return speeds


def main(arguments: list[str] | None = None) -> None:
    parser = command.parser(__doc__, rounds=3, seconds=0.5)
    parser.add_argument("--model", choices=MODELS, default="dcgan64", help="of the first table (default dcgan64)")
    parser.add_argument("--batch-size", type=command.count, nargs="*", default=[32, 64, 128, 256], metavar="N")
    parser.add_argument("--size", type=int, nargs="*", choices=DCGANS, default=[32, 64, 128])
    parser.add_argument("--fixed-batch", type=command.count, default=16, help="of the second table (default 16)")
    options = command.parse(parser, arguments)
    setting = environment.describe(options.backend, options.peer)
    environment.show(setting)
    speeds = (batches(options) if options.batch_size else {}) | (sizes(options) if options.size else {})
    rows = [{**point._asdict(), "images_per_second": speed} for point, speed in speeds.items()]
    command.write_json(options.json, {"setting": setting, "training_steps": rows})


if __name__ == "__main__":
    main()
