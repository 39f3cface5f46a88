"""Grids of mixed styles that `minigan sample --mix` draws."""

import argparse
import re

import numpy as np

from minigan.cli.pictures import write_picture
from minigan.data.pictures import image_grid
from minigan.errors import ConfigError
from minigan.latent.styles import expect_crossover, style_parts
from minigan.runs import TrainedGenerator
from minigan.support.output import Output

__all__ = ["sample_mixed"]

MOST = 100  # rows, and columns


def sample_mixed(trained: TrainedGenerator, options: argparse.Namespace) -> int:
    """Draws each coarse style with each fine one, with the images of both in the margins."""
    parts = style_parts(trained.G, trained.recipe, asked="--mix")
    rows, columns = _seeds(options)
    crossover = expect_crossover(options.crossover, parts.rows)
    trained.expect_room_for((len(rows) + 1) * (len(columns) + 1), remedy="Use a smaller `mix`.")
    told = {"label": options.label, "truncation": options.truncation}
    top, left = (trained.sample(seeds=seeds, **told) for seeds in (columns, rows))
    mixed = trained.mix(rows, columns, crossover=crossover, **told)
    blank = -np.ones_like(top[:1])
    lines = [np.concatenate([blank, top])]
    lines += [np.concatenate([left[k : k + 1], mixed[k * len(columns) :][: len(columns)]]) for k in range(len(rows))]
    out = Output.of(options)
    write_picture(options.out, image_grid(np.concatenate(lines), columns=len(columns) + 1), out)
    where = f"layers from {crossover} of {parts.rows} of the columns' style"
    step = f"{trained.recipe.name} at step {trained.step}"
    out.show(f"{len(rows)}x{len(columns)} mixed styles, {where}, {step}: {options.out}")
    drawn = {"rows": rows, "columns": columns, "crossover": crossover, **told, "out": str(options.out)}
    out.record({**trained.describe(), **drawn})
    return 0


def _seeds(options: argparse.Namespace) -> tuple[list[int], list[int]]:
    """The seeds of the rows and of the columns: in one list, or from --seed on.

    Raises:
        ConfigError: the size of the grid is not two numbers, or there are not as many seeds.
    """
    size = re.fullmatch(r"(\d{1,9})[xX](\d{1,9})", options.mix, re.ASCII)
    height, width = (int(side) for side in size.groups()) if size else (0, 0)
    if not 0 < height <= MOST or not 0 < width <= MOST:
        raise ConfigError(f"--mix takes rows and columns, from 1 to {MOST}, got {options.mix!r}. Write --mix 4x6.")
    first = options.seed or 0
    if options.seeds is None:
        return list(range(first, first + height)), list(range(first + height, first + height + width))
    found = len(options.seeds)
    if found != height + width:
        raise ConfigError(
            f"a grid of {height}x{width} takes {height + width} seeds, those of its rows first, got {found}. "
            "Name as many, or leave `seeds` out."
        )
    return options.seeds[:height], options.seeds[height:]
