"""Films that `minigan sample --walk` writes: pictures on a path from seed to seed."""

import argparse
from pathlib import Path

import numpy as np

from minigan.cli.noise_samples import chosen_seeds
from minigan.data.film_files import encode_film, expect_film_name, film_loss
from minigan.errors import ConfigError
from minigan.latent import walk_length
from minigan.runs import TrainedGenerator
from minigan.runs.film import MOST_BYTES
from minigan.support.durable_files import atomic_write
from minigan.support.output import Output
from minigan.training.exhibit import render

__all__ = ["walk"]

SEEDS = 6


def walk(trained: TrainedGenerator, options: argparse.Namespace) -> int:
    """Writes a film of a walk through seeds, within a class, or from class to class."""
    options.out = options.out or Path("walk.png")
    expect_film_name(options.out)
    label = [trained.label(name) for name in options.classes] if options.classes else options.label
    usual = len(label) if isinstance(label, list) else SEEDS
    seeds = chosen_seeds(options, usual=1 if options.classes else SEEDS)
    points = usual if len(seeds) == 1 else len(seeds)
    loop = not options.no_loop
    one = trained.sample(seeds=seeds[:1], label=label[:1] if isinstance(label, list) else label)
    _expect_modest(render(one, extent=trained.extent), walk_length(points, frames=options.walk, loop=loop))
    seeds = list(seeds)
    samples = trained.walk(options.walk, seeds=seeds, label=label, truncation=options.truncation, loop=loop)
    frames = [render(samples[k : k + 1], extent=trained.extent) for k in range(len(samples))]
    atomic_write(options.out, encode_film(frames, options.out, rest=not loop))
    out = Output.of(options)
    if line := film_loss(options.out, frames):
        out.note(line)
    ways = [("seeds", seeds if len(seeds) > 1 else ()), ("classes", options.classes or ())]
    way = ", ".join(f"{name} {', '.join(map(str, places))}" for name, places in ways if places)
    back = " and back" if loop else ""
    out.show(f"{len(frames)} pictures through {way}{back}, {trained.recipe.name} at step {trained.step}: {options.out}")
    where = {"seeds": seeds, "classes": label, "pictures": len(frames), "out": str(options.out)}
    out.record({**trained.describe(), "truncation": options.truncation, **where})
    return 0


def _expect_modest(frame: np.ndarray, count: int) -> None:
    """Refuses more pictures than a film is made of.

    Raises:
        ConfigError: they would take too much memory.
    """
    most = MOST_BYTES // frame.nbytes
    if count > most:
        raise ConfigError(
            f"a walk has at most {most:,} pictures of this size, got {count:,}. Use a smaller `frames`, or fewer seeds."
        )
