"""The film of a training's pictures, which `minigan sample --film` writes."""

import argparse

from minigan.data.film_files import encode_film, expect_film_name, film_loss
from minigan.runs.film import film_of
from minigan.support.durable_files import atomic_write
from minigan.support.output import Output
from minigan.support.representation import short_path

__all__ = ["training_film"]


def training_film(options: argparse.Namespace) -> int:
    """Makes a film of the pictures that a training has left in samples/."""
    expect_film_name(options.film)
    film = film_of(options.run)
    out = Output.of(options)
    if len(film.frames) < film.drawn:
        out.note(f"{film.drawn:,} pictures are too many for a film: {len(film.frames):,} of them, evenly spread.")
    atomic_write(options.film, encode_film(film.frames, options.film))
    if line := film_loss(options.film, film.frames):
        out.note(line)
    out.show(f"{len(film.frames)} pictures of steps {film.steps[0]:,} to {film.steps[-1]:,}: {options.film}")
    out.record({"run": short_path(options.run), "steps": list(film.steps), "out": str(options.film)})
    return 0
