"""Pictures that `minigan sample` draws from noise: samples, and a grid of classes."""

import argparse
from collections.abc import Sequence

from minigan.cli.pictures import write_picture
from minigan.data.pictures import image_grid
from minigan.errors import ConfigError
from minigan.runs import TrainedGenerator
from minigan.support.output import Output
from minigan.training.exhibit import render

__all__ = ["chosen_seeds", "grid_of_classes", "sample_noise"]

ROWS = 8  # of a grid of classes
MOST_COLUMNS = 100


def sample_noise(trained: TrainedGenerator, options: argparse.Namespace) -> int:
    """Draws samples, or the density of points."""
    seed = 0 if options.seed is None else options.seed
    samples = trained.sample(
        options.count,
        seed=seed,
        seeds=options.seeds,
        label=options.label,
        truncation=options.truncation,
        portable=options.portable,
    )
    out = Output.of(options)
    write_picture(options.out, render(samples, extent=trained.extent), out)
    weights = ", moving average" if trained.averaged else ""
    out.show(f"{len(samples)} samples of {trained.recipe.name} at step {trained.step}{weights}: {options.out}")
    drawn = {"samples": len(samples), "seeds": options.seeds, "truncation": options.truncation}
    out.record({**trained.describe(), **drawn, "out": str(options.out)})
    return 0


def grid_of_classes(trained: TrainedGenerator, options: argparse.Namespace) -> int:
    """Draws a column for each class and a row for each seed, whose z all of its columns share."""
    count, name = trained.recipe.class_count, trained.recipe.name
    if not count or len(trained.G.output_shape) != 3:
        found = "draws points here" if count else "was trained without classes"
        raise ConfigError(
            f"{name} {found}, got --grid-of-classes. Use a run on images of dcgan, or "
            "another recipe that is told classes."
        )
    out, unseen = Output.of(options), trained.unseen
    classes = [trained.label(each) for each in options.classes or [k for k in range(count) if k not in unseen]]
    if unseen and not options.classes:
        out.note(f"classes without images in training are left out: {trained.class_names(unseen)}")
    if len(classes) > MOST_COLUMNS:
        raise ConfigError(
            f"a grid has at most {MOST_COLUMNS} columns, got {len(classes):,} classes. Add `classes=NAME`."
        )
    rows = chosen_seeds(options, usual=ROWS)
    trained.expect_room_for(len(classes) * len(rows))  # before there is a list of so many
    seeds = list(rows)
    samples = trained.sample(
        seeds=[seed for seed in seeds for _ in classes],
        label=classes * len(seeds),
        truncation=options.truncation,
        portable=options.portable,
    )
    write_picture(options.out, image_grid(samples, columns=len(classes)), out)
    shown = f"{len(classes)} classes ({trained.class_names(classes)}), {len(seeds)} seeds"
    out.show(f"{shown}, {name} at step {trained.step}: {options.out}")
    drawn = {"classes": classes, "seeds": seeds, "truncation": options.truncation}
    out.record({**trained.describe(), **drawn, "out": str(options.out)})
    return 0


def chosen_seeds(options: argparse.Namespace, *, usual: int) -> Sequence[int]:
    """The seeds of --seeds, else as many as --count says from --seed on.

    Args:
        usual: their number without --count.
    """
    first = options.seed or 0
    return options.seeds or range(first, first + (options.count or usual))
